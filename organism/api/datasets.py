"""Training sets: frozen rows from answers."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import LoopOf
from organism.config import utcnow
from organism.digest.training_set_flow import build_training_set
from organism.store.datasets import read_datasets
from organism.wire import plain

router = APIRouter(tags=["digest"], dependencies=[KeyRequired])


@router.get("/datasets", summary="List the frozen training sets")
def datasets(store: StoreOf, loop: LoopOf) -> JSONResponse:
    """Newest first, with the hash of their rows and what was dropped."""
    return JSONResponse({"datasets": plain(read_datasets(store, loop))})


@router.post("/datasets", status_code=201, summary="Freeze a training set from the latest expert texts")
def build(store: StoreOf, loop: LoopOf, max_rows: Annotated[int, Query(ge=1, le=100_000)] = 400) -> JSONResponse:
    """Pairs of prompt and final text, split by user; the same answers give the same set."""
    return JSONResponse(plain(build_training_set(store, loop, max_rows=max_rows, now=utcnow())), 201)
