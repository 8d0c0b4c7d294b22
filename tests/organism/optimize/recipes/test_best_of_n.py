"""Recipe best_of_n: the best of several drafts is imitated, and sampling goes on where it was."""

from pathlib import Path
from typing import Any

import pytest

from organism.errors import DesignError
from organism.optimize.configs import BestOfNConfig
from organism.optimize.recipes import best_of_n
from organism.optimize.recipes.best_of_n import Draft, best_of, sample
from organism.optimize.runs import Example, RunFolder, make_run_folder, read_lines
from organism.optimize.training import Job, Machine

# transformers and peft ask each other for arguments by their old names.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
SHORT = {"signals": [{"signal": "output_tokens", "weight": 1.0, "worst": 400.0, "best": 0.0}]}


def _examples(n: int) -> list[Example]:
    return [Example(f"Patient {i}", f"Note: drug {i} mg.", f"user {i % 5}", str(i)) for i in range(n)]


def _job(base: Path, folder: Path, n: int = 24, design: dict[str, Any] | None = SHORT, batches: int = 99) -> Job:
    """A run that is asked to stop after so many batches of prompts."""
    run = make_run_folder(folder, {}, _examples(n), []) if not folder.exists() else RunFolder(folder)
    config = BestOfNConfig(n_drafts=2, max_new_tokens=24, epochs=1, batch_size=8)
    said: list[str] = []
    return Job(
        base,
        config,
        run,
        Machine("cpu", False, 1),
        lambda step: None,
        lambda: len(said) >= batches,
        said.append,
        design,
    )


def test_the_best_rewarded_draft_becomes_the_completion_and_rows_without_one_are_counted() -> None:
    drafts = [
        [Draft("worse", 5, 0.2), Draft("best", 5, 0.9), Draft("as good", 5, 0.9)],
        [Draft("nothing", 5, 0.0), Draft("unknown", 5, None)],
        [Draft("unknown", 5, None)],
        [],
    ]
    chosen, dropped = best_of(_examples(4), drafts)
    assert [(row.prompt, row.completion) for row in chosen] == [("Patient 0", "best")]
    assert dropped == {
        "with a reward of 0": 1,
        "without a reward under the design": 1,
        "longer than the model may read": 1,
    }


def test_sampling_goes_on_where_it_was_stopped_or_killed_and_draws_the_same(tiny_base: Path, tmp_path: Path) -> None:
    whole = sample(_job(tiny_base, tmp_path / "whole"), _examples(24))
    assert whole is not None
    assert [len(drafts) for drafts in whole] == [2] * 24
    assert len({draft.text for drafts in whole for draft in drafts}) > 24
    assert sample(_job(tiny_base, tmp_path / "parts", batches=1), _examples(24)) is None
    file = tmp_path / "parts" / "sampled.jsonl"
    assert len(list(read_lines(file))) == 8
    # A kill in the middle of a line and of a batch.
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:5], lines[5][:30]]))
    assert sample(_job(tiny_base, tmp_path / "parts"), _examples(24)) == whole
    assert len(list(read_lines(file))) == 24


def test_a_run_imitates_its_own_best_drafts(tiny_base: Path, tmp_path: Path) -> None:
    job = _job(tiny_base, tmp_path / "run")
    sampled = sample(job, _examples(24))
    assert sampled is not None
    n_ended = sum(any(draft.reward for draft in drafts) for drafts in sampled)
    if n_ended < 20:  # a random model seldom ends by itself
        with pytest.raises(DesignError, match=f"{n_ended} of 24 training rows can be learned from .*reward of 0"):
            best_of_n.train(job)
    else:
        assert best_of_n.train(job).n_rows == n_ended


def test_without_a_design_nothing_can_be_chosen(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(DesignError, match="this run has none; name one"):
        best_of_n.train(_job(tiny_base, tmp_path / "run", design=None))
