"""The quick commands: read or change one thing, and say so."""

import argparse
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from organism.cli.output import ProgressLine, Result, table
from organism.config import DEMO_LOOP, Workspace, utcnow, workspace
from organism.demo import open_workspace
from organism.deploy import flow as deploy
from organism.doctor import examine
from organism.errors import InputError
from organism.experiment import flow as experiment
from organism.ingest import files
from organism.ingest.flow import retry_quarantined
from organism.loop import decide_and_apply
from organism.observe import flow as observe
from organism.records import EventKind, Verdict
from organism.store import backup as copies
from organism.store.database import Store
from organism.store.experiments import PLANNED, read_experiments
from organism.store.loops import loop_id_of, read_loops
from organism.store.model_versions import read_alias_events, read_versions
from organism.store.quarantine import read_quarantine
from organism.store.sources import source_summary


class Place(NamedTuple):
    """An open workspace."""

    workspace: Workspace
    store: Store


@contextmanager
def opened(args: argparse.Namespace) -> Iterator[Place]:
    """The workspace of the arguments, open for the length of the block."""
    place = workspace(args.workspace)
    with closing(open_workspace(place, demo=not args.no_demo)) as store:
        yield Place(place, store)


def doctor(args: argparse.Namespace) -> Result:
    """Every check with what to mend; exit code 1 when one is not in order."""
    checks = examine(workspace(args.workspace), args.port)
    lines = [
        f"{'ok  ' if c.ok else 'MEND'}  {c.name:<10} {c.found}" + (f"\n      {c.mend}" if c.mend else "")
        for c in checks
    ]
    healthy = all(check.ok for check in checks)
    return Result("\n".join(lines), {"ok": healthy, "checks": checks}, 0 if healthy else 1)


def import_file(args: argparse.Namespace) -> Result:
    """Bring a file in, or with --preview show how it would be read."""
    file, kind, mapping = Path(args.file), EventKind(args.kind), _mapping(args.map)
    if not file.is_file():
        raise InputError(f"there is no file {file}; give the path of a .csv, .parquet or .jsonl file.")
    if args.preview:
        return _preview(file, kind, mapping)
    progress = ProgressLine()
    with opened(args) as place:
        done = files.import_file(
            place.store,
            file,
            kind,
            mapping,
            loop=args.loop,
            source=args.source,
            now=utcnow(),
            on_progress=lambda share: progress("import", share, file.name),
        )
    text = f"{done.accepted} {kind} imported, {done.duplicates} were there already, {done.quarantined} in quarantine."
    reasons = "".join(f"\n  {reason}" for reason in done.reasons[:5])
    counts = {"accepted": done.accepted, "duplicates": done.duplicates, "quarantined": done.quarantined}
    return Result(text + reasons, {**counts, "reasons": done.reasons[:100]})


def _preview(file: Path, kind: EventKind, mapping: dict[str, str]) -> Result:
    seen = files.preview_file(file, kind, mapping or None)
    text = "\n".join(
        [
            "field <- column: " + ", ".join(f"{field} <- {column}" for field, column in seen.mapping.items()),
            f"missing: {', '.join(seen.missing) or 'nothing'}",
            seen.sample.to_string(index=False, max_colwidth=40),
        ]
    )
    return Result(text, seen._asdict())


def _mapping(words: list[str]) -> dict[str, str]:
    if bad := [word for word in words if "=" not in word]:
        raise InputError(f"--map {bad[0]} names no column; write it as FIELD=COLUMN, for example output=reply_text.")
    return dict(word.split("=", 1) for word in words)


def sources(args: argparse.Namespace) -> Result:
    """Volume and freshness by source."""
    with opened(args) as place:
        found = source_summary(place.store, utcnow())
    shown = table(
        found, {name: name.replace("_", " ") for name in found.columns}, "Nothing has come in yet: try organism import."
    )
    return Result(shown, {"sources": found})


def quarantine(args: argparse.Namespace) -> Result:
    """The waiting rows with their reasons, or one of them sent again."""
    with opened(args) as place:
        if args.retry:
            done = retry_quarantined(place.store, args.retry, _patch(args.patch), now=utcnow())
            went_in = done.accepted + done.duplicates > 0
            return Result(
                "It went in." if went_in else f"Still not: {done.reasons[0]}", done._asdict(), 0 if went_in else 2
            )
        rows = read_quarantine(place.store)
    columns = {"quarantine_id": "id", "kind": "kind", "source": "source", "reason": "reason"}
    return Result(table(rows, columns, "Quarantine is empty."), {"rows": rows})


def _patch(text: str) -> dict[str, Any]:
    try:
        patch = json.loads(text)
    except ValueError as error:
        raise InputError(f"--patch is not JSON ({error}); write it as '{{\"field\": value}}'.") from error
    if not isinstance(patch, dict):
        raise InputError(f"--patch is a JSON {type(patch).__name__}; wanted an object of the fields to change.")
    return patch


def backup(args: argparse.Namespace) -> Result:
    """An online copy of the database."""
    with opened(args) as place:
        copies.backup(place.store, Path(args.file))
    size = Path(args.file).stat().st_size
    return Result(f"Backed up to {args.file} ({size / 1e6:.1f} MB).", {"file": str(args.file), "bytes": size})


def restore(args: argparse.Namespace) -> Result:
    """A backup in place of the database; what was there is kept beside it."""
    kept = copies.restore(workspace(args.workspace), Path(args.file))
    text = f"Restored from {args.file}." + (f" What was there is kept as {kept}." if kept else "")
    return Result(text, {"restored": str(args.file), "kept": str(kept) if kept else None})


def models(args: argparse.Namespace) -> Result:
    """Versions, and the alias events that made one live."""
    with opened(args) as place:
        loop_id = loop_of(place.store, args.loop)
        versions, events = read_versions(place.store, loop_id), read_alias_events(place.store, loop_id)
        live = deploy.live_version(place.store, loop_id)
    name = live.name if live else None
    columns = {"name": "version", "run_id": "run", "created_at": "made"}
    text = f"{table(versions, columns, 'No versions yet.')}\nlive: {name or 'none'}"
    return Result(text, {"versions": versions, "live": name, "alias_events": events})


def promote(args: argparse.Namespace) -> Result:
    """Make a version live, if its facts allow it."""
    with opened(args) as place:
        loop_id = loop_of(place.store, args.loop)
        version = deploy.version_by_name(place.store, loop_id, args.version)
        deploy.promote(
            place.store, loop_id, version.model_version_id, actor="command line", reason=args.reason, now=utcnow()
        )
    return Result(f"{version.name} is live.", {"live": version.name})


def rollback(args: argparse.Namespace) -> Result:
    """Make the version before the live one live again."""
    with opened(args) as place:
        loop_id = loop_of(place.store, args.loop)
        version = deploy.rollback(place.store, loop_id, actor="command line", reason=args.reason, now=utcnow())
    return Result(f"{version.name} is live again.", {"live": version.name})


def experiments(args: argparse.Namespace) -> Result:
    """Every experiment with its verdict as of now; one that is only planned has none yet."""
    with opened(args) as place:
        found = read_experiments(place.store, loop_of(place.store, args.loop)).to_dict("records")
        cards = {
            row["experiment_id"]: experiment.analyze(place.store, row["experiment_id"])
            for row in found
            if row["status"] != PLANNED
        }
    lines = []
    for row in found:
        card = cards.get(row["experiment_id"])
        lines.append(f"{row['name']} ({row['status']}, {row['experiment_id']})")
        lines.append(f"  {card.sentence}" if card else "  Planned: it has not started, so nobody was served yet.")
    rows = [{**row, "scorecard": cards.get(row["experiment_id"])} for row in found]
    return Result("\n".join(lines) or "No experiments yet.", {"experiments": rows})


def decide(args: argparse.Namespace) -> Result:
    """Record a decision; ship also makes the treatment live."""
    with opened(args) as place:
        done = decide_and_apply(
            place.store,
            args.experiment,
            verdict=Verdict.KEEP_RUNNING if args.verdict == "hold" else Verdict(args.verdict),
            note=args.note,
            actor=args.by,
            treatment=args.treatment,
            now=utcnow(),
        )
    return Result(done.sentence, done._asdict())


def vitals(args: argparse.Namespace) -> Result:
    """The loop's vital signs, and what needs a person."""
    with opened(args) as place:
        loop_id = loop_of(place.store, args.loop)
        found = observe.vitals(place.store, loop_id, utcnow())
        needs = observe.needs_you(place.store, loop_id, utcnow())
    lines = [f"{name.replace('_', ' '):<32} {_said(value)}" for name, value in found._asdict().items()]
    lines += [
        "",
        "Needs you:" if needs else "Nothing needs you.",
        *(f"- {need.title}: {need.detail}" for need in needs),
    ]
    return Result("\n".join(lines), {"vitals": found, "needs_you": needs})


def _said(value: Any) -> str:
    return "not known yet" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def loop_of(store: Store, name: str | None) -> str:
    """The loop of this name; without a name the only one there is, else the demo's."""
    known = list(read_loops(store)["name"])
    return loop_id_of(store, name or (known[0] if len(known) == 1 else DEMO_LOOP))
