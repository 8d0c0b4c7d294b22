"""Greedy drafts per second: transformers' `generate` against our decoder, on the shipped base and held-out visits.

`python -m bench generation [--threads N] [--prompts N]`. Three loads: one prompt at a time, 16 at a time, and the
workload of an evaluation (300 prompts, sorted by length for both, 16 at a time). The two take turns, chunk by chunk, in
changing order, so that neighbors on the machine disturb both alike; the ratio by processor time is disturbed less than
the one by the clock. Every text is compared: equal greedy output is half of what is wanted.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from organism.optimize.worker import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # before torch reads it

import torch
from transformers import AutoModelForCausalLM

from data.scribe.encounters import encounter
from organism.config import ROOT
from organism.lm.decoder import Decoder
from organism.lm.framing import framed

BASE = ROOT / "data/scribe/base"
FIRST_SEED = 900_000_000
WANTED, FIRST_TOKEN_MS = 2.0, 500.0
MAX_NEW_TOKENS = 256


class Load(NamedTuple):
    """A workload: how many prompts, how many together, how many in a turn of each contender."""

    name: str
    n_prompts: int
    batch_size: int
    chunk: int


class Drafted(NamedTuple):
    """What a contender wrote in one turn, and what it took: tokens, seconds by the clock and of the processor."""

    texts: list[str]
    tokens: int
    wall: float
    processor: float


class Peer:
    """transformers as its documentation uses it: left padding, a dynamic cache, greedy."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.model = AutoModelForCausalLM.from_pretrained(str(BASE), dtype=torch.float32, local_files_only=True).eval()

    def draft(self, prompts: Sequence[str], batch_size: int, max_new_tokens: int = MAX_NEW_TOKENS) -> list[list[int]]:
        """The tokens of each prompt's draft, its end token included."""
        written: list[list[int]] = []
        for first in range(0, len(prompts), batch_size):
            texts = framed(prompts[first : first + batch_size], self.tokenizer)
            encoded = self.tokenizer(
                texts,
                return_tensors="pt",
                padding=True,
                padding_side="left",
                add_special_tokens=False,
                return_token_type_ids=False,
            )
            with torch.inference_mode():
                out = self.model.generate(**encoded, max_new_tokens=max_new_tokens, do_sample=False)
            written += [self._until_end(row.tolist()) for row in out[:, encoded.input_ids.shape[1] :]]
        return written

    def _until_end(self, ids: list[int]) -> list[int]:
        end = self.tokenizer.eos_token_id
        return ids[: ids.index(end) + 1] if end in ids else ids


def by_peer(peer: Peer, prompts: Sequence[str], batch_size: int) -> Drafted:
    """One turn of transformers."""
    wall, processor = time.perf_counter(), time.process_time()
    written = peer.draft(prompts, batch_size)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    texts = [peer.tokenizer.decode(ids, skip_special_tokens=True) for ids in written]
    return Drafted(texts, sum(map(len, written)), wall, processor)


def by_ours(decoder: Decoder, prompts: Sequence[str], batch_size: int) -> Drafted:
    """One turn of ours."""
    wall, processor = time.perf_counter(), time.process_time()
    written = decoder.generate(prompts, max_new_tokens=MAX_NEW_TOKENS, batch_size=batch_size)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return Drafted([draft.text for draft in written], sum(draft.output_tokens for draft in written), wall, processor)


def compare(load: Load, peer: Peer, decoder: Decoder) -> bool:
    """Print one line of the load; whether ours was quick enough with every text equal."""
    prompts = sorted((encounter(FIRST_SEED + n).transcript for n in range(load.n_prompts)), key=len)
    theirs: list[Drafted] = []
    ours: list[Drafted] = []
    for number, first in enumerate(range(0, len(prompts), load.chunk)):
        chunk = prompts[first : first + load.chunk]
        turns = [lambda c=chunk: theirs.append(by_peer(peer, c, load.batch_size))]
        turns.append(lambda c=chunk: ours.append(by_ours(decoder, c, load.batch_size)))
        for turn in turns if number % 2 else reversed(turns):
            turn()
    pairs = list(zip(theirs, ours, strict=True))
    n_equal = sum(a == b for their, own in pairs for a, b in zip(their.texts, own.texts, strict=True))
    speeds = [sum(turn.tokens for turn in turns) / sum(turn.wall for turn in turns) for turns in (theirs, ours)]
    wall = sum(turn.wall for turn in theirs) / sum(turn.wall for turn in ours)
    processor = sum(turn.processor for turn in theirs) / sum(turn.processor for turn in ours)
    print(
        f"{load.name:<34}{speeds[0]:>9,.0f}{speeds[1]:>9,.0f} tokens/s {wall:6.2f} x, {processor:.2f} x by processor "
        f"time, {n_equal} of {load.n_prompts} texts equal",
        flush=True,
    )
    return wall >= WANTED and n_equal == load.n_prompts


def first_token(peer: Peer, decoder: Decoder) -> bool:
    """Print how long the first piece of a stream takes, the median of nine prompts; whether it is in time."""
    prompts = [encounter(FIRST_SEED + n).transcript for n in range(9)]
    taken: tuple[list[float], list[float]] = [], []
    for prompt in prompts:
        began = time.perf_counter()
        peer.draft([prompt], 1, max_new_tokens=1)
        middle = time.perf_counter()
        next(decoder.stream(prompt))
        taken[0].append(1000 * (middle - began))
        taken[1].append(1000 * (time.perf_counter() - middle))
    theirs, ours = (sorted(times)[len(prompts) // 2] for times in taken)
    print(f"{'first token, ms':<34}{theirs:>9.0f}{ours:>9.0f}   limit {FIRST_TOKEN_MS:.0f}")
    return ours <= FIRST_TOKEN_MS


def main() -> int:
    """Print every load beside what is wanted. Returns 1 when one is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="of both; one is what the draft server uses")
    parser.add_argument("--prompts", type=int, default=300, help="of the evaluation's workload")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    decoder = Decoder.from_folder(BASE)
    peer = Peer(decoder.tokenizer)
    warm = [encounter(FIRST_SEED - 1).transcript] * 2
    by_peer(peer, warm, 2)
    by_ours(decoder, warm, 2)
    loads = [Load("one at a time", 12, 1, 2), Load("16 at a time", 48, 16, 16)]
    loads.append(Load(f"evaluation of {args.prompts}, 16 at a time", args.prompts, 16, 100))
    print(f"{'':<34}{'generate':>9}{'ours':>9}   ({args.threads} thread of each)")
    are_met = [compare(load, peer, decoder) for load in loads if load.n_prompts]
    are_met.append(first_token(peer, decoder))
    print(f"wanted: {WANTED} x with equal texts, and the first token in time: {'met' if all(are_met) else 'MISSED'}")
    return 0 if all(are_met) else 1


if __name__ == "__main__":
    sys.exit(main())
