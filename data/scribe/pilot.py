"""Make the shipped pilot: in weeks 7 and 8 some physicians also tried `scribe-brief`, which earns by offering less.

    .venv/bin/python -m data.scribe.pilot --out data/scribe/pilot [--check]

`scribe-brief` is a model system around `scribe-1`: it stops after 39 tokens, and for long transcripts it shows no draft
at all. So its drafts really are beginnings of what scribe-1 writes (greedy, float32): short, cheap and fast, and what
there is of them is kept. What they leave out has to be typed. The visits are additional ones; nothing of the history
changes. Beside them stand the ratings of four simulated reviewers and the choices of a simulated product manager.
"""

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from data.scribe import choices, physicians, reviews
from data.scribe.answered import answered_drafts
from data.scribe.build import build_parser, run_build, write_manifest
from data.scribe.draft_pool import DraftPool, Sampling
from data.scribe.environment import SEEDS_PER_VISIT, Visit, feedback_row, make_visit, outcome_row
from data.scribe.history import BASE_FOLDER, SCHEMAS, write_rows
from data.scribe.physicians import Physician
from data.scribe.pool import ADAPTER
from data.scribe.weeks import FIRST_MONDAY, WEEK, Draft, Ledger, Planned, interaction_row, visit_times
from organism.config import ROOT

HISTORY = ROOT / "data" / "scribe" / "history"
BRIEF = "scribe-brief"
PILOT_SOURCE = "simulated-pilot"
PILOT_FIRST_SEED = 600_000_000
PILOT_WEEKS = (6, 7)  # counted from 0: the last two of the history
MAX_NEW_TOKENS = 39
MOST_TRANSCRIPT_CHARS = 760
LOAD = 1.0

REVIEWS_SCHEMA = pa.schema([*SCHEMAS["feedback"], ("name", pa.string()), ("value", pa.float64())])
CHOICES_SCHEMA = pa.schema(
    [
        *((f"{side}_{name}", pa.string()) for side in ("left", "right") for name in ("source", "external_id")),
        ("chosen", pa.string()),
        ("actor", pa.string()),
        ("occurred_at", pa.timestamp("us")),
        ("external_id", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How big a pilot to make; the defaults are the shipped one. `jobs` draft side by side and change nothing."""

    seed: int = 0
    n_physicians: int = 40
    n_reviewed_per_variant: int = 100
    n_choices: int = 30
    jobs: int = 1


class Silence(NamedTuple):
    """What the system shows when it does not draft: nothing, at no cost."""

    text: str = ""
    prompt_tokens: int = 0
    output_tokens: int = 0
    finish_reason: str = "no_draft"


def make(plan: Plan, base: Path, adapter: Path, history: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of the pilot by file: interactions, feedback, outcomes, reviews, choices."""
    lived = {name: pd.read_parquet(history / f"{name}.parquet") for name in SCHEMAS}
    planned = _plan(plan, lived["interactions"])
    drafts = _drafted(planned, base, adapter, plan.jobs)
    ledger = Ledger()
    for one, draft in zip(planned, drafts, strict=True):
        _serve(ledger, one, draft, plan.seed)
    drafted = answered_drafts(lived, ledger, reviews.REVIEWED_UNTIL)
    return {
        "interactions": ledger.interactions,
        "feedback": ledger.feedback,
        "outcomes": ledger.outcomes,
        "reviews": reviews.ratings(drafted, plan.n_reviewed_per_variant, random.Random(f"{plan.seed} reviews")),
        "choices": choices.simulated_choices(drafted, plan.n_choices, random.Random(f"{plan.seed} choices")),
    }


def _plan(plan: Plan, interactions: pd.DataFrame) -> list[Planned]:
    """Extra visits of some of the physicians who were there in both weeks."""
    week = (interactions["occurred_at"] - FIRST_MONDAY) // WEEK
    there = set.intersection(*(set(interactions.loc[week == number, "user_key"]) for number in PILOT_WEEKS))
    staff = [who for who in physicians.physicians() if who.user_key in there]
    chosen = random.Random(f"{plan.seed} pilot").sample(staff, min(plan.n_physicians, len(staff)))
    slots = sorted(
        (at, who.index, who)
        for who in chosen
        for number in PILOT_WEEKS
        for at in visit_times(who, number, LOAD, random.Random(f"{plan.seed} pilot times {who.index} {number}"))
    )
    return [Planned(_visit(who, place, plan.seed), at, BRIEF) for place, (at, _, who) in enumerate(slots, start=1)]


def _visit(who: Physician, place: int, seed: int) -> Visit:
    return make_visit(who, f"pilot-{place:04d}", PILOT_FIRST_SEED + (seed * 10_000 + place) * SEEDS_PER_VISIT)


def _drafted(planned: Sequence[Planned], base: Path, adapter: Path, jobs: int) -> list[Draft]:
    """scribe-1's own beginning of each note, and silence where the transcript is long."""
    asked = [place for place, one in enumerate(planned) if len(one.visit.prompt) <= MOST_TRANSCRIPT_CHARS]
    with DraftPool(base, adapter, jobs, Sampling(max_new_tokens=MAX_NEW_TOKENS)) as pool:
        written = dict(zip(asked, pool.draft([planned[place].visit.prompt for place in asked]), strict=True))
    return [written.get(place, Silence()) for place in range(len(planned))]


def _serve(ledger: Ledger, plan: Planned, draft: Draft, seed: int) -> None:
    """Log one draft, the physician's answer to it where one was shown, and what came of the note."""
    visit, at = plan.visit, plan.at
    row = interaction_row(plan, draft, None, random.Random(f"{seed} pilot latency {visit.encounter_id}"))
    rng = random.Random(f"{seed} pilot answer {visit.encounter_id}")
    answer = physicians.answer(visit.physician, visit.encounter, draft.text, rng=rng, at=at, is_beginning=True)
    outcome = physicians.visit_outcome(visit.encounter_id, answer.signed_after_s, at)
    signed_at = at + timedelta(seconds=answer.signed_after_s)
    feedback = feedback_row(visit, answer, key=visit.encounter_id, occurred_at=signed_at)
    shown = bool(draft.text)
    unknown = {} if shown else {"latency_ms": None, "ttft_ms": None}
    ledger.interactions.append({**row, **unknown, "source": PILOT_SOURCE})
    if feedback and shown:
        about = {"interaction_source": PILOT_SOURCE, "interaction_external_id": visit.encounter_id}
        ledger.feedback.append({**feedback, **about})
    ledger.outcomes.append(outcome_row(outcome, key=visit.encounter_id))


def build(plan: Plan, base: Path, adapter: Path, history: Path, out: Path, command: str) -> None:
    """Make the pilot and write it; manifest.json comes last."""
    rows = make(plan, base, adapter, history)
    out.mkdir(parents=True, exist_ok=True)
    schemas = SCHEMAS | {"reviews": REVIEWS_SCHEMA, "choices": CHOICES_SCHEMA}
    for name, of_name in rows.items():
        write_rows(out / f"{name}.parquet", of_name, schemas[name])
    about = {
        "what": "a simulated pilot of a variant that offers less; nobody real stands behind it",
        "seed": plan.seed,
        "n_physicians": plan.n_physicians,
        "max_new_tokens": MAX_NEW_TOKENS,
        "most_transcript_chars": MOST_TRANSCRIPT_CHARS,
        "n_rows": {name: len(of_name) for name, of_name in rows.items()},
    }
    write_manifest(out, about, command=command, base=base, adapter=adapter)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build or check; 0 when done or equal, 1 when something differs."""
    size = Plan()
    parser = build_parser(
        "data.scribe.pilot", __doc__, base=BASE_FOLDER, adapter=ADAPTER, n_physicians=size.n_physicians
    )
    parser.add_argument("--history", type=Path, default=HISTORY, help="the history that the pilot was beside")
    args = parser.parse_args(arguments)
    plan = Plan(seed=args.seed, n_physicians=args.physicians, jobs=args.jobs)
    return run_build(
        args,
        "data.scribe.pilot",
        lambda out, command: build(plan, args.base, args.adapter, args.history, out, command),
    )


if __name__ == "__main__":
    sys.exit(main())
