"""Draft many prompts with one model on several cores: a process a core, one thread each.

Batches are laid out from the prompts alone, so the number of processes changes how long it takes and nothing else.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from data.scribe.weeks import Draft
from organism.lm.decoder import Decoder

MAX_NEW_TOKENS = 256
BATCH_SIZE = 24

_loaded: list[Decoder] = []


class Sampling(NamedTuple):
    """How drafts are written: greedy unless the temperature is above 0, and then the same for the same seed."""

    max_new_tokens: int = MAX_NEW_TOKENS
    temperature: float = 0.0
    seed: int = 0


GREEDY = Sampling()


class DraftPool:
    """Drafts (float32) of one model, from worker processes that live as long as the block."""

    def __init__(self, base: Path, adapter: Path | None, jobs: int, sampling: Sampling = GREEDY) -> None:
        self._sampling = sampling
        # Spawned, not forked: torch does not survive a fork once it has threads.
        self._pool = ProcessPoolExecutor(
            jobs, mp_context=get_context("spawn"), initializer=_load, initargs=(base, adapter)
        )

    def draft(self, prompts: Sequence[str]) -> list[Draft]:
        """One draft a prompt, in the order of the prompts."""
        by_length = sorted(range(len(prompts)), key=lambda place: (len(prompts[place]), place))
        batches = [by_length[first : first + BATCH_SIZE] for first in range(0, len(by_length), BATCH_SIZE)]
        # The decoder draws by a prompt's place in its own batch, so each batch needs a seed of its own.
        settings = [self._sampling._replace(seed=self._sampling.seed + n) for n in range(len(batches))]
        texts = [[prompts[place] for place in batch] for batch in batches]
        drafts: dict[int, Draft] = {}
        for batch, written in zip(batches, self._pool.map(_draft, texts, settings), strict=True):
            drafts.update(zip(batch, written, strict=True))
        return [drafts[place] for place in range(len(prompts))]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)


def _load(base: Path, adapter: Path | None) -> None:
    _loaded[:] = [Decoder.from_folder(base, adapter, threads=1)]


def _draft(prompts: list[str], sampling: Sampling) -> list[Draft]:
    return list(_loaded[0].generate(prompts, **sampling._asdict(), batch_size=BATCH_SIZE))
