"""The recipe's parts: what the model sees, in which order, and the loss; the whole is tested with the worker."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from transformers import TrainerControl, TrainerState

from organism.errors import DesignError, ModelError
from organism.optimize import sft
from organism.optimize.runs import Example, RunFolder, SftConfig

# transformers and peft ask each other for arguments by their old names.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
CPU = sft.Machine("cpu", False, 1)


def _examples(n: int) -> list[Example]:
    return [
        Example(f"Patient {i} takes drug {i} mg.", f"Note: drug {i} mg.", f"user {i % 5}", str(i)) for i in range(n)
    ]


def test_only_the_final_text_and_its_end_are_learned(tiny_base: Path) -> None:
    _, tokenizer = sft.load_base(tiny_base)
    (row,) = sft.tokenized([Example("Patient 1", "Note 1", "u", "i")], tokenizer)
    learned = [label for label in row.labels if label != sft.IGNORED]
    assert tokenizer.decode(row.input_ids) == "<|visit|>\nPatient 1\n<|note|>\nNote 1<|end|>"
    assert tokenizer.decode(learned) == "Note 1<|end|>"
    assert row.n_targets == len(learned)
    assert row.labels[-len(learned) :] == row.input_ids[-len(learned) :]


def test_the_plan_shows_every_row_once_an_epoch_in_full_batches_of_like_length() -> None:
    lengths = [10 + 7 * (i % 13) for i in range(90)]
    plan = sft.batch_plan(lengths, 8, 3, seed=5)
    assert [len(batch) for batch in plan[:-1]] == [8] * (len(plan) - 1)
    assert sorted(place for batch in plan for place in batch) == sorted(list(range(90)) * 3)
    padded = sum(max(lengths[place] for place in batch) * len(batch) for batch in plan)
    assert padded < 1.15 * 3 * sum(lengths)
    assert plan == sft.batch_plan(lengths, 8, 3, seed=5)
    assert plan != sft.batch_plan(lengths, 8, 3, seed=6)


def test_our_loss_is_that_of_trl(tiny_base: Path, tmp_path: Path) -> None:
    losses = []
    for trainer_class in (trl.SFTTrainer, sft.Trainer):
        model, tokenizer = sft.load_base(tiny_base)
        rows = sft.tokenized([*_examples(3), Example("Patient", "Note: a much longer note.", "u", "i")], tokenizer)
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
    with pytest.raises(ModelError, match=r"replay\.jsonl is missing"):
        sft.replay_rows(tmp_path, 60, SftConfig(replay_share=0.25))


def test_a_broken_model_folder_is_one_sentence(tiny_base: Path, tmp_path: Path) -> None:
    for file in tiny_base.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"cannot be loaded .*; restore it"):
        sft.load_base(tmp_path)


def test_rows_that_do_not_fit_are_counted_and_too_few_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    rows = [*_examples(19), *(example._replace(prompt="word " * 200) for example in _examples(30))]
    with pytest.raises(DesignError, match="19 of 49 training rows fit into 128 tokens"):
        sft.train(tiny_base, SftConfig(), rows, RunFolder(tmp_path), CPU, lambda step: None, lambda: False)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 0.0])
def test_a_loss_that_is_no_number_ends_the_run_without_a_checkpoint(loss: float) -> None:
    seen: list[sft.Step] = []
    reporter = sft._Reporter([[sft.Tokens([1, 2], [-100, 2])]] * 4, seen.append, lambda: False)
    state, control = TrainerState(global_step=2, max_steps=4), TrainerControl()
    arguments: Any = None
    reporter.on_train_begin(arguments, state, control)
    reporter.on_step_end(arguments, state, control)
    reporter.on_log(arguments, state, control, logs={"loss": 1.5, "learning_rate": 0.1})
    assert [(step.step, step.total, step.loss) for step in seen] == [(2, 4, 1.5)]
    reporter.on_log(arguments, state, control, logs={"loss": loss, "learning_rate": 0.1})
    assert control.should_training_stop
    assert not control.should_save
    assert f"the loss was {loss} at step 2" in reporter.failure
    assert len(seen) == 1


def test_a_checkpoint_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    for step, state in [(5, "{}"), (10, '{"cut'), (15, None)]:
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert sft.last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-5")
    assert [folder.name for folder in tmp_path.iterdir()] == ["checkpoint-5"]
    assert sft.last_checkpoint(tmp_path / "none") is None


def test_the_machine_is_what_was_asked_or_what_is_there() -> None:
    where = sft.machine(SftConfig(threads=3, bf16=False))
    assert (where.threads, where.bf16) == (3, False)
    assert sft.machine(SftConfig()).threads == sft.usable_cores()
    assert where.device == ("cuda" if torch.cuda.is_available() else where.device)
