"""Signals: what a reward can be made of, and a team's own in SQL."""

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import LoopOf
from organism.config import utcnow
from organism.digest.signals_flow import define_signal, list_signals, remove_signal
from organism.wire import plain

router = APIRouter(tags=["digest"], dependencies=[KeyRequired])


class NewSignal(BaseModel):
    """A name, and one SQL expression over interaction.X, feedback.X and the built-in signals."""

    name: str = Field(max_length=200)
    expression: str = Field(max_length=10_000)
    note: str = Field(default="", max_length=2000)
    author: str = Field(default="", max_length=200)


@router.get("/signals", summary="List the signals that a reward can be made of")
def signals(store: StoreOf, loop: LoopOf) -> JSONResponse:
    """Built-in ones, outcomes, annotators' answers and SQL signals, with how many interactions carry each."""
    return JSONResponse({"signals": plain(list_signals(store, loop))})


@router.post("/signals", status_code=201, summary="Define a signal in SQL")
def define(store: StoreOf, loop: LoopOf, body: NewSignal) -> JSONResponse:
    """The expression is checked and tried on a sample first; 422 says what to mend."""
    found = define_signal(store, loop, body.name, body.expression, note=body.note, author=body.author, now=utcnow())
    return JSONResponse(plain(found), 201)


@router.delete("/signals/{name}", summary="Stop measuring a SQL signal")
def remove(store: StoreOf, loop: LoopOf, name: str) -> JSONResponse:
    """Its name stays on record; a design that weighs it is refused from now on, with a sentence."""
    return JSONResponse(plain(remove_signal(store, loop, name, utcnow())))
