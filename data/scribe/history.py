"""Make the shipped history: eight simulated weeks with one whole finished turn of the loop in them.

    .venv/bin/python -m data.scribe.history --out data/scribe/history [--check]

Weeks 1 to 4 the base drafts alone. At the end of week 3 a small training set is frozen and `scribe-1` is trained on it,
really, by the product's own recipe. Weeks 5 and 6 are an experiment of the base against `scribe-1`; at their end a
simulated lead decides to ship it, and in weeks 7 and 8 it drafts for all: open data for the next turn.

Every draft is what the model really wrote (greedy, float32). No clock and no unseeded chance is asked, so the same
command on the same kind of processor gives the same bytes; `--check` proves it. What the clock did say about training
is in measured.json, the one file that is not compared.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.scribe import first_turn, physicians
from data.scribe.draft_pool import DraftPool
from data.scribe.first_turn import EXPERIMENT_KEY, FirstTurn, TurnSize
from data.scribe.weeks import N_WEEKS, Clinic, Ledger
from organism.config import ROOT

BASE_FOLDER = ROOT / "data" / "scribe" / "base"
BASE, TUNED = "base", "scribe-1"
VARIANTS = {"control": BASE, "treatment": TUNED}
MEASURED = "measured.json"
SAID = ("before", "after", "ceiling", "facts_before", "facts_after")

_SHARED = [("occurred_at", pa.timestamp("us")), ("source", pa.string()), ("external_id", pa.string())]
SCHEMAS = {
    "interactions": pa.schema(
        [
            ("loop", pa.string()),
            ("session_id", pa.string()),
            ("user_key", pa.string()),
            ("variant_id", pa.string()),
            ("experiment_id", pa.string()),
            ("prompt", pa.string()),
            ("output", pa.string()),
            ("input_tokens", pa.int32()),
            ("output_tokens", pa.int32()),
            ("latency_ms", pa.float64()),
            ("ttft_ms", pa.float64()),
            ("cost_usd", pa.float64()),
            ("finish_reason", pa.string()),
            ("business_key", pa.string()),
            ("consent", pa.bool_()),
            ("region", pa.string()),
            ("is_synthetic", pa.bool_()),
            ("attributes", pa.string()),
            *_SHARED,
        ]
    ),
    "feedback": pa.schema(
        [
            ("interaction_source", pa.string()),
            ("interaction_external_id", pa.string()),
            ("kind", pa.string()),
            ("final_text", pa.string()),
            ("actor_kind", pa.string()),
            ("actor_key", pa.string()),
            *_SHARED,
        ]
    ),
    "outcomes": pa.schema(
        [
            ("loop", pa.string()),
            ("business_key", pa.string()),
            ("name", pa.string()),
            ("value", pa.float64()),
            ("attribution_window_s", pa.int64()),
            *_SHARED,
        ]
    ),
}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How big a history to make; the defaults are the shipped one, tests take less.

    `threads` are torch's while training, and another number may change the last bit; `jobs` draft side by side, and
    their number changes nothing.
    """

    seed: int = 0
    n_physicians: int = physicians.N_PHYSICIANS
    load: float = 1.0
    threads: int = 2
    jobs: int = 2
    turn: TurnSize = field(default_factory=TurnSize)


def make(plan: Plan, base: Path, scratch: Path, say: Say) -> tuple[Ledger, FirstTurn]:
    """Live the eight weeks; the run folder and the adapter of the first turn are left in `scratch`."""
    clinic = Clinic(seed=plan.seed, staff=physicians.physicians()[: plan.n_physicians], load=plan.load)
    with ExitStack() as pools:
        drafters = {BASE: pools.enter_context(DraftPool(base, None, plan.jobs)).draft}

        def live(variant_of: Callable[[physicians.Physician], str], experiment: str | None = None) -> None:
            clinic.live(variant_of, drafters, experiment)
            say(f"week {len(clinic.active_by_week)} of {N_WEEKS}: {len(clinic.ledger.interactions)} drafts so far")

        for _ in range(3):
            live(lambda who: BASE)
        turn = first_turn.train(clinic.ledger, plan.turn, base, scratch, seed=plan.seed, threads=plan.threads)
        say(f"trained {TUNED}: {json.dumps({name: turn.evaluation['summary'][name] for name in SAID})}")
        drafters[TUNED] = pools.enter_context(DraftPool(base, turn.adapter, plan.jobs)).draft
        live(lambda who: BASE)
        arms = first_turn.arms(who.user_key for who in clinic.staff)
        for _ in range(2):
            live(lambda who: VARIANTS[arms[who.user_key].variant], EXPERIMENT_KEY)
        for _ in range(2):
            live(lambda who: TUNED)
    return clinic.ledger, turn


def write(ledger: Ledger, turn: FirstTurn, out: Path, versions: Path, *, plan: Plan, base: Path, command: str) -> None:
    """Write every file of the history, and the adapter beside it; manifest.json comes last."""
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in (
        ("interactions", ledger.interactions),
        ("feedback", ledger.feedback),
        ("outcomes", ledger.outcomes),
    ):
        write_rows(out / f"{name}.parquet", rows, SCHEMAS[name])
    write_json(out / "turn.json", first_turn.record(turn, ledger))
    write_json(out / MEASURED, turn.measured)
    first_turn.save_adapter(turn.adapter, versions / TUNED)
    write_json(
        out / "manifest.json",
        {
            "what": "a simulated history; nobody real stands behind it",
            "command": command,
            "seed": plan.seed,
            "n_physicians": plan.n_physicians,
            "load": plan.load,
            "threads": plan.threads,
            "n_rows": {
                "interactions": len(ledger.interactions),
                "feedback": len(ledger.feedback),
                "outcomes": len(ledger.outcomes),
            },
            "base_sha256": sha256(base / "model.safetensors"),
            "files": digests(out, versions),
        },
    )


def write_rows(file: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Rows as Parquet in order of time; attributes as canonical JSON."""
    ordered = sorted(rows, key=lambda row: (row["occurred_at"], row["external_id"]))
    plain = [
        {**row, "attributes": json.dumps(row["attributes"], sort_keys=True)} if "attributes" in row else row
        for row in ordered
    ]
    pq.write_table(pa.Table.from_pylist(plain, schema=schema), file, compression="zstd", compression_level=12)


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    """Plain data with sorted keys, so that equal data are equal bytes."""
    file.write_text(json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def digests(out: Path, versions: Path) -> dict[str, str]:
    """SHA-256 of every compared file, by its name within the history or the versions folder."""
    history = {file.name: file for file in sorted(out.iterdir()) if file.suffix in {".parquet", ".json"}}
    files = {name: file for name, file in history.items() if name not in {MEASURED, "manifest.json"}}
    files |= {f"{TUNED}/{file.name}": file for file in sorted((versions / TUNED).iterdir())}
    return {name: sha256(file) for name, file in files.items()}


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def differences(kept: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    """One line for each thing that two manifests do not agree on."""
    lines = [
        f"{name}: kept {kept.get(name)!r}, made {made.get(name)!r}"
        for name in ("seed", "base_sha256", "n_rows")
        if kept.get(name) != made.get(name)
    ]
    names = sorted(set(kept["files"]) | set(made["files"]))
    return lines + [
        f"{name}: kept {kept['files'].get(name, 'no such file')[:12]}, made {made['files'].get(name, 'none')[:12]}"
        for name in names
        if kept["files"].get(name) != made["files"].get(name)
    ]


def build(plan: Plan, base: Path, out: Path, versions: Path, command: str, say: Say) -> None:
    """Make the history and write it."""
    with tempfile.TemporaryDirectory() as folder:
        ledger, turn = make(plan, base, Path(folder), say)
        shutil.rmtree(versions / TUNED, ignore_errors=True)
        write(ledger, turn, out, versions, plan=plan, base=base, command=command)


def check(plan: Plan, base: Path, out: Path, versions: Path, command: str, say: Say) -> list[str]:
    """Make it again elsewhere; returns what differs, from its own manifest and from the files themselves."""
    kept = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    stale = differences(kept, {**kept, "files": digests(out, versions)})
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder)
        build(plan, base, again / "history", again / "versions", command, say)
        made = json.loads((again / "history" / "manifest.json").read_text(encoding="utf-8"))
    return [f"changed by hand: {line}" for line in stale] + differences(kept, made)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build or check; 0 when done or equal, 1 when something differs."""
    args = _parser().parse_args(arguments)
    plan = Plan(
        seed=args.seed,
        n_physicians=args.physicians,
        load=args.load,
        threads=args.threads,
        jobs=args.jobs,
        turn=TurnSize(n_train=args.train_rows, n_heldout=args.heldout_rows, epochs=args.epochs),
    )
    versions = args.versions or args.out.parent / "versions"
    command = f"python -m data.scribe.history --out data/scribe/history --seed {args.seed}"

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    if not args.check:
        build(plan, args.base, args.out, versions, command, say)
        return 0
    found = check(plan, args.base, args.out, versions, command, say)
    print("\n".join(found) or f"{args.out} is what its command makes, byte for byte")
    return 1 if found else 0


def _parser() -> argparse.ArgumentParser:
    size = TurnSize()
    parser = argparse.ArgumentParser(prog="python -m data.scribe.history", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the history")
    parser.add_argument("--check", action="store_true", help="make it again in a temporary folder and compare bytes")
    parser.add_argument("--base", type=Path, default=BASE_FOLDER, help="the base model (default: the shipped one)")
    parser.add_argument("--versions", type=Path, default=None, help="where the adapter goes (default: OUT/../versions)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--physicians", type=int, default=physicians.N_PHYSICIANS)
    parser.add_argument("--load", type=float, default=1.0, help="scales the visits of a week")
    parser.add_argument("--threads", type=int, default=2, help="of torch in training; another may change the result")
    parser.add_argument("--jobs", type=int, default=2, help="processes that draft side by side")
    parser.add_argument("--train-rows", type=int, default=size.n_train)
    parser.add_argument("--heldout-rows", type=int, default=size.n_heldout)
    parser.add_argument("--epochs", type=int, default=size.epochs)
    return parser


if __name__ == "__main__":
    sys.exit(main())
