"""Training runs: recipes, start, estimate, follow, pause, stop, resume, clone, try again."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import LoopOf, PartsOf
from organism.config import utcnow
from organism.errors import InputError
from organism.launch import asked_for, foresee, launch, look, readiness
from organism.optimize.flow import (
    clone_run,
    pause_run,
    read_run_settings,
    read_runs,
    resume_run,
    retry_run,
    set_cap,
    set_price,
    stop_run,
)
from organism.optimize.run_reading import describe_run, recipes_as_data
from organism.wire import plain

router = APIRouter(tags=["optimize"], dependencies=[KeyRequired])
Body = dict[str, Any] | None


@router.get("/recipes", summary="List the recipes: what each learns from, its presets and knobs")
def recipes() -> JSONResponse:
    """A knob has its usual value, its bounds and the choices that a page offers."""
    return JSONResponse({"recipes": plain(recipes_as_data())})


@router.get("/runs", summary="List the training runs")
def runs(store: StoreOf, loop: LoopOf) -> JSONResponse:
    """Newest first."""
    return JSONResponse({"runs": plain(read_runs(store, loop))})


@router.post("/runs", status_code=201, summary="Start a fine-tune")
def start(store: StoreOf, parts: PartsOf, loop: LoopOf, body: Body = None) -> JSONResponse:
    """Queued at once, started when its turn comes.

    The body, all of it optional: recipe (sft), preset (quick, solid, careful), config (settings that differ from the
    preset's), dataset_id (else a set is frozen now, as the recipe needs it), design (live, a preset, a version, a name
    or an id), max_rows, name, place (local, local:2, ray://HOST:PORT).
    """
    asked = asked_for(store, loop, body or {})
    launched = launch(
        store, parts.workspace, loop, asked.recipe, asked.preset,
        **asked.terms(), name=asked.name, place=asked.place, now=utcnow(),
    )  # fmt: skip
    return JSONResponse({**launched._asdict(), "status": "queued"}, 201)


@router.post("/runs/estimate", summary="Ask how long a run would take and what memory it needs")
def estimate(store: StoreOf, parts: PartsOf, loop: LoopOf, body: Body = None) -> JSONResponse:
    """Takes what POST /runs takes, and starts nothing. A range is null where nothing was measured."""
    asked = asked_for(store, loop, body or {})
    return JSONResponse(plain(foresee(store, parts.workspace, loop, asked.recipe, asked.preset, **asked.terms())))


@router.post("/runs/preview", summary="See exactly what the model would see")
def preview(
    store: StoreOf, parts: PartsOf, loop: LoopOf, body: Body = None, rows: Annotated[int, Query(ge=1, le=100)] = 5
) -> JSONResponse:
    """Takes what POST /runs takes; the first rows token by token, which of them are learned, and what is left out.

    Without a dataset_id the set that a start would freeze is frozen now. Takes some seconds.
    """
    asked = asked_for(store, loop, body or {})
    return JSONResponse(
        plain(look(store, parts.workspace, loop, asked.recipe, asked.preset, **asked.terms(), n=rows, now=utcnow()))
    )


@router.post("/runs/check", summary="Ask whether there is enough to learn from")
def check(store: StoreOf, loop: LoopOf, body: Body = None) -> JSONResponse:
    """Takes what POST /runs takes; counts the rows that the recipe would learn from, and says why it cannot.

    Settings that a start would refuse are refused here too.
    """
    asked = asked_for(store, loop, body or {})
    terms = {name: getattr(asked, name) for name in ("changes", "design", "max_rows")}
    found = readiness(store, loop, asked.recipe, asked.preset, **terms)
    return JSONResponse(plain(found))


@router.get("/runs/settings", summary="Ask how many runs train at once, and what an hour costs")
def settings(parts: PartsOf) -> JSONResponse:
    """usd_per_hour is null until somebody states a price; then every run has a cost."""
    return JSONResponse(plain(read_run_settings(parts.workspace)))


@router.post("/runs/settings", summary="Change how many runs train at once, or what an hour costs")
def change_settings(parts: PartsOf, body: dict[str, Any]) -> JSONResponse:
    """The body: max_runs, usd_per_hour, or both."""
    if unknown := sorted(set(body) - {"max_runs", "usd_per_hour"}):
        raise InputError(f"{unknown[0]!r} is no setting of the queue; there are: max_runs, usd_per_hour")
    if "max_runs" in body:
        set_cap(parts.workspace, body["max_runs"])
    if "usd_per_hour" in body:
        set_price(parts.workspace, body["usd_per_hour"])
    return JSONResponse(plain(read_run_settings(parts.workspace)))


@router.get("/runs/{run_id}", summary="Ask how a run stands")
def run(store: StoreOf, parts: PartsOf, run_id: str, log: Annotated[int, Query(ge=0, le=10_000)] = 40) -> JSONResponse:
    """Its state, every logged step, the last lines of its log, and the evaluation once there is one."""
    return JSONResponse(plain(describe_run(store, parts.workspace, run_id, n_log_lines=log)))


@router.post("/runs/{run_id}/stop", summary="Stop a run; it keeps a checkpoint")
def stop(store: StoreOf, parts: PartsOf, run_id: str) -> JSONResponse:
    """Answers with the state it was in; it ends within seconds."""
    return JSONResponse({"run_id": run_id, "status": stop_run(store, parts.workspace, run_id)})


@router.post("/runs/{run_id}/pause", summary="Pause a run; it makes room for others until it is resumed")
def pause(store: StoreOf, parts: PartsOf, run_id: str) -> JSONResponse:
    """Answers with the state it was in; it saves a checkpoint and leaves within seconds."""
    return JSONResponse({"run_id": run_id, "status": pause_run(store, parts.workspace, run_id)})


@router.post("/runs/{run_id}/resume", summary="Go on from the last checkpoint")
def resume(store: StoreOf, parts: PartsOf, run_id: str) -> JSONResponse:
    """Only for a run that was paused, was stopped, failed or was interrupted."""
    resume_run(store, parts.workspace, run_id, now=utcnow())
    return JSONResponse({"run_id": run_id, "status": "queued"})


@router.post("/runs/{run_id}/clone", status_code=201, summary="Start the same run with some settings changed")
def clone(store: StoreOf, parts: PartsOf, run_id: str, body: Body = None) -> JSONResponse:
    """The body: config (the settings that change) and name, both optional. The rows are the same."""
    asked = body or {}
    if unknown := sorted(set(asked) - {"config", "name"}):
        raise InputError(f"a clone has no field '{unknown[0]}'; known fields: config, name")
    changes, name = asked.get("config") or {}, asked.get("name")
    if not isinstance(changes, Mapping) or not isinstance(name, str | None):
        raise InputError(f"config is {changes!r} and name is {name!r}; give an object of settings and a word")
    made = clone_run(store, parts.workspace, run_id, changes, name=name, now=utcnow())
    return JSONResponse({"run_id": made, "parent_run_id": run_id, "status": "queued"}, 201)


@router.post("/runs/{run_id}/retry", status_code=201, summary="Start the same run anew from its first step")
def retry(store: StoreOf, parts: PartsOf, run_id: str) -> JSONResponse:
    """Only for a run that has ended; the old one is kept as it is."""
    made = retry_run(store, parts.workspace, run_id, now=utcnow())
    return JSONResponse({"run_id": made, "parent_run_id": run_id, "status": "queued"}, 201)
