"""Write the model card of a pre-trained base: what it is, how it was made, what was measured, what it cannot do."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.scribe import curriculum
from data.scribe.encounters import Topic
from data.scribe.measure import Share

_LABELS = {
    "drug_dose known": "drug and dose, drug names met in training",
    "drug_dose made up": "drug and dose, made-up names never met in training",
    "vitals": "vital signs",
    "age": "age",
    "symptoms": "symptom on its side of reported and denied",
    "all facts": "visits with age, vitals, drugs and doses all right",
    "all and symptoms": "visits with those and all symptoms right",
}
_TARGETS = {"drug_dose known": 0.95, "drug_dose made up": 0.85, "symptoms": 0.90}

_WHY = (
    "The usual slip is a syllable dropped or doubled, or the visit's other drug\n"
    "  written in its place; doses are copied. The steps ended before this was learned."
)

_CARD = """\
# Scribe base model

A language model of {millions:.2f} million parameters, trained from nothing on a CPU, that turns the transcript of a
doctor's visit into a note. It exists to be fine-tuned in a demo of a learning loop.

**All data is synthetic. Every visit, name, drug, dose and finding is drawn at random by a program and has no medical
meaning. Nothing here was learned from patients or clinicians, and nothing here may be used for care.**

## Measured
On {n_visits} visits outside the training seeds, drafted greedily (`data/scribe/measure.py`), first seed {first_seed}:

| what a note must state | right | of | share | 95% interval | aimed at |
|---|---|---|---|---|---|
{rows}

The interval is Wilson's, and treats each fact as independent of the others in its visit.

## What it cannot do
{cannot}
- It knows this program's sixteen complaints and their wording. Real speech, other topics, other languages: no.
- It copies and rearranges and reasons about nothing. A wrong dose reads as fluently as a right one.
- It reads at most 640 tokens, prompt and note together.
- It writes one plain style unless it is fine-tuned.

## How it was made
    python -m data.scribe.pretrain --out data/scribe/base --steps {n_steps} --refine {refine_steps} --seed {seed}

- Architecture: Llama through transformers, 4 layers of 256, 4 heads of 64, feed-forward 704, tied embeddings.
- Tokenizer: byte-level BPE of 2,048 with single digits, trained on 4,000 of the same visits.
- {step:,} steps, {tokens:,} tokens read, of which {note_tokens:,} were note tokens and carried the loss;
  final loss {loss:.3f} (moving average; the random styles put a floor under it).
- {minutes:.0f} minutes on {threads} CPU threads, other work running beside it; bf16 autocast over fp32 weights.
- Muon (rate {matrix_rate}) for the layers' matrices, AdamW (rate {other_rate}) for the rest; {warmup} steps of warm-up,
  then a plateau, then a straight line to 0 over the last {decay:.0%} of the {n_steps:,} curriculum steps; after them
  {refine_steps:,} steps, half on whole visits and half on prescriptions alone, from {refine_rate:.0%} of the rate to 0.
  The schedule counts steps, never seconds.
- Curriculum, by share of its steps:
{levels}
  Of the later rows {drills:.0%} go back to the first level.
- Notes of the last three levels: {generic:.0%} in the generic style, the rest each in a house style of its own, drawn
  at random. The first two levels are all generic.
- Half of all possible made-up drug names (by a hash of the name) are kept out of training and used for the test above.
- Seed {seed} decides the initial weights and every batch. Threads and CPU type change the last bits of the sums, so
  another machine ends near these weights and not on them.

## Files
- `model.safetensors`: fp16, {megabytes:.1f} MB, sha256 `{digest}`
- `config.json`, and the tokenizer with its chat template
- `replay.jsonl`: generic notes to mix into a fine-tune, so that facts are not forgotten

License: as the project's.
"""


def write_card(
    folder: Path,
    progress: Mapping[str, Any],
    measured: Mapping[str, Share],
    *,
    seed: int,
    n_steps: int,
    threads: int,
    first_seed: int,
    recipe: Mapping[str, float],
) -> None:
    """Write README.md into the model folder from what the run saw and what was measured after it."""
    weights = (folder / "model.safetensors").read_bytes()
    text = _CARD.format(
        millions=_n_parameters(len(weights)) / 1e6,
        n_visits=measured["all facts"].n,
        first_seed=first_seed,
        rows="\n".join(_row(name, share) for name, share in measured.items()),
        cannot="\n".join(_shortfalls(measured)),
        step=progress["step"],
        n_steps=n_steps,
        refine_steps=progress["step"] - n_steps,
        seed=seed,
        tokens=progress["tokens"],
        note_tokens=progress["note_tokens"],
        loss=progress["loss"],
        minutes=progress["seconds"] / 60,
        threads=threads,
        levels=_levels(),
        drills=curriculum.DRILL_SHARE,
        generic=curriculum.LEVELS[-1].generic_share,
        megabytes=len(weights) / 1e6,
        digest=hashlib.sha256(weights).hexdigest(),
        **recipe,
    )
    (folder / "README.md").write_text(text)


def _n_parameters(n_bytes: int) -> int:
    return n_bytes // 2  # two bytes each; the header of a few kilobytes is lost in the rounding


def _row(name: str, counted: Share) -> str:
    low, high = counted.interval()
    aim = f"{_TARGETS[name]:.0%}" if name in _TARGETS else ""
    share = f"{counted.right / counted.n:.1%}"
    return f"| {_LABELS[name]} | {counted.right} | {counted.n} | {share} | {low:.1%} to {high:.1%} | {aim} |"


def _shortfalls(measured: Mapping[str, Share]) -> list[str]:
    missed = [
        f"- It fell short of its aim on {_LABELS[name]}:\n  {measured[name].right / measured[name].n:.1%}, "
        f"aimed at {aim:.0%}. {_WHY}"
        for name, aim in _TARGETS.items()
        if measured[name].right < aim * measured[name].n
    ]
    facts = measured["all facts"]
    return [*missed, f"- {1 - facts.right / facts.n:.1%} of its notes state at least one fact wrongly or not at all."]


def _levels() -> str:
    said = []
    for level in curriculum.LEVELS:
        among = ", ".join(sorted(level.among)) if len(level.among) < len(Topic) else "all topics"
        pieces = "whole visits" if level.n_topics is None else f"visits cut down to {level.n_topics} of {among}"
        said.append(f"{pieces} until {level.until:.0%}")
    return "\n".join(f"  - {words}" for words in said)
