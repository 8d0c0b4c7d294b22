"""What every recipe shares: what the model sees, in which order, how steps are told, which checkpoint counts."""

import hashlib
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerControl, TrainerState

from organism.errors import DesignError, ModelError, RunError
from organism.optimize import training
from organism.optimize.configs import SftConfig
from organism.optimize.recipes import sft
from organism.optimize.reporter import Reporter
from organism.optimize.runs import Example, RunFolder, make_run_folder

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


def test_the_users_set_apart_are_the_same_at_every_start_and_none_without_patience() -> None:
    users = [f"user {n % 10}" for n in range(60)]
    learned, apart = training.set_apart(users, SftConfig(patience=2, validation_share=0.15))
    assert {users[place] for place in apart}.isdisjoint(users[place] for place in learned)
    assert sorted([*learned, *apart]) == list(range(60))
    assert len(apart) == 12
    assert (learned, apart) == training.set_apart(users, SftConfig(patience=2, validation_share=0.15))
    assert training.set_apart(users, SftConfig()) == (list(range(60)), [])


def test_one_user_cannot_be_set_apart() -> None:
    with pytest.raises(DesignError, match=r"60 rows of 1 users leave 60 .* set patience to 0"):
        training.set_apart(["one"] * 60, SftConfig(patience=1))


def _examples(n: int) -> list[Example]:
    return [
        Example(f"Patient {i} takes drug {i} mg.", f"Note: drug {i} mg.", f"user {i % 5}", str(i)) for i in range(n)
    ]


class Attempt(NamedTuple):
    """One start of a run in its folder: how it ended, and what it told."""

    trained: training.Trained
    steps: list[training.Step]
    adapter: str | None


def _train(base: Path, folder: Path, stop_at: int | None = None, **settings: Any) -> Attempt:
    config = SftConfig(batch_size=8, checkpoint_every=2, **settings)
    run = RunFolder(folder)
    if not folder.exists():
        run = make_run_folder(folder, {}, _examples(40), [])
    steps: list[training.Step] = []
    job = training.Job(
        base,
        config,
        run,
        training.Machine("cpu", False, 1),
        steps.append,
        lambda: stop_at is not None and len({step.step for step in steps}) >= stop_at,
        lambda sentence: None,
    )
    trained = sft.train(job)
    weights = run.adapter / "adapter_model.safetensors"
    return Attempt(trained, steps, hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else None)


def test_the_same_run_twice_gives_the_same_adapter_and_another_seed_another(tiny_base: Path, tmp_path: Path) -> None:
    one, two, other = (
        _train(tiny_base, tmp_path / name, epochs=1, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert one.adapter is not None
    assert one.adapter == two.adapter != other.adapter


# A learning rate this high makes the held-out loss rise soon.
RISING: dict[str, Any] = {"epochs": 8, "learning_rate": 0.1, "patience": 2, "validation_share": 0.2}


def test_training_stops_when_the_heldout_loss_rises_and_keeps_its_best_checkpoint(
    tiny_base: Path, tmp_path: Path
) -> None:
    attempt = _train(tiny_base, tmp_path / "run", **RISING)
    watched = {step.step: step.extra["heldout_loss"] for step in attempt.steps if "heldout_loss" in step.extra}
    best = min(watched, key=lambda step: watched[step])
    assert attempt.trained.best_step == best < attempt.trained.steps < attempt.trained.total
    assert list(watched) == list(range(2, best + 5, 2))
    assert attempt.trained.heldout_loss == pytest.approx(watched[best])
    kept = tmp_path / "run" / "checkpoints" / f"checkpoint-{best}" / "adapter_model.safetensors"
    mine = load_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    assert all(torch.equal(mine[name], weight) for name, weight in load_file(kept).items())


@pytest.mark.parametrize("stop_at", [3, 6])
def test_a_run_that_was_stopped_in_between_stops_early_at_the_same_step(
    tiny_base: Path, tmp_path: Path, stop_at: int
) -> None:
    whole = _train(tiny_base, tmp_path / "whole", **RISING)
    first = _train(tiny_base, tmp_path / "parts", stop_at, **RISING)
    assert first.trained.stopped
    assert first.adapter is None
    rest = _train(tiny_base, tmp_path / "parts", **RISING)
    assert rest.trained == whole.trained
    assert rest.adapter == whole.adapter
    # Killed between the last checkpoint and the adapter: nothing is learned anew.
    shutil.rmtree(tmp_path / "parts" / "adapter")
    again = _train(tiny_base, tmp_path / "parts", **RISING)
    assert again.steps == []
    assert again.adapter == whole.adapter


def test_a_loss_that_explodes_ends_the_run_and_what_was_saved_is_still_good(tiny_base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(tiny_base, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"][5] = float("nan")  # a token of the prompts
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RunError, match=r"the loss was nan at step 1, .* lower the learning rate"):
        _train(folder, tmp_path / "run", epochs=1)
    assert training.last_checkpoint(tmp_path / "run" / "checkpoints") is None
    assert not (tmp_path / "run" / "adapter").exists()


@pytest.mark.parametrize(
    ("logs", "told"),
    [
        ({"loss": float("nan")}, "the loss was nan"),
        ({"loss": float("inf")}, "the loss was inf"),
        ({"loss": 0.0}, "the loss was 0.0"),
        ({"loss": 1.0, "grad_norm": float("inf")}, "the gradient was inf"),
    ],
)
def test_a_loss_that_is_no_number_ends_the_run_without_a_checkpoint(logs: dict[str, float], told: str) -> None:
    seen: list[training.Step] = []
    reporter = Reporter([[training.Tokens([1, 2], [-100, 2])]] * 4, seen.append, lambda: False)
    state, control = TrainerState(global_step=2, max_steps=4), TrainerControl()
    arguments: Any = None
    reporter.on_train_begin(arguments, state, control)
    reporter.on_step_end(arguments, state, control)
    reporter.on_log(arguments, state, control, logs={"loss": 1.5, "learning_rate": 0.1})
    assert [(step.step, step.total, step.loss) for step in seen] == [(2, 4, 1.5)]
    reporter.on_log(arguments, state, control, logs={"learning_rate": 0.1, **logs})
    assert control.should_training_stop
    assert not control.should_save
    assert f"{told} at step 2" in reporter.failure
    assert len(seen) == 1
