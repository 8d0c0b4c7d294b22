"""Where a fine-tune computes: graphics card, Apple's chip or processor, found by itself and fixed with the run."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from organism.errors import DesignError
from organism.optimize.configs import TrainingConfig

SPARE_SHARE = 0.5


class Machine(NamedTuple):
    """Where it trains, fixed at the first start so that a resumed run computes the same."""

    device: str
    bf16: bool
    threads: int
    four_bit: bool = False

    @property
    def weights(self) -> torch.dtype:
        """How the base's frozen weights are held: halved on a graphics card that computes in bf16, else in full."""
        return torch.bfloat16 if self.device == "cuda" and self.bf16 else torch.float32


def usable_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(config: TrainingConfig, base: Path | None = None) -> Machine:
    """The accelerator if there is one, else the processor; bf16 where the hardware computes in it.

    4-bit weights are taken where they were asked for, or where the base's weights would fill more than half of the
    graphics card. Raises DesignError for a precision that this machine cannot compute in.
    """
    device, able = _found()
    if config.bf16 and not able and device != "cpu":
        raise DesignError(f"bf16 is asked for, and this machine's {device} does not compute in it; leave bf16 out")
    bf16 = able if config.bf16 is None else config.bf16
    return Machine(device, bf16, config.threads or usable_cores(), _four_bit(config, device, base))


def _found() -> tuple[str, bool]:
    """The device, and whether it computes in bf16."""
    if torch.cuda.is_available():
        return "cuda", torch.cuda.is_bf16_supported()
    if torch.backends.mps.is_available():
        return "mps", False
    return "cpu", torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _four_bit(config: TrainingConfig, device: str, base: Path | None) -> bool:
    if config.load_in_4bit:
        _require_four_bit(device)
    if config.load_in_4bit is not None or device != "cuda" or base is None:
        return bool(config.load_in_4bit)
    weights = sum(file.stat().st_size for file in base.glob("*.safetensors"))
    memory = torch.cuda.get_device_properties(0).total_memory
    return find_spec("bitsandbytes") is not None and weights > SPARE_SHARE * memory


def _require_four_bit(device: str) -> None:
    if device != "cuda":
        raise DesignError(
            f"4-bit weights need an NVIDIA card, and this machine computes on {device}; "
            "leave load_in_4bit out, or take a smaller base"
        )
    if find_spec("bitsandbytes") is None:
        raise DesignError(
            "4-bit weights need bitsandbytes, which is not installed here: `pip install bitsandbytes`, "
            "or leave load_in_4bit out"
        )


def settle(where: Machine) -> None:
    """Let this process compute as that machine says: its threads, and on a graphics card the same sums every time."""
    torch.set_num_threads(where.threads)
    if where.device == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)


def memory_mb() -> float:
    """What this process holds, in MiB: on an NVIDIA card the most it held so far there, on Apple's chip what it holds
    there now, else what is resident now.
    """
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    if torch.backends.mps.is_available():
        return torch.mps.current_allocated_memory() / 2**20
    return psutil.Process().memory_info().rss / 2**20
