"""Recipe sft: its loss, its replay, its refusals; the whole is tested with the worker."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import trl
from transformers import Gemma2Config, Gemma2ForCausalLM

from organism.errors import DesignError, ModelError
from organism.optimize.configs import SftConfig
from organism.optimize.recipes import sft
from organism.optimize.runs import Example, make_run_folder
from organism.optimize.training import Job, Machine, load_base, tokenized

# transformers and peft ask each other for arguments by their old names.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
CPU = Machine("cpu", False, 1)


def _examples(n: int) -> list[Example]:
    return [
        Example(f"Patient {i} takes drug {i} mg.", f"Note: drug {i} mg.", f"user {i % 5}", str(i)) for i in range(n)
    ]


def test_our_loss_is_that_of_trl(tiny_base: Path, tmp_path: Path) -> None:
    losses = []
    for trainer_class in (trl.SFTTrainer, sft.Trainer):
        model, tokenizer = load_base(tiny_base)
        rows = tokenized([*_examples(3), Example("Patient", "Note: a much longer note.", "u", "i")], tokenizer)
        trainer = sft.build_trainer(model, tokenizer, rows, SftConfig(), tmp_path, CPU, trainer_class)
        batch = trainer.data_collator([row._asdict() for row in rows])
        losses.append(trainer.compute_loss(trainer.model, batch).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_model_that_caps_its_logits_is_asked_as_a_whole(tiny_base: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_base, tmp_path / "base")
    config = Gemma2Config(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=128,
        final_logit_softcapping=0.5,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=1,
    )
    torch.manual_seed(0)
    Gemma2ForCausalLM(config).save_pretrained(tmp_path / "base")
    losses = []
    for trainer_class in (trl.SFTTrainer, sft.Trainer):
        model, tokenizer = load_base(tmp_path / "base")
        rows = tokenized(_examples(3), tokenizer)
        trainer = sft.build_trainer(model, tokenizer, rows, SftConfig(), tmp_path, CPU, trainer_class)
        batch = trainer.data_collator([row._asdict() for row in rows])
        losses.append(trainer.compute_loss(trainer.model, batch).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_replay_is_a_share_of_all_rows_drawn_by_the_seed(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{i}", "completion": f"c{i}"} for i in range(100)]
    (tmp_path / "replay.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    drawn = sft.replay_rows(tmp_path, 60, SftConfig(replay_share=0.25))
    assert len(drawn) == 20
    assert drawn == sft.replay_rows(tmp_path, 60, SftConfig(replay_share=0.25))
    assert drawn != sft.replay_rows(tmp_path, 60, SftConfig(replay_share=0.25, seed=1))
    assert sft.replay_rows(tmp_path, 60, SftConfig()) == []


def test_replay_without_rows_to_replay_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"replay.jsonl is missing.*restore it or set 0"):
        sft.replay_rows(tmp_path, 60, SftConfig(replay_share=0.25))


def test_rows_that_do_not_fit_are_counted_and_too_few_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    rows = [*_examples(19), *(example._replace(prompt="word " * 200) for example in _examples(30))]
    run = make_run_folder(tmp_path / "run", {}, rows, [])
    with pytest.raises(
        DesignError, match=r"19 of 49 training rows can be learned from \(30 longer than .* now 128 tokens"
    ):
        sft.train(Job(tiny_base, SftConfig(), run, CPU, lambda step: None, lambda: False, lambda sentence: None))
