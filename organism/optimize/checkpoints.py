"""Which checkpoint counts: the newest whole one to go on from, the one of the least held-out loss to keep.

What a run has measured so far travels in the trainer's own state, so a resumed run decides as an uninterrupted one.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HELDOUT_LOSS = "eval_loss"
History = Sequence[Mapping[str, Any]]


def last_checkpoint(checkpoints: Path) -> str | None:
    """The newest checkpoint that was written to its end; half-written ones, left by a kill, are removed."""
    steps = {int(folder.name.split("-")[1]): folder for folder in checkpoints.glob("checkpoint-*")}
    for step in sorted(steps, reverse=True):
        if state_of(steps[step]) is not None:
            return str(steps[step])
        shutil.rmtree(steps[step])
    return None


def state_of(checkpoint: Path) -> dict[str, Any] | None:
    """The trainer's state in a checkpoint, the last file it writes; None where the checkpoint was cut off."""
    try:
        state: dict[str, Any] = json.loads((checkpoint / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return None
    return state


def best_step(history: History) -> int | None:
    """The step of the least held-out loss, of equals the first; None before one was measured."""
    measured = _measured(history)
    return min(measured, key=lambda row: row[1])[0] if measured else None


def least_loss(history: History) -> float | None:
    """The least held-out loss; None before one was measured."""
    return min((loss for _, loss in _measured(history)), default=None)


def is_exhausted(history: History, patience: int) -> bool:
    """Whether the held-out loss was measured `patience` times since it was least; never with patience 0."""
    best = best_step(history)
    return best is not None and 0 < patience <= sum(step > best for step, _ in _measured(history))


def _measured(history: History) -> list[tuple[int, float]]:
    return [(row["step"], row[HELDOUT_LOSS]) for row in history if HELDOUT_LOSS in row]
