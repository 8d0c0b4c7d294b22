"""`organism tracks …`: recipes by reward designs by data cuts, side by side."""

import argparse
from typing import Any

from organism.cli.commands import Place, loop_of, opened
from organism.cli.output import ProgressLine, Result, table
from organism.config import utcnow
from organism.errors import InputError
from organism.optimize.flow import Supervisor
from organism.optimize.sweep_choice import Quality
from organism.optimize.sweeps import cut_from_words, plan_from, settings_from_words
from organism.records import Preset
from organism.tracks import (
    Planned,
    preview_sweep,
    read_sweep,
    read_sweep_results,
    read_sweeps,
    send_to_experiment,
    start_sweep,
    stop_sweep,
    wait_for_sweep,
)


def add_to(command: Any) -> None:
    """The members of the group."""
    command("list", list_tracks, "what was tried side by side, the newest first")
    _start_arguments(command("start", start, "start recipes by reward designs by data cuts, side by side"))
    leaf = command("show", show, "quality, tokens and latency of each track, and which should go to an experiment")
    leaf.add_argument("sweep", metavar="ID", help="their id")
    leaf.add_argument(
        "--quality", default=str(Quality.RETAINED), choices=[str(word) for word in Quality], help=_QUALITY
    )
    leaf = command("stop", stop, "stop every unfinished track; each keeps a checkpoint")
    leaf.add_argument("sweep", metavar="ID", help="their id")
    leaf = command("experiment", experiment, "send one track to an experiment against the live version")
    leaf.add_argument("run_id", metavar="RUN", help="the track's run")
    leaf.add_argument("--force", action="store_true", help="even where the track was judged No")


_QUALITY = "characters kept of what it writes (retained), or of what experts needed (written)"


def _start_arguments(leaf: argparse.ArgumentParser) -> None:
    leaf.add_argument("name", metavar="NAME", help="what to call them")
    leaf.add_argument(
        "--recipe", action="append", dest="recipes", required=True, metavar="RECIPE", help="a recipe; repeatable"
    )
    leaf.add_argument(
        "--design", action="append", dest="designs", metavar="REF", help="a reward design; repeatable (default: live)"
    )
    leaf.add_argument(
        "--cut",
        action="append",
        dest="cuts",
        metavar="SETTINGS",
        help="a part of the answers, such as max_rows=100,min_reward=0.6; repeatable (default: all)",
    )
    leaf.add_argument("--seeds", type=int, default=1, help="runs a track, each with its own seed (default: 1)")
    leaf.add_argument("--preset", default=str(Preset.QUICK), choices=[str(preset) for preset in Preset])
    leaf.add_argument(
        "--set", action="append", default=[], dest="changes", metavar="NAME=VALUE", help="a setting of every track"
    )
    leaf.add_argument("--preview", action="store_true", help="say what would start; start nothing")
    leaf.add_argument("--wait", action="store_true", help="train here, and come back with the results")


def list_tracks(args: argparse.Namespace) -> Result:
    """Every sweep and how far it is."""
    with opened(args) as place:
        found = read_sweeps(place.store, loop_of(place.store, args.loop))
    columns = {"sweep_id": "id", "name": "name", "n_runs": "runs", "n_done": "done", "n_active": "active"}
    return Result(table(found, columns, "No tracks yet: try organism tracks start."), {"tracks": found})


def start(args: argparse.Namespace) -> Result:
    """Start a sweep, or with --preview say what would start; with --wait train here and show the results."""
    if args.seeds < 1:
        raise InputError(f"--seeds {args.seeds} starts nothing; give 1 or more")
    plan = plan_from(
        {
            "name": args.name,
            "recipes": args.recipes,
            "designs": args.designs or ["live"],
            "cuts": [cut_from_words(words).settings for words in args.cuts or [""]],
            "seeds": list(range(args.seeds)),
            "preset": args.preset,
            "changes": settings_from_words(args.changes),
        }
    )
    progress = ProgressLine()
    with opened(args) as place:
        loop_id = loop_of(place.store, args.loop)
        if args.preview:
            planned = preview_sweep(place.store, loop_id, plan)
            return Result("\n".join(map(_planned, planned)), {"tracks": planned})
        sweep_id = start_sweep(
            place.store,
            place.workspace,
            loop_id,
            plan,
            utcnow(),
            on_progress=lambda share, text: progress("digest", share, text),
        )
        if not args.wait:
            return _queued(place, sweep_id)
        with Supervisor(place.store, place.workspace):
            wait_for_sweep(place.store, sweep_id, lambda share, text: progress("optimize", share, text))
        return _shown(place, sweep_id, Quality.RETAINED)


def show(args: argparse.Namespace) -> Result:
    """The results of one sweep."""
    with opened(args) as place:
        return _shown(place, args.sweep, Quality(args.quality))


def stop(args: argparse.Namespace) -> Result:
    """Stop what is unfinished."""
    with opened(args) as place:
        read_sweep(place.store, args.sweep)
        n = stop_sweep(place.store, place.workspace, args.sweep)
    return Result(f"Asked {n} runs to stop.", {"sweep_id": args.sweep, "stopped": n})


def experiment(args: argparse.Namespace) -> Result:
    """Start an experiment of one track's version."""
    with opened(args) as place:
        loop_id = loop_of(place.store, args.loop)
        experiment_id = send_to_experiment(place.store, loop_id, args.run_id, utcnow(), force=args.force)
    return Result(f"Experiment {experiment_id} is started.", {"experiment_id": experiment_id})


def _queued(place: Place, sweep_id: str) -> Result:
    sweep = read_sweep(place.store, sweep_id)
    lines = [f"{track['label']}: {track['run_id'] or 'not started, ' + track['why']}" for track in sweep.tracks]
    lines.append(f"They train when the app runs here: organism serve, then organism tracks show {sweep_id}.")
    return Result("\n".join(lines), sweep._asdict())


def _shown(place: Place, sweep_id: str, quality: Quality) -> Result:
    sweep, found = read_sweep(place.store, sweep_id), read_sweep_results(place.store, sweep_id, quality)
    figures = {"label": "track", "status": "status", "quality": "quality", "tokens": "tokens", "latency_ms": "ms"}
    shown = table(found.assign(**found[["quality", "tokens", "latency_ms"]].astype(float)), figures, "")
    reasons = [f"{label}: {why}" for label, why in zip(found["label"], found["why"], strict=True)]
    return Result("\n".join([sweep.name, shown, "", *reasons]), {**sweep._asdict(), "results": found})


def _planned(track: Planned) -> str:
    rows = "" if track.n_train is None else f" ({track.n_train} rows)"
    return f"{track.label}{rows}: {track.objection or 'would start'}"
