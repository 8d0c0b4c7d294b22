"""Several processes that train one adapter together, under accelerate's launcher: who they are, and what they agree on.

Each takes its share of every batch and averages the gradients with the others. Only the first speaks: it writes status,
progress, checkpoints and the adapter, and evaluates.
"""

import os
from collections.abc import Callable
from typing import Any

from organism.errors import DesignError
from organism.records import Recipe

TOGETHER = frozenset({Recipe.SFT, Recipe.WEIGHTED})


def count() -> int:
    """How many processes train together; 1 for a run alone."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def share_of(batch_size: int) -> int:
    """The rows of a batch that one process takes; raises DesignError when they cannot be shared evenly."""
    if batch_size % count():
        raise DesignError(
            f"batch_size {batch_size} cannot be shared by {count()} processes; choose a multiple of {count()}"
        )
    return batch_size // count()


def require_together(recipe: Recipe) -> None:
    """Raise DesignError for a recipe that was never tried in several processes."""
    if count() > 1 and recipe not in TOGETHER:
        known = ", ".join(sorted(TOGETHER))
        raise DesignError(
            f"the recipe '{recipe}' trains in one process; several can train {known}. Start it with --on local"
        )


def agreed(asked: Callable[[], bool]) -> Callable[[], bool]:
    """The same question with one answer for all processes: yes as soon as one of them says so."""
    if count() == 1:
        return asked

    def ask() -> bool:
        import torch

        answer = torch.tensor([float(asked())], device=_device())
        torch.distributed.all_reduce(answer, torch.distributed.ReduceOp.MAX)
        return bool(answer.item())

    return ask


def average_gradients(model: Any) -> None:
    """Give every process the mean of all gradients; does nothing for a run alone.

    The trainers compute their loss past the wrapper that would do this, so it is done here, before the gradient is
    clipped.
    """
    if count() == 1:
        return
    import torch

    for weight in model.parameters():
        if weight.requires_grad:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            torch.distributed.all_reduce(weight.grad)
            weight.grad /= count()


def part() -> None:
    """Let all processes of a run leave the group at one moment; does nothing for a run alone.

    One that ends while it is still in the group can crash at its exit, and the launcher then ends the others too.
    """
    if count() == 1:
        return
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _device() -> str:
    import torch

    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.distributed.get_backend() == "nccl" else "cpu"
