"""Choices between pairs, the next pair to ask, and the weights that the choices ask for."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import LoopOf
from organism.config import utcnow
from organism.digest.choices import MAX_ACTOR, Answer, ChoiceKind, design_from
from organism.digest.choices_flow import blind, fit_choices, pair_for, record_choice, variant_strengths
from organism.digest.design_files import to_link
from organism.digest.designs_flow import find_design
from organism.errors import DesignError
from organism.store.choices import read_choices, read_voters
from organism.wire import plain

router = APIRouter(prefix="/choices", tags=["digest"], dependencies=[KeyRequired])

Kind = Annotated[ChoiceKind, Query(description="drafts, or variants by their profiles")]
Ref = Annotated[str, Query(description="Whose signals and anchors: live, a preset, a version, a name or an id")]
Actors = Annotated[list[str] | None, Query(description="Only these people's choices; repeat it for several")]


class NewChoice(BaseModel):
    """What was compared, what was better, and who says so."""

    left: str = Field(min_length=1, max_length=200)
    right: str = Field(min_length=1, max_length=200)
    chosen: Answer
    actor: str = Field(min_length=1, max_length=MAX_ACTOR)
    kind: ChoiceKind = ChoiceKind.DRAFTS
    is_synthetic: bool = False


@router.get("", summary="List the choices, and who made them")
def choices(store: StoreOf, loop: LoopOf, kind: ChoiceKind | None = None) -> JSONResponse:
    """Oldest first; `chosen` is left, right or skip."""
    return JSONResponse({"choices": plain(read_choices(store, loop, kind)), "voters": plain(read_voters(store, loop))})


@router.post("", status_code=201, summary="Record a choice")
def record(store: StoreOf, loop: LoopOf, body: NewChoice) -> JSONResponse:
    """Durable when this is answered; the answer also says which variants the two sides were."""
    return JSONResponse(plain(record_choice(store, loop, **body.model_dump(), now=utcnow())), 201)


@router.get("/next", summary="Ask for the pair that would teach most")
def next_to_judge(
    store: StoreOf,
    loop: LoopOf,
    actor: Annotated[str, Query(min_length=1, max_length=MAX_ACTOR, description="Who will choose")],
    kind: Kind = ChoiceKind.DRAFTS,
    design: Ref = "live",
) -> JSONResponse:
    """Both sides without the names of their variants, or null when this person has seen every pair."""
    found = pair_for(store, loop, find_design(store, loop, design), actor=actor, kind=kind)
    return JSONResponse({"pair": plain(blind(found))})


@router.get("/weights", summary="Ask which weights the choices ask for")
def weights(
    store: StoreOf, loop: LoopOf, kind: Kind = ChoiceKind.DRAFTS, design: Ref = "live", actor: Actors = None
) -> JSONResponse:
    """Fitted weights beside the design's own, and Bradley-Terry strengths of the variants.

    `draft` is a design with these weights, unsaved, or null when none is positive; `link` is the part after
    `?draft=` that opens it in the reward designer.
    """
    base = find_design(store, loop, design)
    fit = fit_choices(store, loop, base, kind=kind, actors=actor)
    try:
        draft = design_from(fit, base)
    except DesignError:
        draft = None
    return JSONResponse(
        {
            **plain(fit),
            "strengths": plain(variant_strengths(store, loop, actors=actor)),
            "draft": draft and {"name": draft.name, "note": draft.note, **draft.spec()},
            "link": draft and to_link(draft),
        }
    )
