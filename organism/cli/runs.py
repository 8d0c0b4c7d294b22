"""`organism runs` and `organism run …`: what is in line, at work or done, and what people do to it."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from organism.cli.commands import Place, loop_of, opened
from organism.cli.output import Result, table
from organism.cli.train import changes_of, see_through
from organism.config import utcnow, workspace
from organism.deploy.export import export_version
from organism.errors import DesignError, InputError
from organism.optimize.controls import log_tail
from organism.optimize.estimate import in_words
from organism.optimize.flow import (
    RunSettings,
    clone_run,
    pause_run,
    read_run,
    read_run_settings,
    read_runs,
    resume_run,
    retry_run,
    set_cap,
    set_price,
    stop_run,
)
from organism.optimize.run_reading import describe_run
from organism.records import RunStatus
from organism.store.model_versions import read_version
from organism.store.training_runs import TrainingRun, find_run

RUN_HELP = "its name or id, or an unmistakable beginning or end of the id"


def add_to(command: Any) -> None:
    """The members of the group."""

    def member(name: str, run: Callable[[argparse.Namespace], Result], text: str) -> argparse.ArgumentParser:
        leaf: argparse.ArgumentParser = command(name, run, text)
        leaf.add_argument("run_ref", metavar="RUN", help=RUN_HELP)
        return leaf

    member("show", show, "how a run stands: progress, cost, evaluation, the end of its log")
    member("log", log, "the end of what a run's process printed").add_argument(
        "--lines", type=int, default=40, help="how many lines (default: 40)"
    )
    member("stop", stop, "end a run; it keeps a checkpoint and can be resumed")
    member("pause", pause, "take a run out of line, or let it save a checkpoint and make room; resume goes on")
    _may_wait(member("resume", resume, "go on from the last checkpoint"))
    leaf = member("clone", clone, "start the same run on the same rows with some settings changed")
    leaf.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a changed setting; repeatable")
    leaf.add_argument("--name", help="what to call the clone (default: the run's name with a number)")
    _may_wait(leaf)
    _may_wait(member("retry", retry, "start a run that has ended anew, from its first step"))
    leaf = member("export", export, "write what a run made as a folder: weights, adapter, card, training set")
    leaf.add_argument("--to", required=True, metavar="DIR", help="a folder that does not exist yet")
    leaf = command("cap", cap, "how many runs train on this machine at once, or change that")
    leaf.add_argument("max_runs", nargs="?", type=int, metavar="N", help="from now on so many")
    leaf = command("price", price, "what an hour of this machine costs, or change that; runs then tell their cost")
    leaf.add_argument("usd_per_hour", nargs="?", type=float, metavar="USD", help="from now on so much")


def _may_wait(leaf: argparse.ArgumentParser) -> None:
    leaf.add_argument("--wait", action="store_true", help="train here and now, and wait until it has ended")


def runs(args: argparse.Namespace) -> Result:
    """Training runs, newest first."""
    with opened(args) as place:
        found = read_runs(place.store, loop_of(place.store, args.loop))
    columns = {
        "run_id": "run",
        "name": "name",
        "recipe": "recipe",
        "status": "status",
        "step": "step",
        "total_steps": "of",
        "loss": "loss",
        "seconds": "seconds",
        "cost_usd": "usd",
        "version_name": "version",
        "message": "message",
    }
    shown = found.astype({"step": "Int64", "total_steps": "Int64"})
    for column in ("name", "version_name"):
        shown[column] = shown[column].astype(object).where(shown[column].notna(), "-")
    return Result(table(shown, columns, "No runs yet: try organism train."), {"runs": found})


def show(args: argparse.Namespace) -> Result:
    """All of one run."""
    with opened(args) as place:
        found = describe_run(place.store, place.workspace, _run(place, args).run_id)
    return Result("\n".join(_told(found)), found)


def log(args: argparse.Namespace) -> Result:
    """The last lines of a run's log."""
    if args.lines < 1:
        raise InputError(f"--lines {args.lines} shows nothing; give 1 or more")
    with opened(args) as place:
        run_id = _run(place, args).run_id
        lines = log_tail(place.workspace, run_id, args.lines)
    return Result("\n".join(lines) or "Its process has printed nothing.", {"run_id": run_id, "log": lines})


def stop(args: argparse.Namespace) -> Result:
    """Ask a run to end."""
    with opened(args) as place:
        run_id = _run(place, args).run_id
        was = stop_run(place.store, place.workspace, run_id)
        now = read_run(place.store, run_id).status
    ended = now in (RunStatus.DONE, RunStatus.FAILED, RunStatus.INTERRUPTED) or was is RunStatus.STOPPED
    text = f"It had ended already: {was}." if ended else "It is stopped." if now is RunStatus.STOPPED else _ASKED
    return Result(text, {"run_id": run_id, "status": now})


_ASKED = "It was asked to; it saves a checkpoint and ends within seconds."


def pause(args: argparse.Namespace) -> Result:
    """Ask a run to make room."""
    with opened(args) as place:
        run_id = _run(place, args).run_id
        pause_run(place.store, place.workspace, run_id)
        now = read_run(place.store, run_id).status
    return Result("It is paused." if now is RunStatus.PAUSED else _ASKED, {"run_id": run_id, "status": now})


def resume(args: argparse.Namespace) -> Result:
    """Put a run in line again, or see it through; one that waits in line already is only seen through."""
    with opened(args) as place:
        run = _run(place, args)
        if not (args.wait and run.status in (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.EVALUATING)):
            resume_run(place.store, place.workspace, run.run_id, now=utcnow())
        return see_through(place, run.run_id, wait=args.wait)


def clone(args: argparse.Namespace) -> Result:
    """The same rows, other settings."""
    changes = changes_of(args.set)
    with opened(args) as place:
        run_id = _run(place, args).run_id
        made = clone_run(place.store, place.workspace, run_id, changes, name=args.name, now=utcnow())
        return see_through(place, made, wait=args.wait)


def retry(args: argparse.Namespace) -> Result:
    """The same rows and settings, from the first step."""
    with opened(args) as place:
        made = retry_run(place.store, place.workspace, _run(place, args).run_id, now=utcnow())
        return see_through(place, made, wait=args.wait)


def export(args: argparse.Namespace) -> Result:
    """The folder that transformers and vLLM load, with its card and what it learned from."""
    with opened(args) as place:
        run = _run(place, args)
        if run.model_version_id is None:
            raise DesignError(f"run {run.run_id} is {run.status} and has made no version; export one that is done")
        version = read_version(place.store, run.model_version_id)
        done = export_version(place.store, place.workspace, version, Path(args.to).resolve())
    size = sum(file["bytes"] for file in done.files) / 1e6
    checked = f"; {done.n_equal} of {done.n_checked} drafts by its weights alone are equal" if done.n_checked else ""
    text = f"{version.name} is in {done.folder}: {len(done.files) + 2} files, {size:,.1f} MB{checked}."
    return Result(text, {"version": version.name, **done._asdict(), "folder": str(done.folder)})


def cap(args: argparse.Namespace) -> Result:
    """The cap; works while a server holds the workspace."""
    place = workspace(args.workspace)
    return _settings(read_run_settings(place) if args.max_runs is None else set_cap(place, args.max_runs))


def price(args: argparse.Namespace) -> Result:
    """The price; works while a server holds the workspace."""
    place = workspace(args.workspace)
    return _settings(read_run_settings(place) if args.usd_per_hour is None else set_price(place, args.usd_per_hour))


def _settings(settings: RunSettings) -> Result:
    runs_at_once = "one run" if settings.max_runs == 1 else f"{settings.max_runs} runs"
    cost = "no price is stated" if settings.usd_per_hour is None else f"an hour costs ${settings.usd_per_hour:g}"
    return Result(f"At most {runs_at_once} at once; {cost}.", settings._asdict())


def _run(place: Place, args: argparse.Namespace) -> TrainingRun:
    return find_run(place.store, loop_of(place.store, args.loop), args.run_ref)


def _told(found: dict[str, Any]) -> list[str]:
    """A run in lines: who it is, where it stands, what it cost, what came of it, the end of its log."""
    name = f" '{found['name']}'" if found["name"] else ""
    lines = [
        f"{found['run_id']}{name}: {found['recipe']}{', ' + found['preset'] if found['preset'] else ''}",
        f"{found['status']}: {found['message'] or ''}",
    ]
    steps: pd.DataFrame = found["progress"]
    if len(steps):
        last = steps.iloc[-1]
        speed = f"{last['tokens_per_second']:,.0f} tokens/s"
        lines.append(
            f"step {last['step']} of {last['total']}, loss {last['loss']:.4f}, {speed}, {last['memory_mb']:,.0f} MB"
        )
    spent = [in_words(found["seconds"])] if found["seconds"] else []
    spent += [f"{in_words(found['seconds_left'])} of training left"] if found["seconds_left"] else []
    spent += [f"${found['cost_usd']:.4f}"] if found["cost_usd"] is not None else []
    lines += [", ".join(spent)] if spent else []
    lines += [f"  {name:<28} {value}" for name, value in (found["evaluation"] or {}).items() if _is_figure(value)]
    return lines + (["log:", *(f"  {line}" for line in found["log"][-10:])] if found["log"] else [])


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float | str)
