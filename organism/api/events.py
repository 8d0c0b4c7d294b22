"""Events in, and what became of them: interactions, feedback, outcomes, sources, quarantine, health."""

import asyncio
import json
from concurrent.futures import Future
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, TypeAdapter
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from organism import __version__
from organism.api.access import KeyRequired, StoreOf, store_of
from organism.config import utcnow
from organism.ingest.flow import Ingested, ingest_json, retry_quarantined, retry_waiting
from organism.ingest.schemas import SHAPES
from organism.records import EventKind
from organism.store.loops import read_loops
from organism.store.quarantine import count_waiting, read_quarantine
from organism.store.sources import count_events, source_summary
from organism.wire import plain

router = APIRouter(tags=["events"])


class Receipt(BaseModel):
    """What became of the rows: ids stand in their order, null for a quarantined one."""

    accepted: int
    duplicates: int
    quarantined: int
    ids: list[str | None]
    reasons: list[str]


class Refusal(BaseModel):
    """Why not, and how to mend it."""

    error: str


class Health(BaseModel):
    """That the store answers, with its rows and its data versions by table."""

    status: str
    version: str
    rows: dict[str, int]
    data_versions: dict[str, int]


_REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": Refusal, "description": said}
    for code, said in {
        401: "No key, or a wrong one",
        413: "The body is too large",
        415: "The body is not application/json",
        422: "No row could go in",
        503: "The store cannot be written",
    }.items()
}


def _body(kind: EventKind) -> dict[str, Any]:
    row = TypeAdapter(SHAPES[kind]).json_schema()
    either = {"oneOf": [row, {"type": "array", "items": row}]}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": either}}}}


async def _take(kind: EventKind, request: Request, loop: str | None, source: str | None) -> JSONResponse:
    """One trip to another thread, for all that may take long; the wait for the disk holds none."""
    body = await request.body()

    def hand_in() -> Future[Ingested]:
        return ingest_json(store_of(request), kind, body, now=utcnow(), loop=loop, source=source)

    return _receipt(await asyncio.wrap_future(await run_in_threadpool(hand_in)))


def _receipt(done: Ingested) -> JSONResponse:
    """202 when anything went in or was here already, 422 when every row was refused."""
    if done.quarantined and not done.accepted + done.duplicates:
        return JSONResponse({"error": "; ".join(done.reasons[:3]), **done._asdict()}, 422)
    return JSONResponse(done._asdict(), 202)


def _add_event_route(kind: EventKind, summary: str) -> None:
    async def take(request: Request, loop: str | None = None, source: str | None = None) -> JSONResponse:
        return await _take(kind, request, loop, source)

    router.add_api_route(
        f"/{kind}",
        take,
        methods=["POST"],
        status_code=202,
        summary=summary,
        name=f"send_{kind}",
        dependencies=[KeyRequired],
        responses={202: {"model": Receipt, "description": "Durable"}, **_REFUSALS},
        openapi_extra=_body(kind),
        description="One object or an array of them. `loop` and `source` in the query stand in for rows that name "
        "none. A row that cannot go in waits in quarantine; the others go in. Sending a row twice is sending it once.",
    )


_add_event_route(EventKind.INTERACTIONS, "Send what was asked and what a model wrote")
_add_event_route(EventKind.FEEDBACK, "Send how a draft was answered")
_add_event_route(EventKind.OUTCOMES, "Send what came of it later")


@router.get("/health", response_model=Health, summary="Ask whether the store answers")
def health(store: StoreOf) -> JSONResponse:
    """Runs a real query over every event table."""
    rows = count_events(store)
    versions = {name: store.version(name) for name in rows}
    return JSONResponse({"status": "ok", "version": __version__, "rows": rows, "data_versions": versions})


@router.get("/loops", dependencies=[KeyRequired], summary="List the loops")
def loops(store: StoreOf) -> JSONResponse:
    """Every loop with how much it has."""
    return JSONResponse({"loops": plain(read_loops(store))})


@router.get("/sources", dependencies=[KeyRequired], summary="Ask who sends what, and how fresh it is")
def sources(store: StoreOf) -> JSONResponse:
    """One entry per source and kind."""
    return JSONResponse({"sources": plain(source_summary(store, utcnow()))})


@router.get("/quarantine", dependencies=[KeyRequired], summary="List the rows that could not go in")
def quarantine(store: StoreOf, limit: int = 100, mended: bool = False) -> JSONResponse:
    """Newest first, each as it came, with the reason; `mended=true` lists also those that went in later."""
    rows = read_quarantine(store, open_only=not mended, limit=max(1, min(limit, 10_000)))
    listed = [{**row, "row": json.loads(row["row"])} for row in plain(rows)]
    return JSONResponse({"waiting": count_waiting(store), "rows": listed})


@router.post("/quarantine/retry", dependencies=[KeyRequired], summary="Send every waiting row again")
def retry_all(store: StoreOf) -> JSONResponse:
    """What a late interaction mended goes in; the rest stays."""
    return JSONResponse(retry_waiting(store, now=utcnow())._asdict())


@router.post("/quarantine/{quarantine_id}/retry", dependencies=[KeyRequired], summary="Mend one row and send it again")
def retry(store: StoreOf, quarantine_id: str, patch: dict[str, Any] | None = None) -> JSONResponse:
    """The body is the fields to change; null takes one out."""
    return _receipt(retry_quarantined(store, quarantine_id, patch, now=utcnow()))
