"""Model versions and the alias that makes one live."""

import shutil
from pathlib import Path
from tempfile import mkdtemp

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import LoopOf, PartsOf
from organism.config import utcnow
from organism.deploy.export import export_version, facts_of
from organism.deploy.flow import live_version, promote, rollback, version_by_name
from organism.deploy.model_cards import written_card
from organism.store.model_versions import read_alias_events, read_versions
from organism.wire import plain

router = APIRouter(tags=["deploy"], dependencies=[KeyRequired])


class Move(BaseModel):
    """Who moves the alias, and why."""

    actor: str = Field(min_length=1, max_length=200)
    reason: str = Field(min_length=1, max_length=2000)


@router.get("/models", summary="List the model versions with their lineage")
def models(store: StoreOf, loop: LoopOf) -> JSONResponse:
    """Newest first, the live one's name, and every move of the alias."""
    live = live_version(store, loop)
    return JSONResponse(
        {
            "live": live.name if live else None,
            "versions": plain(read_versions(store, loop)),
            "alias_events": plain(read_alias_events(store, loop)),
        }
    )


@router.post("/models/{name}/promote", summary="Make a version live")
def make_live(store: StoreOf, loop: LoopOf, name: str, move: Move) -> JSONResponse:
    """Refused with 422 when its facts got worse than the margin, or were never measured."""
    version = version_by_name(store, loop, name)
    moved = promote(store, loop, version.model_version_id, actor=move.actor, reason=move.reason, now=utcnow())
    return JSONResponse(plain(moved))


@router.post("/models/rollback", summary="Make the version before the live one live again")
def go_back(store: StoreOf, loop: LoopOf, move: Move) -> JSONResponse:
    """One more event; nothing is erased."""
    return JSONResponse({"live": rollback(store, loop, actor=move.actor, reason=move.reason, now=utcnow()).name})


@router.get("/models/{name}/card", summary="Read a version's card, written from the facts")
def card(store: StoreOf, parts: PartsOf, loop: LoopOf, name: str) -> PlainTextResponse:
    """Markdown: lineage, training, figures with their intervals, limits."""
    facts = facts_of(store, parts.workspace, version_by_name(store, loop, name))
    return PlainTextResponse(written_card(facts), media_type="text/markdown")


@router.get("/models/{name}/export", summary="Download a version: weights, adapter, tokenizer, card, training set")
def download(store: StoreOf, parts: PartsOf, loop: LoopOf, name: str) -> FileResponse:
    """A zip of the folder that transformers and vLLM load; `organism run export` writes the same one."""
    version = version_by_name(store, loop, name)
    draft = Path(mkdtemp(prefix="organism-export-"))
    try:
        export_version(store, parts.workspace, version, draft / version.name)
        packed = shutil.make_archive(str(draft / version.name), "zip", draft, version.name)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    away = BackgroundTask(shutil.rmtree, draft, ignore_errors=True)
    return FileResponse(packed, media_type="application/zip", filename=f"{version.name}.zip", background=away)
