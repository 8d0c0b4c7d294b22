"""What every recipe shares: what the model sees, in which order, how steps are told, which checkpoint counts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerControl, TrainerState

from organism.errors import ModelError
from organism.optimize import training
from organism.optimize.configs import SftConfig
from organism.optimize.runs import Example

# transformers and peft ask each other for arguments by their old names.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def test_only_the_final_text_and_its_end_are_learned(tiny_base: Path) -> None:
    _, tokenizer = training.load_base(tiny_base)
    (row,) = training.tokenized([Example("Patient 1", "Note 1", "u", "i")], tokenizer)
    learned = [label for label in row.labels if label != training.IGNORED]
    assert tokenizer.decode(row.input_ids) == "<|visit|>\nPatient 1\n<|note|>\nNote 1<|end|>"
    assert tokenizer.decode(learned) == "Note 1<|end|>"
    assert row.n_targets == len(learned)
    assert row.labels[-len(learned) :] == row.input_ids[-len(learned) :]


def test_the_plan_shows_every_row_once_an_epoch_in_full_batches_of_like_length() -> None:
    lengths = [10 + 7 * (i % 13) for i in range(90)]
    plan = training.batch_plan(lengths, 8, 3, seed=5)
    assert [len(batch) for batch in plan[:-1]] == [8] * (len(plan) - 1)
    assert sorted(place for batch in plan for place in batch) == sorted(list(range(90)) * 3)
    padded = sum(max(lengths[place] for place in batch) * len(batch) for batch in plan)
    assert padded < 1.15 * 3 * sum(lengths)
    assert plan == training.batch_plan(lengths, 8, 3, seed=5)
    assert plan != training.batch_plan(lengths, 8, 3, seed=6)


def test_a_broken_model_folder_is_one_sentence(tiny_base: Path, tmp_path: Path) -> None:
    for file in tiny_base.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"cannot be loaded .*; restore it"):
        training.load_base(tmp_path)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 0.0])
def test_a_loss_that_is_no_number_ends_the_run_without_a_checkpoint(loss: float) -> None:
    seen: list[training.Step] = []
    reporter = training.Reporter([[training.Tokens([1, 2], [-100, 2])]] * 4, seen.append, lambda: False)
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
    assert training.last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-5")
    assert [folder.name for folder in tmp_path.iterdir()] == ["checkpoint-5"]
    assert training.last_checkpoint(tmp_path / "none") is None


def test_the_machine_is_what_was_asked_or_what_is_there() -> None:
    where = training.machine(SftConfig(threads=3, bf16=False))
    assert (where.threads, where.bf16) == (3, False)
    assert training.machine(SftConfig()).threads == training.usable_cores()
    assert where.device == ("cuda" if torch.cuda.is_available() else where.device)
