"""`organism dataset …`: frozen training sets."""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from organism.cli.commands import loop_of, opened
from organism.cli.output import ProgressLine, Result, table
from organism.config import utcnow
from organism.digest.composition import Composition
from organism.digest.designs_flow import LIVE, find_design
from organism.digest.set_files import FileForm
from organism.digest.set_reading import FrozenSet, describe, export, list_sets
from organism.digest.training_set_flow import Preview, TrainingSet, freeze, preview
from organism.digest.training_sets import HASHED
from organism.digest.training_settings import ANSWERS, Basis, SetSettings, least_in_words, settings_from
from organism.errors import InputError
from organism.records import DatasetKind

LEAST_DEFAULT = "default: none; sft by reward: the median of the drafts scored"


def add_to(command: Any) -> None:
    """The members of the group."""
    command("list", list_datasets, "frozen training sets, the newest first")
    _build_arguments(command("build", build_dataset, "freeze a training set from answers or rewards"))
    leaf = command("show", show_dataset, "what a training set is made of, what was dropped and what leaked")
    leaf.add_argument("dataset", metavar="ID", help="its id or hash, or the beginning of one")
    leaf.add_argument("--examples", type=int, default=3, help="rows of each side to show (default: 3)")
    leaf = command("export", export_dataset, "write a training set to a file, in TRL's columns")
    leaf.add_argument("dataset", metavar="ID", help="its id or hash, or the beginning of one")
    leaf.add_argument(
        "--format", default=FileForm.JSONL, choices=[str(form) for form in FileForm], help="default: jsonl"
    )
    leaf.add_argument("--out", required=True, metavar="FILE", help="the file to write; one that is there is replaced")
    leaf.add_argument("--split", choices=("train", "heldout"), help="only this side (default: both)")


def _build_arguments(leaf: argparse.ArgumentParser) -> None:
    usual = SetSettings()
    leaf.add_argument(
        "--kind", default=usual.kind, choices=[str(kind) for kind in DatasetKind], help="what a row is (default: sft)"
    )
    leaf.add_argument(
        "--basis",
        default=usual.basis,
        choices=[str(basis) for basis in Basis],
        help="whose word counts (default: expert)",
    )
    leaf.add_argument("--design", default=LIVE, metavar="REF", help="live, a preset, a version, a name or an id")
    leaf.add_argument("--name", help="how to call the set")
    leaf.add_argument("--since", metavar="DATE", help="answers from this time on (UTC)")
    leaf.add_argument("--until", metavar="DATE", help="answers before this time (UTC)")
    for flag, field, what in (
        ("--variant", "variants", "only drafts of this variant; repeatable"),
        ("--answer", "answers", f"only this kind of answer ({', '.join(ANSWERS)}); repeatable"),
        ("--region", "regions", "only drafts of this region; repeatable"),
    ):
        leaf.add_argument(flag, action="append", dest=field, metavar=field[:-1].upper(), help=what)
    for flag, what in (
        ("--min-reward", f"only drafts that earned at least this, 0 to 1 ({LEAST_DEFAULT})"),
        ("--margin", f"pairs by reward: how far apart (default: {usual.margin})"),
        ("--threshold", f"labels by reward: desirable above, undesirable below (default: {usual.threshold})"),
        ("--dead-band", f"labels by reward: left out around the threshold (default: {usual.dead_band})"),
        ("--heldout-share", f"share of users to judge by (default: {usual.heldout_share})"),
        ("--near", f"share of word runs from which a prompt leaks (default: {usual.near})"),
    ):
        leaf.add_argument(flag, type=float, help=what)
    for flag, what in (
        (
            "--max-rows",
            f"rows to train on, the newest first; sft by reward: best rewarded first (default: {usual.max_rows})",
        ),
        ("--max-heldout-rows", f"rows to judge by (default: {usual.max_heldout_rows})"),
        ("--max-rows-per-user", "rows of one user (default: all)"),
        ("--seed", "order of the training rows (default: 0)"),
    ):
        leaf.add_argument(flag, type=int, help=what)
    leaf.add_argument("--preview", action="store_true", help="count what would be kept and dropped; freeze nothing")


_SETTINGS = tuple(SetSettings.__dataclass_fields__)


def build_dataset(args: argparse.Namespace) -> Result:
    """Freeze a set, or with --preview count what it would hold."""
    settings = settings_from({name: getattr(args, name) for name in _SETTINGS})
    progress = ProgressLine()
    with opened(args) as place:
        loop_id = loop_of(place.store, args.loop)
        design = find_design(place.store, loop_id, args.design)
        if args.preview:
            seen = preview(place.store, loop_id, settings, design=design)
            return Result(_previewed(seen, settings), seen._asdict())
        done = freeze(
            place.store,
            loop_id,
            settings,
            design=design,
            name=args.name,
            now=utcnow(),
            on_progress=lambda share, text: progress("dataset", share, text),
        )
    return Result(_built(done, settings), done._asdict())


def list_datasets(args: argparse.Namespace) -> Result:
    """Every set with its size."""
    with opened(args) as place:
        found = list_sets(place.store, loop_of(place.store, args.loop))
    columns = {"dataset_id": "set", "name": "name", "kind": "kind", "n_train": "train", "n_heldout": "held out"}
    shown = table(pd.DataFrame(found, columns=FrozenSet._fields), columns, "No set was frozen yet.")
    return Result(shown, {"datasets": found})


def show_dataset(args: argparse.Namespace) -> Result:
    """One set: where its rows come from, what was dropped, some of its rows."""
    if args.examples < 0:
        raise InputError(f"--examples {args.examples} shows nothing; give 0 or more")
    with opened(args) as place:
        found = describe(place.store, loop_of(place.store, args.loop), args.dataset, n_examples=args.examples)
    header, parts = found.header, found.composition
    lines = [
        f"{header.name} ({header.kind}), frozen {header.created_at:%Y-%m-%d %H:%M} UTC as {header.content_hash[:12]}",
        f"{HASHED}.",
        _sizes(header),
        *filter(None, [least_in_words(header.least_reward, (header.settings or {}).get("min_reward"))]),
        _drops(header.dropped),
        _leaks(header.leakage["n_leaking"] if header.leakage else None),
        *(f"\n{name}:\n{rows.to_string(index=False)}" for name, rows in _tables(parts) if len(rows)),
    ]
    return Result("\n".join(lines), header._asdict() | {"composition": parts, "examples": found.examples})


def export_dataset(args: argparse.Namespace) -> Result:
    """One set as a file."""
    out = Path(args.out)
    with opened(args) as place:
        content = export(place.store, loop_of(place.store, args.loop), args.dataset, form=args.format, split=args.split)
    try:
        out.write_bytes(content)
    except OSError as error:
        raise InputError(
            f"{out} could not be written: {error.strerror}; give a file in a folder that is there"
        ) from error
    return Result(f"Wrote {out} ({len(content) / 1e6:.1f} MB).", {"file": str(out), "bytes": len(content)})


def _built(done: TrainingSet, settings: SetSettings) -> str:
    return "\n".join([f"Frozen as {done.dataset_id} ({done.content_hash[:12]}).", _kept_and_lost(done, settings)])


def _previewed(seen: Preview, settings: SetSettings) -> str:
    verdict = "Nothing was frozen." if seen.objection is None else f"It cannot be frozen: {seen.objection}"
    return "\n".join([f"{seen.n_candidates:,} drafts were looked at.", _kept_and_lost(seen, settings), verdict])


def _kept_and_lost(found: TrainingSet | Preview, settings: SetSettings) -> str:
    lines = [_sizes(found), _drops(found.dropped), _leaks(found.n_leaking)]
    if least := least_in_words(found.least_reward, settings.min_reward):
        lines.insert(1, least)
    return "\n".join(lines)


def _sizes(found: FrozenSet | TrainingSet | Preview) -> str:
    return (
        f"{found.n_train:,} rows of {found.n_users_train:,} users to train on, {found.n_heldout:,} of "
        f"{found.n_users_heldout:,} others to judge by."
    )


def _drops(dropped: dict[str, int]) -> str:
    return "Dropped: " + ("; ".join(f"{count:,} {reason}" for reason, count in dropped.items()) or "nothing") + "."


def _leaks(n_leaking: int | None) -> str:
    if n_leaking is None:
        return "Leakage was not looked for when this set was frozen."
    return f"Near duplicates of held-out prompts, dropped from the training rows: {n_leaking:,}."


def _tables(parts: Composition) -> list[tuple[str, pd.DataFrame]]:
    tables = {name: rows for name, rows in parts._asdict().items() if isinstance(rows, pd.DataFrame)}
    return [(name, rows.head(10) if name == "users" else rows) for name, rows in tables.items()]
