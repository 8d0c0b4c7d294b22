"""Improvement tracks side by side: start a sweep, read what its tracks measured, send one to an experiment."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from organism.config import Workspace
from organism.deploy.flow import FACTS_MARGIN, facts_objection, live_version, read_version, version_by_name
from organism.digest.designs_flow import find_design
from organism.digest.training_set_flow import freeze, preview
from organism.digest.training_settings import SetSettings, settings_from
from organism.errors import DesignError, OrganismError
from organism.experiment.flow import start_experiment
from organism.launch import set_settings
from organism.optimize.catalog import RECIPES, configured
from organism.optimize.flow import LOCAL, LONGEST_NAME, read_run, start_run, stop_run
from organism.optimize.runs import FINISHED
from organism.optimize.sweep_choice import NOT_STARTED, Quality, choose
from organism.optimize.sweeps import LIVE, SweepPlan, Track, labels, tracks_of
from organism.records import Interval, RewardDesign, RunStatus, new_id
from organism.stats.bootstrap import ratios_bootstrap
from organism.store.database import Store
from organism.store.loops import read_loops
from organism.store.sweeps import (
    Sweep,
    append_sweep,
    note_tracks,
    read_sweep,
    read_sweep_rows,
    read_sweep_runs,
    read_sweeps,
    remove_sweep,
)

__all__ = [
    "Planned",
    "preview_sweep",
    "read_sweep",
    "read_sweep_results",
    "read_sweeps",
    "send_to_experiment",
    "start_sweep",
    "stop_sweep",
    "wait_for_sweep",
]

OnProgress = Callable[[float, str], None]
BASE_LABEL = "base"
RESULTS = (
    "run_id label recipe design cut seed status message version model_version_id quality quality_low quality_high "
    "gain gain_low gain_high written_low written_high facts_before facts_after tokens tokens_low tokens_high "
    "latency_ms latency_ms_low latency_ms_high seconds cost_usd on_front to_experiment why"
).split()


class Planned(NamedTuple):
    """One track before its start: how many rows it would learn from, and why it cannot start; None when it can."""

    label: str
    recipe: str
    design: str | None
    cut: str
    seed: int
    n_train: int | None
    n_heldout: int | None
    objection: str | None


def preview_sweep(store: Store, loop_id: str, plan: SweepPlan) -> list[Planned]:
    """Every track of the plan, and whether its rows would do if it were started now; nothing is written.

    Raises InputError or DesignError for a plan that cannot work at all.
    """
    designs = _designs(store, loop_id, plan)
    seen: dict[str, tuple[int | None, int | None, str | None]] = {}
    found = []
    for track, label in _labeled(plan):
        key = f"{RECIPES[track.recipe].kind} {RECIPES[track.recipe].basis} {track.design} {track.cut}"
        if key not in seen:
            seen[key] = _readiness(store, loop_id, plan, track, designs)
        found.append(Planned(label, track.recipe, track.design, track.cut.title, track.seed, *seen[key]))
    return found


def start_sweep(
    store: Store,
    workspace: Workspace,
    loop_id: str,
    plan: SweepPlan,
    now: datetime,
    *,
    place: str = LOCAL,
    on_progress: OnProgress | None = None,
) -> str:
    """Freeze the sets, queue a run a track, all measured on the same held-out rows; returns the sweep's id.

    A track that cannot start is kept with the reason, and the others go on. Raises DesignError when none can start,
    when the name is taken, or for a plan that cannot work; what `freeze` raises when nothing could be measured.
    """
    designs = _designs(store, loop_id, plan)
    say = on_progress or _silent
    say(0.0, "Freezing what all tracks are measured on")
    judged = freeze(store, loop_id, _judging(plan), now=now).dataset_id
    sweep = Sweep(new_id(now), loop_id, plan.name.strip(), plan.spec(), [], now)
    append_sweep(store, sweep)
    started: list[dict[str, Any]] = []
    listed = _labeled(plan)
    for number, (track, label) in enumerate(listed):
        say(number / len(listed), f"Starting {label}")
        design = designs[track.design or LIVE]
        told = {
            "label": label,
            "recipe": str(track.recipe),
            "design": track.design,
            "design_id": design.id if track.design else None,
            "cut": track.cut.title,
            "seed": track.seed,
        }
        try:
            at = now + timedelta(milliseconds=number)  # they stand in line in the order of the plan
            run = _start(store, workspace, sweep, plan, track, design, judged, started, label, at, place)
            started.append({**told, **run, "why": None})
        except OrganismError as error:
            started.append({**told, "run_id": None, "dataset_id": None, "why": str(error)})
        note_tracks(store, sweep.sweep_id, sweep.plan, started)
    if not any(track["run_id"] for track in started):
        remove_sweep(store, sweep.sweep_id)
        raise DesignError(f"no track could start; the first: {started[0]['why']}")
    say(1.0, f"{sum(track['run_id'] is not None for track in started)} tracks wait for their turn")
    return sweep.sweep_id


def read_sweep_results(store: Store, sweep_id: str, quality: Quality = Quality.RETAINED) -> pd.DataFrame:
    """Each track with what it measured on the common held-out rows, and whether it should go to an experiment.

    Columns: run_id (None for the base and for tracks that were not started), label, recipe, design, cut, seed, status,
    message, version, model_version_id, then quality, tokens and latency_ms of one draft, each with _low and _high
    (95%, resampled by user; None where unknown), gain (of quality over the base), written_low and written_high (the
    change of the written share), facts_before, facts_after, seconds, cost_usd, on_front, to_experiment, why.
    The base comes first, once a track was measured.
    """
    sweep, runs = read_sweep(store, sweep_id), read_sweep_runs(store, sweep_id).set_index("run_id")
    measured = runs[runs["eval_run_id"].notna()]
    rows = {
        str(name): part for name, part in read_sweep_rows(store, list(measured["eval_run_id"])).groupby("eval_run_id")
    }
    found = []
    for track in sweep.tracks:
        run = runs.loc[track["run_id"]] if track["run_id"] in runs.index else None
        found.append(_result(track, run, rows, quality))
    if len(measured):
        first = measured.iloc[0]
        found.insert(0, _base(rows[str(first["eval_run_id"])], first["summary"], quality))
    frame = pd.DataFrame(found, columns=[name for name in RESULTS if name not in ("on_front", "to_experiment", "why")])
    objections = {
        str(run_id): facts_objection(str(run["version"]), run["summary"], FACTS_MARGIN)
        for run_id, run in measured.iterrows()
    }
    return choose(frame, objections, quality)[RESULTS]


def send_to_experiment(store: Store, loop_id: str, run_id: str, now: datetime, *, force: bool = False) -> str:
    """Start an experiment of a track's version against the live version, else the base; returns its id.

    Raises DesignError when the run left no version, when its track was judged 'No' (unless forced), or when the two
    are being compared already.
    """
    run = read_run(store, run_id)
    if run.loop_id != loop_id or run.model_version_id is None:
        raise DesignError(f"run {run_id} left no version of this loop to compare; wait until it is done")
    if run.sweep_id is not None and not force and (why := _against(store, run.sweep_id, run_id)):
        raise DesignError(f"this track was judged {why} To compare it all the same, force it")
    treatment = read_version(store, run.model_version_id)
    live = live_version(store, loop_id)
    control = live if live and live.model_version_id != treatment.model_version_id else None
    control = control or version_by_name(store, loop_id, BASE_LABEL)
    loops = read_loops(store).set_index("loop_id")
    return start_experiment(
        store,
        loop_id,
        name=f"{treatment.name} against {control.name}",
        control_version_id=control.model_version_id,
        treatment_version_id=treatment.model_version_id,
        hypothesis=f"People keep more of what {treatment.name} writes than of what {control.name} writes",
        is_synthetic=bool(loops.loc[loop_id, "is_synthetic"]),
        now=now,
    )


def _against(store: Store, sweep_id: str, run_id: str) -> str | None:
    """What speaks against an experiment of this track, by both readings of quality; None when one recommends it."""
    why = None
    for quality in Quality:
        found = read_sweep_results(store, sweep_id, quality).set_index("run_id").loc[run_id]
        if found["to_experiment"]:
            return None
        why = why or str(found["why"])
    return why


def stop_sweep(store: Store, workspace: Workspace, sweep_id: str) -> int:
    """Ask every unfinished run of a sweep to end; each keeps a checkpoint. Returns how many were asked."""
    runs = read_sweep_runs(store, sweep_id)
    waiting = [str(run_id) for run_id in runs["run_id"][~runs["status"].isin(FINISHED)]]
    for run_id in waiting:
        stop_run(store, workspace, run_id)
    return len(waiting)


def wait_for_sweep(store: Store, sweep_id: str, on_progress: OnProgress | None = None, poll: float = 0.5) -> None:
    """Wait until every run of a sweep has ended or was paused; a supervisor must be at work."""
    say = on_progress or _silent
    while True:
        runs = read_sweep_runs(store, sweep_id)
        ended = runs["status"].isin({*FINISHED, RunStatus.PAUSED})
        at_work = runs.loc[~ended & (runs["status"] != RunStatus.QUEUED), "message"]
        say(float(ended.mean()), f"{int(ended.sum())} of {len(runs)} tracks ended. {' '.join(at_work.dropna())}")
        if ended.all():
            return
        time.sleep(poll)


def _designs(store: Store, loop_id: str, plan: SweepPlan) -> dict[str, RewardDesign]:
    """The plan's designs by what they are called; the live one stands for those that no track looks at."""
    plan.check()
    return {name: find_design(store, loop_id, name) for name in dict.fromkeys((LIVE, *plan.designs))}


def _labeled(plan: SweepPlan) -> list[tuple[Track, str]]:
    tracks = tracks_of(plan)
    return list(zip(tracks, labels(tracks), strict=True))


def _settings(plan: SweepPlan, track: Track) -> SetSettings:
    """The training set of a track: what its recipe's preset asks for, cut to the track's part of the answers."""
    usual = set_settings(RECIPES[track.recipe], plan.preset).spec()
    return settings_from({**usual, **track.cut.settings})


def _judging(plan: SweepPlan) -> SetSettings:
    """The set on whose held-out side every track is measured. Users are held out by their key alone, whatever a
    track's own set is, so nobody here was trained on.
    """
    sizing = RECIPES[plan.recipes[0]].presets[plan.preset]
    return SetSettings(max_rows=sizing.max_rows, max_heldout_rows=sizing.max_heldout_rows)


def _readiness(
    store: Store, loop_id: str, plan: SweepPlan, track: Track, designs: Mapping[str, RewardDesign]
) -> tuple[int | None, int | None, str | None]:
    """Rows to learn from, rows to judge by, and what is short."""
    try:
        seen = preview(store, loop_id, _settings(plan, track), design=designs[track.design or LIVE])
    except OrganismError as error:
        return None, None, str(error)
    return seen.n_train, seen.n_heldout, seen.objection


def _start(
    store: Store,
    workspace: Workspace,
    sweep: Sweep,
    plan: SweepPlan,
    track: Track,
    design: RewardDesign,
    judged: str,
    started: list[dict[str, Any]],
    label: str,
    now: datetime,
    place: str,
) -> dict[str, str]:
    """Queue the run of one track; raises DesignError when an earlier track of the sweep is the same run."""
    learned = freeze(store, sweep.loop_id, _settings(plan, track), design=design, now=now).dataset_id
    for other in started:
        same = (str(track.recipe), learned, track.seed, design.id if track.design else None)
        if same == (other["recipe"], other["dataset_id"], other["seed"], other["design_id"]):
            raise DesignError(f"it would learn from the very rows of '{other['label']}' with the same settings")
    run_id = start_run(
        store,
        workspace,
        sweep.loop_id,
        learned,
        configured(track.recipe, plan.preset, {**plan.changes, "seed": track.seed}),
        recipe=track.recipe,
        preset=plan.preset,
        name=_name(sweep.name, label),
        eval_dataset_id=judged,
        design=design,
        sweep_id=sweep.sweep_id,
        place=place,
        now=now,
    )
    return {"run_id": run_id, "dataset_id": learned}


def _name(sweep: str, label: str) -> str | None:
    """What the run of a track is called; None where that would be too long for a name."""
    name = f"{sweep}: {label}"
    return name if len(name) <= LONGEST_NAME else None


def _result(
    track: Mapping[str, Any], run: pd.Series | None, rows: Mapping[str, pd.DataFrame], quality: Quality
) -> dict[str, Any]:
    """One track's row of the results, without what only the others can say of it."""
    row = {name: track[name] for name in ("run_id", "label", "recipe", "design", "cut", "seed")}
    if run is None:
        return {**row, "status": NOT_STARTED, "message": track["why"]}
    row |= {name: run[name] for name in ("status", "message", "version", "model_version_id", "seconds", "cost_usd")}
    summary = run["summary"]
    if run["eval_run_id"] not in rows or not isinstance(summary, dict):
        return row
    facts = {name: summary[name] for name in ("facts_before", "facts_after")}
    return {
        **row,
        **facts,
        **_changes(summary, quality),
        **_figures(rows[run["eval_run_id"]], summary, "after", quality),
    }


def _changes(summary: Mapping[str, Any], quality: Quality) -> dict[str, float | None]:
    """What the track gained over the base in quality, and how its written share changed."""
    written = summary["written_share_gain_ci"] or (None, None)
    if quality is Quality.RETAINED:
        gain, interval = summary["gain"], summary["gain_ci"] or (None, None)
    else:
        shares = [summary[f"written_share_{which}"] for which in ("before", "after")]
        gain, interval = None if None in shares else shares[1] - shares[0], written
    return {
        "gain": gain,
        "gain_low": interval[0],
        "gain_high": interval[1],
        "written_low": written[0],
        "written_high": written[1],
    }


def _base(rows: pd.DataFrame, summary: Mapping[str, Any], quality: Quality) -> dict[str, Any]:
    row = {"run_id": None, "label": BASE_LABEL, "status": str(RunStatus.DONE)}
    return {**row, **_figures(rows, summary, "before", quality)}


def _figures(rows: pd.DataFrame, summary: Mapping[str, Any], which: str, quality: Quality) -> dict[str, float | None]:
    """Quality, tokens and latency of a draft of the version `which` (before, after), with intervals by user."""
    measures = pd.DataFrame(list(rows["measures"]))
    ones = np.ones(len(measures))
    whole = measures[f"chars_{which}"] if quality is Quality.RETAINED else measures["final_chars"]
    ratios = {"quality": (measures[f"retained_{which}"], whole), "tokens": (measures[f"tokens_{which}"], ones)}
    users, rng = rows["user_key"].to_numpy(dtype=object), np.random.default_rng(0)
    pairs = [(num.to_numpy(dtype=float), np.asarray(den, dtype=float)) for num, den in ratios.values()]
    found = dict(zip(ratios, ratios_bootstrap(pairs, users, rng=rng), strict=True))
    ends = summary.get(f"latency_ms_{which}_ci") or (None, None)
    found["latency_ms"] = Interval(summary.get(f"latency_ms_{which}"), *ends)
    return {
        f"{name}{end}": value
        for name, interval in found.items()
        for end, value in zip(("", "_low", "_high"), interval, strict=True)
    }


def _silent(share: float, text: str) -> None:
    """Progress that nobody watches."""
