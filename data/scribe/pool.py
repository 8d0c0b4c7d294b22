"""Make the shipped pool: four sampled drafts for each of 300 prompts, to ask what a reward design would grow.

    .venv/bin/python -m data.scribe.pool --out data/scribe/pool [--check]

The drafts are what `scribe-1` really writes at temperature 0.8 (seeded, float32) for visits that neither the history
nor any evaluation holds. Each stands there whole and as its beginnings, which stop after a quarter, a half and three
quarters of its characters, with their own counts against the note that this simulated physician would have signed.
Latency and the physician's answer are modeled, by the same rules as in the history. Nobody is told that a beginning is
one, so what it leaves out is held against it; in the pilot people were told.
"""

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from data.scribe import physicians
from data.scribe.build import build_parser, run_build, write_manifest
from data.scribe.draft_pool import DraftPool, Sampling
from data.scribe.environment import SEEDS_PER_VISIT, Visit, make_visit
from data.scribe.history import BASE_FOLDER, TUNED
from data.scribe.weeks import Draft, modeled_latency_ms
from organism.config import ROOT
from organism.measures.acceptance import measure
from organism.measures.facts import right_facts
from organism.measures.prices import cost_usd
from organism.records import FeedbackKind
from organism.store.sampled_drafts import COLUMNS

ADAPTER = ROOT / "data" / "scribe" / "versions" / TUNED
POOL_FIRST_SEED = 700_000_000
TEMPERATURE = 0.8
N_DRAFTS = 4
WHOLE = 1.0
BEGINNINGS = (0.25, 0.5, 0.75)

# The store adds whose drafts they are, and that they are simulated.
SCHEMA = pa.schema([field for field in COLUMNS if field.name not in ("loop_id", "is_synthetic")])

CountTokens = Callable[[str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How big a pool to make; the defaults are the shipped one. `jobs` draft side by side and change nothing."""

    seed: int = 0
    n_physicians: int = physicians.N_PHYSICIANS
    visits_per_physician: int = 5
    jobs: int = 1


class _Asked(NamedTuple):
    """One prompt of the pool, and the note that its physician would have signed."""

    visit: Visit
    own: str


def make(plan: Plan, base: Path, adapter: Path) -> list[dict[str, Any]]:
    """The pool's rows by prompt and draft, whole drafts before their beginnings."""
    asked = [_Asked(visit, _own_note(visit)) for visit in _visits(plan)]
    places = [(one, number) for one in asked for number in range(N_DRAFTS)]
    with DraftPool(base, adapter, plan.jobs, Sampling(temperature=TEMPERATURE, seed=plan.seed)) as pool:
        written = pool.draft([one.visit.prompt for one, _ in places])
    count_tokens = _counter(base)
    rows = [
        row
        for (one, number), draft in zip(places, written, strict=True)
        for row in _rows(one, number, draft, count_tokens)
    ]
    return sorted(rows, key=lambda row: (row["prompt_key"], row["draft_number"], -row["stop_at"]))


def _visits(plan: Plan) -> list[Visit]:
    return [
        make_visit(
            who,
            f"pool-{who.index:02d}-{number}",
            POOL_FIRST_SEED
            + ((plan.seed * physicians.N_PHYSICIANS + who.index) * plan.visits_per_physician + number)
            * SEEDS_PER_VISIT,
        )
        for who in physicians.physicians()[: plan.n_physicians]
        for number in range(plan.visits_per_physician)
    ]


def _own_note(visit: Visit) -> str:
    rng = random.Random(f"note of {visit.encounter_id}")
    return physicians.final_note(visit.physician, visit.encounter, rng)


def _counter(base: Path) -> CountTokens:
    from transformers import AutoTokenizer  # a second of imports that only making the pool needs

    tokenizer = AutoTokenizer.from_pretrained(str(base), local_files_only=True)
    return lambda text: len(tokenizer(text, add_special_tokens=False).input_ids)


def _rows(one: _Asked, number: int, draft: Draft, count_tokens: CountTokens) -> Iterator[dict[str, Any]]:
    """The whole draft and its beginnings; a beginning's text is not kept, since the whole one has it."""
    yield _row(one, number, WHOLE, draft.text, draft.prompt_tokens, draft.output_tokens) | {"output": draft.text}
    for share in BEGINNINGS:
        text = draft.text[: round(share * len(draft.text))]
        yield _row(one, number, share, text, draft.prompt_tokens, count_tokens(text))


def _row(one: _Asked, number: int, stop_at: float, text: str, n_prompt: int, n_output: int) -> dict[str, Any]:
    visit, place = one.visit, f"{one.visit.encounter_id}/{number}"
    # The noise is the draft's own at every length, so that a beginning is never slower than the whole.
    latency_ms, ttft_ms = modeled_latency_ms(n_prompt, n_output, random.Random(f"latency {place}"))
    checks = physicians.checks_of(visit.encounter)
    answer = physicians.judge(
        visit.physician,
        visit.encounter,
        text,
        one.own,
        rng=random.Random(f"answer to {visit.encounter_id}"),
    )
    return {
        "prompt_key": visit.encounter_id,
        "draft_number": number,
        "stop_at": stop_at,
        "user_key": visit.user_key,
        "variant_id": TUNED,
        "prompt": visit.prompt,
        "output": None,
        "accepted": float(answer is not FeedbackKind.REJECT),
        "output_tokens": float(n_output),
        "latency_ms": latency_ms,
        "ttft_ms": ttft_ms,
        "cost_usd": cost_usd(n_prompt, n_output),
        **measure(text, one.own)._asdict(),
        "n_facts": len(checks),
        "n_facts_right": sum(right_facts(text, checks)),
    }


def build(plan: Plan, base: Path, adapter: Path, out: Path, command: str) -> None:
    """Make the pool and write it; manifest.json comes last."""
    rows = make(plan, base, adapter)
    out.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    pq.write_table(table, out / "drafts.parquet", compression="zstd", compression_level=12)
    about = {
        "what": "drafts sampled for simulated visits; nobody real stands behind them",
        "seed": plan.seed,
        "temperature": TEMPERATURE,
        "n_prompts": len({row["prompt_key"] for row in rows}),
        "n_rows": {"drafts": len(rows)},
    }
    write_manifest(out, about, command=command, base=base, adapter=adapter)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build or check; 0 when done or equal, 1 when something differs."""
    size = Plan()
    parser = build_parser(
        "data.scribe.pool", __doc__, base=BASE_FOLDER, adapter=ADAPTER, n_physicians=size.n_physicians
    )
    parser.add_argument("--visits", type=int, default=size.visits_per_physician, help="of each physician")
    args = parser.parse_args(arguments)
    plan = Plan(seed=args.seed, n_physicians=args.physicians, visits_per_physician=args.visits, jobs=args.jobs)
    return run_build(args, "data.scribe.pool", lambda out, command: build(plan, args.base, args.adapter, out, command))


if __name__ == "__main__":
    sys.exit(main())
