"""`organism train` and `organism recipes`: a fine-tune by a recipe's preset, foreseen, queued or waited for."""

import argparse
import json
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from organism.cli.commands import Place, loop_of, opened
from organism.cli.output import ProgressLine, Result
from organism.config import utcnow
from organism.errors import InputError
from organism.launch import Asked, asked_for, foresee, launch, look, readiness
from organism.optimize.catalog import PRESET_TITLES, RECIPES
from organism.optimize.flow import Supervisor, TrainingRun, read_run, wait_for_run
from organism.optimize.run_reading import outcome_of, recipes_as_data
from organism.optimize.seen import TokenPreview
from organism.records import Preset, Recipe, RunStatus
from organism.store.model_versions import read_version


def add_to(leaf: argparse.ArgumentParser) -> None:
    """The arguments of `organism train`."""
    leaf.add_argument("--loop", help="the loop to train (default: the demo's)")
    leaf.add_argument("--recipe", default=str(Recipe.SFT), help=f"one of: {', '.join(RECIPES)} (default: sft)")
    leaf.add_argument("--preset", default=str(Preset.SOLID), help=f"one of: {', '.join(Preset)} (default: solid)")
    leaf.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting other than the preset's; repeatable"
    )
    leaf.add_argument("--dataset", metavar="ID", help="a frozen training set (default: one is frozen now)")
    leaf.add_argument("--design", metavar="REF", help="the reward design, as in `organism reward` (default: live)")
    leaf.add_argument("--name", help="what to call the run; no two in a loop share a name")
    leaf.add_argument(
        "--on", metavar="PLACE", help="local, local:2 or ray://HOST:PORT (default: RAY_ADDRESS, or local)"
    )
    leaf.add_argument("--rows", type=int, help="rows to train on (default: the preset's)")
    leaf.add_argument("--epochs", type=int, help="passes over the rows; short for --set epochs=N")
    leaf.add_argument("--seed", type=int, help="short for --set seed=N")
    leaf.add_argument("--wait", action="store_true", help="train here and now, and wait until it has ended")
    leaf.add_argument(
        "--estimate", action="store_true", help="say how long it would take and what memory; start nothing"
    )
    leaf.add_argument("--preview", action="store_true", help="show rows as the model would see them; start nothing")
    leaf.add_argument("--check", action="store_true", help="say whether there is enough to learn from; start nothing")


def train(args: argparse.Namespace) -> Result:
    """Queue a fine-tune, or with --wait see it through; with --estimate or --check only say what it would be."""
    progress = ProgressLine()
    with opened(args) as place:
        loop_id = loop_of(place.store, args.loop)
        asked = asked_for(place.store, loop_id, _request(args))
        if args.check:
            return _checked(place, loop_id, asked)
        if args.preview:
            seen = look(
                place.store, place.workspace, loop_id, asked.recipe, asked.preset, **asked.terms(), now=utcnow()
            )
            return Result("\n".join(_seen(seen)), seen._asdict())
        if args.estimate:
            found = foresee(place.store, place.workspace, loop_id, asked.recipe, asked.preset, **asked.terms())
            return Result(found.sentence, found._asdict())
        run_id = launch(
            place.store, place.workspace, loop_id, asked.recipe, asked.preset, **asked.terms(), name=asked.name,
            place=asked.place, now=utcnow(), on_progress=lambda share, text: progress("dataset", share, text),
        ).run_id  # fmt: skip
        return see_through(place, run_id, wait=args.wait, progress=progress)


def see_through(place: Place, run_id: str, *, wait: bool, progress: ProgressLine | None = None) -> Result:
    """The outcome of a queued run, now or when it has ended; exit code 1 when it ended otherwise than done."""
    if not wait:
        text = (
            f"Queued as {run_id}. It starts when `organism serve` is at work on this workspace; "
            f"or see it through here: organism run resume {run_id} --wait"
        )
        return Result(text, outcome_of(place.store, place.workspace, read_run(place.store, run_id)))
    say = progress or ProgressLine()
    with Supervisor(place.store, place.workspace):
        run = wait_for_run(place.store, run_id, lambda share, text: say("optimize", share, text))
    outcome = outcome_of(place.store, place.workspace, run)
    if run.status is RunStatus.DONE:
        return Result(_done(place, run, outcome), outcome)
    sentence = f"run {run_id} ended as {run.status}: {run.message}"
    return Result(f"{sentence}. See: organism run log {run_id}", {**outcome, "error": sentence}, 1)


def changes_of(words: Sequence[str]) -> dict[str, Any]:
    """Settings from NAME=VALUE words; a value is JSON where it can be, else the word itself."""
    changes = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            raise InputError(f"--set {word} names no value; write it as NAME=VALUE, for example epochs=4")
        try:
            changes[name.strip()] = json.loads(value)
        except ValueError:
            changes[name.strip()] = value
    return changes


def recipes(args: argparse.Namespace) -> Result:
    """Every recipe: what it does, what it learns from, its presets and knobs."""
    lines = []
    for card in RECIPES.values():
        knobs = ", ".join(knob.name for knob in card.knobs)
        sizes = ", ".join(
            f"{PRESET_TITLES[preset].lower()} {sizing.max_rows}" for preset, sizing in card.presets.items()
        )
        lines += [f"{card.recipe:<13} {card.title}. {card.sentence}", f"{'':<13} Learns from {card.learns_from}."]
        lines += [f"{'':<13} Rows by preset: {sizes}. Knobs: {knobs or 'none'}."]
    return Result("\n".join(lines), {"recipes": recipes_as_data()})


def _request(args: argparse.Namespace) -> dict[str, Any]:
    short = {name: getattr(args, name) for name in ("epochs", "seed") if getattr(args, name) is not None}
    return {
        "recipe": args.recipe,
        "preset": args.preset,
        "config": short | changes_of(args.set),
        "dataset_id": args.dataset,
        "design": args.design,
        "max_rows": args.rows,
        "name": args.name,
        "place": args.on,
    }


def _checked(place: Place, loop_id: str, asked: Asked) -> Result:
    terms = {name: getattr(asked, name) for name in ("changes", "design", "max_rows")}
    found = readiness(place.store, loop_id, asked.recipe, asked.preset, **terms)
    counts = (
        f"{found.n_train:,} rows of {found.n_users_train:,} users to train on, {found.n_heldout:,} of "
        f"{found.n_users_heldout:,} others to judge by."
    )
    verdict = "That is enough to start." if found.objection is None else f"It cannot start: {found.objection}"
    return Result(f"{counts}\n{verdict}", found._asdict(), 0 if found.objection is None else 2)


def _seen(found: TokenPreview) -> list[str]:
    """Counts, then row by row what is only read (|) and what is learned (>)."""
    dropped = "; ".join(f"{count} {reason}" for reason, count in found.dropped.items()) or "none"
    lines = [f"{found.n_usable} of {found.n_rows} rows can be learned from. Left out: {dropped}."]
    for row in found.rows:
        why = f", left out: {row.reason}" if row.reason else ""
        lines += ["", f"row {row.row}, {row.part}: {row.n_tokens} tokens, {row.n_learned} of them learned{why}"]
        for is_learned, run in groupby(zip(row.is_learned, row.tokens, strict=True), key=itemgetter(0)):
            text = "".join(token for _, token in run).rstrip("\n")
            lines += [f"{'>' if is_learned else '|'} {line}" for line in text.split("\n")]
    return lines


def _done(place: Place, run: TrainingRun, outcome: dict[str, Any]) -> str:
    version = None if run.model_version_id is None else read_version(place.store, run.model_version_id).name
    figures = outcome["evaluation"] or {}
    parts = [f"{version or run.run_id} is ready after {run.seconds or 0:.0f} s of work."]
    if figures.get("after") is not None:
        low, high = figures["gain_ci"] or (None, None)
        interval = "" if low is None else f" (gain {figures['gain']:+.3f}, 95% from {low:+.3f} to {high:+.3f})"
        parts.append(f"Retained characters {figures['before']:.3f} before, {figures['after']:.3f} after{interval}.")
    if figures.get("facts_after") is not None:
        parts.append(f"Facts right {figures['facts_before']:.1%} before, {figures['facts_after']:.1%} after.")
    if version is not None:
        parts.append(f"Make it live with: organism promote {version} --reason '…'")
    return " ".join(parts)
