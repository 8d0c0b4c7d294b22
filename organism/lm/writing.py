"""How the tokens of many prompts are written: the plain Llama row by row, any other model batch by batch.

Both yield a token a time and say with a prompt's last one how long it took. Text, templates and folders are the
decoder's business.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel

from organism.lm.llama import Cache, Llama

Choose = Callable[[torch.Tensor, Sequence[int], Sequence[int]], list[int]]
"""From logits (rows, vocabulary), the prompt of each row and its step, the next token of each row."""


class Written(NamedTuple):
    """One token of one prompt. seconds, from when the prompt was taken up, is told with its last token only."""

    prompt: int
    token: int
    seconds: float | None


class Task(NamedTuple):
    """Prompts as token ids, how many tokens each may get, which tokens end a text, and how the next one is chosen."""

    prompts: Sequence[Sequence[int]]
    budgets: Sequence[int]
    ends: frozenset[int]
    choose: Choose


@dataclass(slots=True)
class _Row:
    """One prompt that is being written: its place in the task, and how many positions of the cache it fills."""

    prompt: int
    length: int
    began: float
    step: int = 0
    token: int = 0

    def take(self, token: int, task: Task) -> Written:
        """Note the next token, and whether it was the last."""
        self.token, self.step = token, self.step + 1
        is_last = token in task.ends or self.step == task.budgets[self.prompt]
        return Written(self.prompt, token, time.perf_counter() - self.began if is_last else None)


def write_by_llama(llama: Llama, task: Task, n_together: int) -> Iterator[Written]:
    """Write up to n_together prompts at a time, in the order of the task; one that ends makes room for the next."""
    waiting = deque(range(len(task.prompts)))
    n_positions = max((len(ids) + n for ids, n in zip(task.prompts, task.budgets, strict=True)), default=0)
    cache = llama.new_cache(min(n_together, len(waiting)), n_positions)
    rows: list[_Row] = []
    while waiting or rows:
        while waiting and len(rows) < n_together:
            row = _Row(waiting[0], len(task.prompts[waiting.popleft()]), time.perf_counter())
            logits = llama.read_prompt(np.array(task.prompts[row.prompt]), cache, len(rows))
            written = row.take(task.choose(torch.from_numpy(logits[None]), [row.prompt], [0])[0], task)
            if written.seconds is None:
                rows.append(row)
            yield written
        if rows:
            yield from _write_a_token_each(llama, task, rows, cache)


def _write_a_token_each(llama: Llama, task: Task, rows: list[_Row], cache: Cache) -> list[Written]:
    """One more token for every row; rows that end leave the list, and the last one moves to the place that is free."""
    tokens, lengths = (np.array(column) for column in zip(*((row.token, row.length) for row in rows), strict=True))
    logits = torch.from_numpy(llama.read_tokens(tokens, lengths, cache))
    chosen = task.choose(logits, [row.prompt for row in rows], [row.step for row in rows])
    told = []
    for place in reversed(range(len(rows))):
        rows[place].length += 1
        told.append(rows[place].take(chosen[place], task))
        if told[-1].seconds is None:
            continue
        last = rows.pop()
        if place < len(rows):
            rows[place] = last
            cache.move(len(rows), place, last.length)
    return told


@torch.inference_mode()
def write_by_transformers(model: PreTrainedModel, task: Task, n_together: int) -> Iterator[Written]:
    """The same for any causal model, through transformers' own forward: slower, but knows every architecture.

    Prompts of a batch are padded on the left, start together, and the batch goes on until the last of them has ended.
    """
    for first in range(0, len(task.prompts), n_together):
        places = range(first, min(first + n_together, len(task.prompts)))
        began = time.perf_counter()
        rows = [_Row(place, len(task.prompts[place]), began) for place in places]
        reader = _TransformersReader(model, [task.prompts[place] for place in places])
        has_ended = [False] * len(rows)
        logits = reader.read_prompts()
        while True:
            chosen = task.choose(logits, places, [row.step for row in rows])
            for number, row in enumerate(rows):
                if not has_ended[number]:
                    written = row.take(chosen[number], task)
                    has_ended[number] = written.seconds is not None
                    yield written
            if all(has_ended):
                break
            logits = reader.read_tokens(torch.tensor(chosen, device=model.device))


class _TransformersReader:
    """One batch being read: the prompts first, then a token a row at a time."""

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> None:
        width = max(len(ids) for ids in prompts)
        self.model, self.past = model, None
        self.ids = torch.tensor([[0] * (width - len(ids)) + list(ids) for ids in prompts], device=model.device)
        lengths = torch.tensor([len(ids) for ids in prompts], device=model.device)
        self.real = (torch.arange(width, device=model.device) >= width - lengths[:, None]).long()

    def read_prompts(self) -> torch.Tensor:
        return self._read(self.ids, (self.real.cumsum(1) - 1).clamp(min=0))

    def read_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        positions = self.real.sum(1, keepdim=True)
        self.real = torch.cat([self.real, torch.ones_like(self.real[:, :1])], dim=1)
        return self._read(tokens[:, None], positions)

    def _read(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        out = self.model(
            input_ids=ids,
            attention_mask=self.real,
            position_ids=positions,
            past_key_values=self.past,
            use_cache=True,
        )
        self.past = out.past_key_values
        logits: torch.Tensor = out.logits[:, -1]
        return logits
