"""The quick decoder writes what transformers would write, whatever the batch, and says what is wrong with a folder."""

import json
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from data.scribe.encounters import encounter
from data.scribe.tokenizer import build_tokenizer, framed, save_tokenizer
from organism.errors import ModelError
from organism.lm.decoder import Decoder, Generation

# peft asks transformers for a property by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
PROMPTS = [encounter(seed).transcript for seed in range(7)] + ["D: Hello.", "P: No fever."]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer([encounter(seed).transcript for seed in range(100)])


def _sharpened(model: torch.nn.Module) -> torch.nn.Module:
    """A random model whose likeliest token is clear, so that equal text means equal arithmetic."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6 if parameter.ndim == 2 else 1)
    return model


@pytest.fixture(scope="module")
def llama_dir(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=640,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    _sharpened(LlamaForCausalLM(config)).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def adapter_dir(tmp_path_factory: pytest.TempPathFactory, llama_dir: Path) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(6)
    tuned = get_peft_model(
        LlamaForCausalLM.from_pretrained(llama_dir),
        LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"),
    )
    tuned.save_pretrained(folder)
    return folder


def _reference(model_dir: Path, prompt: str, n_tokens: int) -> str:
    """transformers' own greedy text for one prompt."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model_dir)
    model = AutoModelForCausalLM.from_pretrained(model_dir).eval()
    ids = tokenizer(framed(prompt), return_tensors="pt", return_token_type_ids=False)
    written = model.generate(**ids, max_new_tokens=n_tokens, do_sample=False)[0, ids.input_ids.shape[1] :]
    return tokenizer.decode(written, skip_special_tokens=True)


def test_greedy_text_equals_that_of_transformers(llama_dir: Path) -> None:
    drafted = Decoder.from_folder(llama_dir).generate(PROMPTS, max_new_tokens=24, batch_size=4)
    assert [draft.text for draft in drafted] == [_reference(llama_dir, prompt, 24) for prompt in PROMPTS]


def test_batch_size_changes_neither_greedy_nor_sampled_text(llama_dir: Path) -> None:
    decoder = Decoder.from_folder(llama_dir)
    for settings in ({}, {"temperature": 1.0, "seed": 3}):
        alone = decoder.generate(PROMPTS, max_new_tokens=16, batch_size=1, **settings)
        together = decoder.generate(PROMPTS, max_new_tokens=16, batch_size=5, **settings)
        assert [draft.text for draft in alone] == [draft.text for draft in together]


def test_sampling_depends_on_the_seed_and_on_the_place(llama_dir: Path) -> None:
    decoder = Decoder.from_folder(llama_dir)
    first, again = (decoder.generate([PROMPTS[0]] * 2, temperature=2.0, seed=1, max_new_tokens=12) for _ in range(2))
    other = decoder.generate([PROMPTS[0]] * 2, temperature=2.0, seed=2, max_new_tokens=12)
    assert [draft.text for draft in first] == [draft.text for draft in again]
    assert len({draft.text for draft in [*first, *other]}) == 4


def test_streamed_pieces_join_to_the_generated_text(llama_dir: Path) -> None:
    decoder = Decoder.from_folder(llama_dir)
    pieces = list(decoder.stream(PROMPTS[0], max_new_tokens=24))
    assert len(pieces) > 3
    # A byte that never became a character is shown by neither.
    assert "".join(pieces) == decoder.generate([PROMPTS[0]], max_new_tokens=24)[0].text.rstrip("\ufffd")


@pytest.mark.parametrize("n_tokens", [3, 24])
def test_a_streamed_draft_tells_at_its_end_what_a_generated_one_does(llama_dir: Path, n_tokens: int) -> None:
    decoder = Decoder.from_folder(llama_dir)
    pieces, told = _drained(decoder.stream(PROMPTS[0], max_new_tokens=n_tokens))
    wanted = decoder.generate([PROMPTS[0]], max_new_tokens=n_tokens)[0]
    assert told.text == "".join(pieces)
    assert told[1:4] == wanted[1:4]
    assert told.seconds > 0


def _drained(stream: Generator[str, None, Generation]) -> tuple[list[str], Generation]:
    pieces: list[str] = []
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as end:
            return pieces, end.value


def test_a_generation_tells_tokens_and_how_it_ended(llama_dir: Path) -> None:
    decoder = Decoder.from_folder(llama_dir)
    cut = decoder.generate([PROMPTS[0]], max_new_tokens=5)[0]
    assert (cut.finish_reason, cut.output_tokens) == ("length", 5)
    assert cut.prompt_tokens == len(decoder.tokenizer(framed(PROMPTS[0])).input_ids)
    first = decoder.generate([PROMPTS[0]], max_new_tokens=1)[0].text
    decoder.end_id = next(i for i in range(len(decoder.tokenizer)) if decoder.tokenizer.decode([i]) == first)
    ended = decoder.generate([PROMPTS[0]], max_new_tokens=50)[0]
    assert (ended.finish_reason, ended.output_tokens, ended.text) == ("stop", 1, "")
    assert 0 < ended.seconds < 30


def test_the_tokens_of_a_generation_are_those_it_wrote(llama_dir: Path) -> None:
    decoder = Decoder.from_folder(llama_dir)
    for generation in decoder.generate(PROMPTS[:3], max_new_tokens=12, temperature=1.0, seed=4):
        assert len(generation.token_ids) == generation.output_tokens
        assert (generation.token_ids[-1] == decoder.end_id) == (generation.finish_reason == "stop")
        assert decoder.tokenizer.decode(list(generation.token_ids), skip_special_tokens=True) == generation.text


def test_progress_is_told_after_every_batch(llama_dir: Path) -> None:
    told: list[tuple[int, int]] = []
    Decoder.from_folder(llama_dir).generate(
        PROMPTS, max_new_tokens=2, batch_size=4, on_batch=lambda done, n: told.append((done, n))
    )
    assert told == [(4, 9), (8, 9), (9, 9)]


def test_no_prompts_give_no_drafts(llama_dir: Path) -> None:
    assert Decoder.from_folder(llama_dir).generate([]) == []


def test_an_adapter_changes_the_text_as_peft_would(llama_dir: Path, adapter_dir: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    merged = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(llama_dir), adapter_dir).merge_and_unload()
    merged.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(llama_dir / name, tmp_path / name)
    plain, tuned = (
        Decoder.from_folder(llama_dir, adapter).generate(PROMPTS[:3], max_new_tokens=16)
        for adapter in (None, adapter_dir)
    )
    assert [draft.text for draft in tuned] == [_reference(tmp_path, prompt, 16) for prompt in PROMPTS[:3]]
    assert [draft.text for draft in tuned] != [draft.text for draft in plain]


def test_another_architecture_is_drafted_through_transformers(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    torch.manual_seed(7)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=640, bos_token_id=None, eos_token_id=1
    )
    _sharpened(GPT2LMHeadModel(config)).save_pretrained(tmp_path)
    save_tokenizer(tokenizer, tmp_path)
    drafted = Decoder.from_folder(tmp_path).generate(PROMPTS, max_new_tokens=12, batch_size=4)
    assert [draft.text for draft in drafted] == [_reference(tmp_path, prompt, 12) for prompt in PROMPTS]


def test_a_prompt_beyond_the_context_is_refused_with_both_lengths(llama_dir: Path) -> None:
    with pytest.raises(ModelError, match=r"has \d+ tokens.*at most 639.*shorten"):
        Decoder.from_folder(llama_dir).generate(["D: fever. " * 400])


def _without_folder(model_dir: Path) -> str:
    shutil.rmtree(model_dir)
    return "no folder at"


def _without_config(model_dir: Path) -> str:
    (model_dir / "config.json").unlink()
    return "has no config.json"


def _with_cut_weights(model_dir: Path) -> str:
    weights = model_dir / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return "cannot be loaded"


def _with_garbled_config(model_dir: Path) -> str:
    (model_dir / "config.json").write_text("{")
    return "cannot be loaded"


def _without_chat_template(model_dir: Path) -> str:
    (model_dir / "chat_template.jinja").unlink()
    return "chat template"


@pytest.mark.parametrize(
    "harm",
    [_without_folder, _without_config, _with_cut_weights, _with_garbled_config, _without_chat_template],
)
def test_a_broken_model_folder_is_named_with_its_path(llama_dir: Path, tmp_path: Path, harm) -> None:
    broken = tmp_path / "model"
    shutil.copytree(llama_dir, broken)
    said = harm(broken)
    with pytest.raises(ModelError, match=said) as raised:
        Decoder.from_folder(broken)
    assert str(broken) in str(raised.value)


def test_an_adapter_for_another_model_is_refused(llama_dir: Path, adapter_dir: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "adapter"
    shutil.copytree(adapter_dir, wrong)
    config = json.loads((wrong / "adapter_config.json").read_text())
    (wrong / "adapter_config.json").write_text(json.dumps(config | {"r": 3}))
    with pytest.raises(ModelError, match="adapter folder"):
        Decoder.from_folder(llama_dir, wrong)
    with pytest.raises(ModelError, match="has no adapter_config"):
        Decoder.from_folder(llama_dir, llama_dir)


def test_a_row_that_ends_early_makes_room_and_leaves_its_neighbors_alone(llama_dir: Path) -> None:
    decoder = Decoder.from_folder(llama_dir)
    free = decoder.generate(PROMPTS, max_new_tokens=16, batch_size=1)
    tenth = [draft.token_ids[9] for draft in free]
    decoder.end_id = max(set(tenth), key=tenth.count)
    alone = decoder.generate(PROMPTS, max_new_tokens=16, batch_size=1)
    assert len({draft.output_tokens for draft in alone}) > 1, "the rows must end at different steps"
    assert {draft.finish_reason for draft in alone} == {"stop", "length"}
    for batch_size in (3, 9):
        together = decoder.generate(PROMPTS, max_new_tokens=16, batch_size=batch_size)
        assert [draft.token_ids for draft in together] == [draft.token_ids for draft in alone]


@pytest.mark.parametrize("n_kept", [1, 2])
def test_fewer_key_heads_than_query_heads_are_decoded_alike(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, n_kept: int
) -> None:
    torch.manual_seed(8)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=n_kept,
        max_position_embeddings=640,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    _sharpened(LlamaForCausalLM(config)).save_pretrained(tmp_path)
    save_tokenizer(tokenizer, tmp_path)
    drafted = Decoder.from_folder(tmp_path).generate(PROMPTS, max_new_tokens=12, batch_size=4)
    assert [draft.text for draft in drafted] == [_reference(tmp_path, prompt, 12) for prompt in PROMPTS]
