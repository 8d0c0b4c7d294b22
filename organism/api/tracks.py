"""Improvement tracks: recipes by reward designs by data cuts, started and read as one."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import LoopOf, PartsOf
from organism.config import utcnow
from organism.errors import InputError
from organism.optimize.sweep_choice import Quality
from organism.optimize.sweeps import plan_from
from organism.tracks import (
    preview_sweep,
    read_sweep,
    read_sweep_results,
    read_sweeps,
    send_to_experiment,
    start_sweep,
    stop_sweep,
)
from organism.wire import plain

router = APIRouter(tags=["optimize"], dependencies=[KeyRequired])


@router.get("/tracks", summary="List the improvement tracks")
def sweeps(store: StoreOf, loop: LoopOf) -> JSONResponse:
    """Newest first: how many runs each has, how many are done, how many could not start."""
    return JSONResponse({"tracks": plain(read_sweeps(store, loop))})


@router.post("/tracks", status_code=201, summary="Start improvement tracks side by side")
def start(store: StoreOf, parts: PartsOf, loop: LoopOf, body: dict[str, Any]) -> JSONResponse:
    """The body: name, recipes, and, all optional, designs (live, presets, versions, names, ids), cuts (a list of
    max_rows, max_rows_per_user, since, until, min_reward, variants, answers, regions), seeds, preset (quick, solid,
    careful), changes (settings of every track); `preview: true` says what would start without starting it.
    """
    asked = dict(body)
    is_preview = asked.pop("preview", False)
    if not isinstance(is_preview, bool):
        raise InputError(f"preview is {is_preview!r}; give true to look only, or false to start")
    plan = plan_from(asked)
    if is_preview:
        return JSONResponse({"tracks": plain(preview_sweep(store, loop, plan))}, 200)
    sweep_id = start_sweep(store, parts.workspace, loop, plan, utcnow())
    return JSONResponse(plain(read_sweep(store, sweep_id)), 201)


@router.get("/tracks/{sweep_id}", summary="Ask how the tracks compare")
def results(
    store: StoreOf,
    sweep_id: str,
    quality: Annotated[Quality, Query(description="characters kept of what it writes, or of what experts needed")] = (
        Quality.RETAINED
    ),
) -> JSONResponse:
    """The plan, and each track's quality, tokens and latency with 95% intervals by user, all on the same held-out
    rows; on_front: no other track beats it in everything; to_experiment, and why in a sentence.
    """
    found = read_sweep_results(store, sweep_id, quality)
    return JSONResponse(plain({**read_sweep(store, sweep_id)._asdict(), "results": found}))


@router.post("/tracks/{sweep_id}/stop", summary="Stop every unfinished track")
def stop(store: StoreOf, parts: PartsOf, sweep_id: str) -> JSONResponse:
    """Each run keeps a checkpoint and can be resumed."""
    read_sweep(store, sweep_id)
    return JSONResponse({"sweep_id": sweep_id, "stopped": stop_sweep(store, parts.workspace, sweep_id)})


@router.post("/tracks/{sweep_id}/experiment", status_code=201, summary="Send one track to an experiment")
def experiment(store: StoreOf, sweep_id: str, body: dict[str, Any]) -> JSONResponse:
    """The body names the `run_id` of the track; it is compared with the live version, else with the base.

    A track that was judged No is refused with the reason, unless `force` is true.
    """
    sweep, run_id = read_sweep(store, sweep_id), body.get("run_id")
    if run_id is None or run_id not in [track["run_id"] for track in sweep.tracks]:
        raise InputError(f"run_id is {run_id!r}; give the run of one of these tracks, GET /v1/tracks/{sweep_id}")
    force = body.get("force", False)
    if not isinstance(force, bool):
        raise InputError(f"force is {force!r}; give true to start it even where the track was judged No, or false")
    return JSONResponse({"experiment_id": send_to_experiment(store, sweep.loop_id, run_id, utcnow(), force=force)}, 201)
