"""Which checkpoint counts: the newest whole one, the best one, and when waiting for a better one ends."""

from pathlib import Path

import pytest

from organism.optimize.checkpoints import best_step, is_exhausted, last_checkpoint, least_loss


def _history(*losses: float) -> list[dict[str, float]]:
    return [
        row for n, loss in enumerate(losses, 1) for row in ({"step": n, "loss": 1.0}, {"step": n, "eval_loss": loss})
    ]


def test_a_checkpoint_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    for step, state in [(5, "{}"), (10, '{"cut'), (15, None)]:
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-5")
    assert [folder.name for folder in tmp_path.iterdir()] == ["checkpoint-5"]
    assert last_checkpoint(tmp_path / "none") is None


def test_the_best_step_is_the_first_of_the_least_loss() -> None:
    assert best_step(_history(3.0, 1.0, 2.0, 1.0)) == 2
    assert least_loss(_history(3.0, 1.0, 2.0)) == 1.0
    assert best_step([{"step": 1, "loss": 2.0}]) is None
    assert least_loss([]) is None


@pytest.mark.parametrize(
    ("losses", "patience", "over"),
    [
        ((3.0, 2.0, 1.0), 1, False),
        ((3.0, 2.0, 2.5), 1, True),
        ((3.0, 2.0, 2.5), 2, False),
        ((3.0, 2.0, 2.5, 2.1), 2, True),
        ((3.0, 2.0, 2.5, 2.1), 0, False),
        ((), 1, False),
    ],
)
def test_patience_is_how_often_in_a_row_it_may_fail_to_improve(
    losses: tuple[float, ...], patience: int, over: bool
) -> None:
    assert is_exhausted(_history(*losses), patience) is over
