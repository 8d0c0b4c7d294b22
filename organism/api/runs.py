"""Training runs: start, follow, stop, resume."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import LoopOf, PartsOf
from organism.config import utcnow
from organism.digest.flow import live_design
from organism.digest.training_set_flow import build_training_set
from organism.optimize.flow import (
    SftConfig,
    TrainingRun,
    read_evaluation,
    read_progress,
    read_run,
    read_runs,
    resume_run,
    start_run,
    stop_run,
)
from organism.store.database import Store
from organism.wire import plain

router = APIRouter(tags=["optimize"], dependencies=[KeyRequired])


@router.get("/runs", summary="List the training runs")
def runs(store: StoreOf, loop: LoopOf) -> JSONResponse:
    """Newest first."""
    return JSONResponse({"runs": plain(read_runs(store, loop))})


@router.post("/runs", status_code=201, summary="Start a fine-tune")
def start(store: StoreOf, parts: PartsOf, loop: LoopOf, body: dict[str, Any] | None = None) -> JSONResponse:
    """The body may name a `dataset_id` (else one is frozen from the latest `max_rows` expert texts) and a `config`."""
    asked = body or {}
    dataset_id = asked.get("dataset_id")
    if dataset_id is None:
        dataset_id = build_training_set(store, loop, max_rows=int(asked.get("max_rows", 400)), now=utcnow()).dataset_id
    config = SftConfig.from_dict(asked.get("config", {}))
    design = live_design(store, loop)
    run_id = start_run(store, parts.workspace, loop, dataset_id, config, design=design, now=utcnow())
    return JSONResponse({"run_id": run_id, "dataset_id": dataset_id, "status": "queued"}, 201)


@router.get("/runs/{run_id}", summary="Ask how a run stands")
def run(store: StoreOf, parts: PartsOf, run_id: str) -> JSONResponse:
    """Its state, every logged step, and the evaluation once there is one."""
    found = read_run(store, run_id)
    steps = plain(read_progress(parts.workspace, run_id))
    return JSONResponse({**_plain_run(found), "progress": steps, "evaluation": _evaluation(store, found)})


@router.post("/runs/{run_id}/stop", summary="Stop a run; it keeps a checkpoint")
def stop(store: StoreOf, parts: PartsOf, run_id: str) -> JSONResponse:
    """Answers with the state it was in; it ends within seconds."""
    return JSONResponse({"run_id": run_id, "status": stop_run(store, parts.workspace, run_id)})


@router.post("/runs/{run_id}/resume", summary="Go on from the last checkpoint")
def resume(store: StoreOf, parts: PartsOf, run_id: str) -> JSONResponse:
    """Only for a run that was stopped, failed or was interrupted."""
    resume_run(store, parts.workspace, run_id, now=utcnow())
    return JSONResponse({"run_id": run_id, "status": "queued"})


def _evaluation(store: Store, found: TrainingRun) -> Any:
    return plain(read_evaluation(store, found.model_version_id)) if found.model_version_id else None


def _plain_run(found: TrainingRun) -> dict[str, Any]:
    return {name: plain(getattr(found, name)) for name in found.__slots__ if name not in ("pid", "pid_started_at")}
