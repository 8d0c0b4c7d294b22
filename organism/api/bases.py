"""Base models: those that a fine-tune may grow from, and whether their files fit together."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import JSONResponse

from organism.api.access import KeyRequired
from organism.api.parts import Body, PartsOf
from organism.lm.base_models import BaseCheck, add_base, check_base, read_bases, uri_of
from organism.wire import plain

router = APIRouter(tags=["optimize"], dependencies=[KeyRequired])


class NewBase(Body):
    """A base to keep: its address, and what to call it."""

    uri: str = Field(min_length=1, max_length=1000)
    name: str | None = Field(default=None, max_length=64)


@router.get("/bases", summary="List the base models")
def bases(parts: PartsOf) -> JSONResponse:
    """The shipped one first."""
    return JSONResponse({"bases": plain(read_bases(parts.workspace))})


@router.get("/bases/check", summary="Check a base's tokenizer, chat template, weights and card")
def check(parts: PartsOf, uri: Annotated[str, Query(description="An address, or a known name")]) -> JSONResponse:
    """`problems` keep it from being trained, `warnings` do not; nothing is fetched from anywhere."""
    return JSONResponse(_said(check_base(parts.workspace, uri_of(parts.workspace, uri))))


@router.post("/bases", status_code=201, summary="Keep a base model under a name")
def add(parts: PartsOf, asked: NewBase) -> JSONResponse:
    """Refused when it cannot be trained or cannot draft."""
    return JSONResponse(_said(add_base(parts.workspace, asked.uri, asked.name)), 201)


def _said(found: BaseCheck) -> dict[str, object]:
    return {**plain(found), "is_usable": found.is_usable}
