"""Work is counted before it is done: sizes of models, tokens of rows, steps, arithmetic that grows as it should."""

from pathlib import Path

import pytest

from organism.config import ROOT
from organism.errors import ModelError
from organism.optimize.configs import BestOfNConfig, DpoConfig, GrpoConfig, SftConfig, TrainingConfig
from organism.optimize.workload import Shape, Texts, Workload, shape_of, texts_of, workload
from organism.records import Recipe

SHAPE = Shape(n_body=1_000_000, n_all=1_200_000, vocabulary=2000, hidden=100, layers=4, positions=512)
LEARNED, HELDOUT = Texts(100, 200.0, 100.0, 400), Texts(50, 200.0, 100.0, 400)


def _work(config: TrainingConfig, recipe: Recipe = Recipe.SFT, learned: Texts = LEARNED) -> Workload:
    return workload(SHAPE, learned, HELDOUT, config, recipe)


def test_the_shipped_model_is_counted_as_its_card_says() -> None:
    shape = shape_of(ROOT / "data" / "scribe" / "base")
    assert (shape.n_all, shape.hidden, shape.layers, shape.vocabulary, shape.positions) == (
        3_737_856,
        256,
        4,
        2048,
        640,
    )
    assert shape.n_body == shape.n_all - 2048 * 256
    assert shape.weights_mb == pytest.approx(3_737_856 * 4 / 2**20)


def test_parameters_are_those_that_torch_counts(tiny_base: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    assert shape_of(tiny_base).n_all == sum(parameter.numel() for parameter in model.parameters())


def test_a_folder_that_cannot_be_counted_is_a_sentence(tmp_path: Path, tiny_base: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be read .*; restore it, or choose another base"):
        shape_of(tmp_path)
    (tmp_path / "config.json").write_text((tiny_base / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes(b"\x00\x01")
    with pytest.raises(ModelError, match="cannot be read"):
        shape_of(tmp_path)
    with pytest.raises(ModelError, match=r"has no tokenizer\.json that can be read"):
        texts_of(tmp_path, [("a", "b")], 1)


def test_tokens_are_those_of_the_models_tokenizer(tiny_base: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    rows = [("Patient 1 takes drug 1 mg.", "Note: drug 1 mg."), ("Patient 22", "Note")]
    found = texts_of(tiny_base, rows, 70)
    prompts, texts = ([len(tokenizer(row[side]).input_ids) for row in rows] for side in (0, 1))
    assert found == Texts(70, sum(prompts) / 2, sum(texts) / 2, prompts[0] + texts[0])
    assert texts_of(tiny_base, [], 0) == Texts(0, 0.0, 0.0, 0)


def test_twice_the_passes_are_twice_the_steps_and_the_arithmetic() -> None:
    once, twice = _work(SftConfig(epochs=1, batch_size=10)), _work(SftConfig(epochs=2, batch_size=10))
    assert (once.steps, twice.steps) == (10, 20)
    assert twice.gigaflops == pytest.approx(2 * once.gigaflops)
    assert (twice.written, twice.activations_mb) == (once.written, once.activations_mb)


def test_arithmetic_is_four_operations_a_parameter_a_token_and_some_for_attention_and_the_head() -> None:
    body = 4 * SHAPE.n_body * 100 * 300 / 1e9
    head = 4 * 2000 * 100 * 100 * 100 / 1e9
    attention = 4 * 4 * 100 * 300 * 100 * 300 / 1e9
    assert _work(SftConfig(epochs=1)).gigaflops == pytest.approx(body + head + attention)


def test_memory_grows_with_the_batch_and_the_longest_row_that_is_read() -> None:
    small = _work(SftConfig(batch_size=4)).activations_mb
    assert _work(SftConfig(batch_size=8)).activations_mb == pytest.approx(2 * small)
    assert _work(SftConfig(batch_size=4, max_length=200)).activations_mb < small
    long = Texts(100, 200.0, 100.0, 4000)
    assert _work(SftConfig(batch_size=4, max_length=9000), learned=long).activations_mb == pytest.approx(
        small * 512 / 400
    ), "no row is longer than the model reads"


def test_a_pair_is_two_texts() -> None:
    alone = _work(SftConfig(epochs=1, batch_size=8))
    pairs = _work(DpoConfig(epochs=1, batch_size=8), Recipe.DPO)
    assert pairs.steps == alone.steps
    assert pairs.gigaflops == pytest.approx(2 * alone.gigaflops)
    assert pairs.activations_mb == pytest.approx(2 * alone.activations_mb)


def test_drafts_that_are_sampled_are_counted_where_they_are_written() -> None:
    assert _work(SftConfig()).sampled == _work(SftConfig()).rolled == 0
    assert _work(BestOfNConfig(n_drafts=4), Recipe.BEST_OF_N).sampled == pytest.approx(100 * 4 * 100 / 1000)
    climbing = _work(GrpoConfig(epochs=1, batch_size=16, group_size=8), Recipe.GRPO)
    assert climbing.steps == 50
    assert climbing.rolled == pytest.approx(100 * 8 * 100 / 1000)
    assert climbing.sampled == pytest.approx(100 * 100 / 1000), "the base's own draft of each prompt"


def test_fewer_rows_to_measure_on_are_less_to_write() -> None:
    assert _work(SftConfig(eval_rows=10)).written == pytest.approx(2 * 10 * 100 / 1000)
    assert _work(SftConfig(eval_rows=1000)).written == pytest.approx(2 * 50 * 100 / 1000)
    assert _work(SftConfig(max_new_tokens=20)).written == pytest.approx(2 * 50 * 20 / 1000)
