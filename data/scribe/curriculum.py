"""What the base model reads at which step: short pieces of visits first, whole visits once copying has been learned.

A batch is a pure function of the seed, the step and the number of steps, so a run that was stopped goes on exactly
where it was.
"""

import random
from typing import NamedTuple

import torch
from transformers import PreTrainedTokenizerBase

from data.scribe.encounters import (
    USUAL_N_DRUGS,
    Encounter,
    Topic,
    encounter,
    is_made_up,
    is_reserved,
    part,
)
from data.scribe.notes import generic_note, random_style, styled_note
from data.scribe.tokenizer import framed

GROUP = 4  # steps whose rows are drawn together and sorted by length, so that little is padding
PAD_ID = 0


class Level(NamedTuple):
    """One stage of the curriculum: how many topics a visit has (None for all), which, and how many rows a batch.

    generic_share is that of notes in the generic style; the level ends when `until`, a share of all steps, is reached.
    """

    n_topics: int | None
    among: tuple[Topic, ...]
    n_rows: int
    generic_share: float
    until: float
    n_drugs: tuple[int, ...] = USUAL_N_DRUGS


LEVELS = (
    Level(1, (Topic.PRESCRIPTIONS, Topic.SYMPTOMS, Topic.VITALS), 56, 1.0, 0.12),
    Level(2, tuple(Topic), 48, 1.0, 0.20),
    Level(4, tuple(Topic), 30, 0.6, 0.30),
    Level(7, tuple(Topic), 20, 0.6, 0.40),
    Level(None, tuple(Topic), 14, 0.6, 1.00),
)
REFINER = Level(1, (Topic.PRESCRIPTIONS,), 56, 0.6, 1.00, (1, 2, 2, 3))
WHOLE_SHARE = 0.75  # of the last level's rows that are visits as they come; the rest are parts with every topic
DRILL_SHARE = 0.15  # of the rows above the first level that go back to it: prescriptions and who denied what


class Batch(NamedTuple):
    """Right-padded token ids (rows, tokens), and a mask of the tokens that the loss is taken on: the notes'."""

    ids: torch.Tensor
    is_note: torch.Tensor


class Example(NamedTuple):
    """A transcript as the model is prompted with it, and the note it should write."""

    prompt: str
    note: str


def example(seed: int, level: Level) -> Example:
    """One training example; made-up drug names come from the half that is not reserved for testing."""
    rng = random.Random(seed * 104_729 + 3)
    visit = _unreserved(rng, seed, level)
    is_generic = rng.random() < level.generic_share
    note = generic_note(visit) if is_generic else styled_note(visit, random_style(rng), rng)
    return Example(framed(visit.transcript), note)


def level_at(step: int, n_steps: int) -> Level:
    """The level that this step of so many belongs to."""
    return next(level for level in LEVELS if step < level.until * n_steps)


def batches(tokenizer: PreTrainedTokenizerBase, seed: int, first_step: int, n_steps: int) -> list[Batch]:
    """The batches of the GROUP steps from first_step on, in a shuffled order, each of rows of about equal length.

    Steps beyond n_steps refine: half of their batches are whole visits, half are prescriptions.
    """
    rng = random.Random(f"{seed} {first_step} {n_steps}")
    if first_step >= n_steps:
        drawn = [
            *_drawn(tokenizer, rng, [LEVELS[-1]] * (GROUP // 2 * LEVELS[-1].n_rows), LEVELS[-1].n_rows),
            *_drawn(tokenizer, rng, [REFINER] * (GROUP // 2 * REFINER.n_rows), REFINER.n_rows),
        ]
    else:
        level = level_at(first_step, n_steps)
        levels = [LEVELS[0] if rng.random() < DRILL_SHARE else level for _ in range(GROUP * level.n_rows)]
        drawn = _drawn(tokenizer, rng, levels, level.n_rows)
    rng.shuffle(drawn)
    return drawn


def _drawn(tokenizer: PreTrainedTokenizerBase, rng: random.Random, levels: list[Level], n_rows: int) -> list[Batch]:
    """Batches of n_rows, with one row of each of these levels."""
    rows = _encode(tokenizer, [example(rng.getrandbits(40), level) for level in levels])
    rows.sort(key=lambda row: sum(map(len, row)))
    return [_padded(rows[start : start + n_rows]) for start in range(0, len(rows), n_rows)]


def _unreserved(rng: random.Random, seed: int, level: Level) -> Encounter:
    """The visit of this seed, or of the next that prescribes no reserved name."""
    is_whole = level.n_topics is None and rng.random() < WHOLE_SHARE
    while True:
        if is_whole:
            visit = encounter(seed, 0.4)
        else:
            visit = part(seed, level.n_topics or len(Topic), among=level.among, n_drugs=level.n_drugs)
        if not any(is_made_up(rx.drug) and is_reserved(rx.drug) for rx in visit.prescriptions):
            return visit
        seed += 2**41


def _encode(tokenizer: PreTrainedTokenizerBase, examples: list[Example]) -> list[tuple[list[int], list[int]]]:
    prompts = tokenizer([row.prompt for row in examples], add_special_tokens=False).input_ids
    notes = tokenizer([row.note for row in examples], add_special_tokens=False).input_ids
    return [(prompt, [*note, tokenizer.eos_token_id]) for prompt, note in zip(prompts, notes, strict=True)]


def _padded(rows: list[tuple[list[int], list[int]]]) -> Batch:
    width = max(len(prompt) + len(note) for prompt, note in rows)
    ids = torch.full((len(rows), width), PAD_ID)
    is_note = torch.zeros((len(rows), width), dtype=torch.bool)
    for place, (prompt, note) in enumerate(rows):
        end = len(prompt) + len(note)
        ids[place, :end] = torch.tensor(prompt + note)
        is_note[place, len(prompt) : end] = True
    return Batch(ids, is_note)
