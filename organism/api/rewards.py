"""Reward designs, and rewards by variant."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import JSONResponse, Response

from organism.api.access import TOML, KeyRequired, StoreOf
from organism.api.parts import LoopOf
from organism.config import utcnow
from organism.digest.design_diff import diff
from organism.digest.design_files import Form, document, to_toml
from organism.digest.designs import check_groups, group_weights, moved
from organism.digest.designs_flow import find_design, list_designs, read_text
from organism.digest.flow import live_design, reward_moments, save_design, what_if
from organism.digest.rewards import rewards_by_variant
from organism.errors import InputError
from organism.records import RewardDesign
from organism.wire import plain

router = APIRouter(tags=["digest"], dependencies=[KeyRequired])

Weight = Annotated[float | None, Query(ge=0, description="Weight of the group; the live design's when left out")]
_DESIGN = {
    "type": "object",
    "description": "A whole design (name, note, author, signals, constraints), or only price, performance and quality: "
    "other weights for the groups of the live design.",
    "properties": {
        "name": {"type": "string"},
        "note": {"type": "string", "description": "One sentence: what should get better. Wanted to save."},
        "author": {"type": "string"},
        "signals": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["signal", "weight", "worst", "best"],
                "properties": {
                    "signal": {"type": "string"},
                    "weight": {"type": "number", "minimum": 0},
                    "worst": {"type": "number"},
                    "best": {"type": "number"},
                    "missing": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
                },
            },
        },
        "constraints": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["signal"],
                "properties": {
                    "signal": {"type": "string"},
                    "at_least": {"type": ["number", "null"]},
                    "at_most": {"type": ["number", "null"]},
                },
            },
        },
        **{group: {"type": "number", "minimum": 0} for group in ("price", "performance", "quality")},
    },
}
TAKES_DESIGN: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _DESIGN},
            TOML: {"schema": {"type": "string", "description": "What GET /reward-designs/{ref}?format=toml gives."}},
        },
    }
}


async def _body_of(request: Request) -> tuple[str, Form]:
    """The body as text, and how it is written; 422 when it is no UTF-8."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    try:
        return (await request.body()).decode(), Form.TOML if kind == TOML else Form.JSON
    except UnicodeDecodeError as error:
        raise InputError("the body is not UTF-8 text; send a design as JSON or TOML") from error


Body = Annotated[tuple[str, Form], Depends(_body_of)]


def _draft_of(store: StoreOf, loop: LoopOf, body: Body) -> RewardDesign:
    return read_text(store, loop, *body, "the body")


Draft = Annotated[RewardDesign, Depends(_draft_of)]


@router.get("/reward-designs", summary="List the saved reward designs, the live one, and the presets")
def designs(store: StoreOf, loop: LoopOf) -> JSONResponse:
    """The live design, every saved version with the newest first, and presets between the loop's own anchors."""
    return JSONResponse(plain(list_designs(store, loop)))


@router.get("/reward-designs/{ref}", summary="Get one design as JSON or TOML")
def show(store: StoreOf, loop: LoopOf, ref: str, format: Form = Form.JSON) -> Response:
    """`ref`: live, price, performance, quality, balanced, a version (3 or v3), a saved name, an id or its beginning."""
    design = find_design(store, loop, ref)
    if format is Form.TOML:
        return Response(to_toml(design), media_type=TOML)
    return JSONResponse(document(design))


@router.get("/reward-designs/{ref}/diff/{other}", summary="Ask what changes from one design to another")
def difference(store: StoreOf, loop: LoopOf, ref: str, other: str) -> JSONResponse:
    """A line a change, in words; empty when both are the same recipe."""
    before, after = find_design(store, loop, ref), find_design(store, loop, other)
    return JSONResponse({"before": before.id, "after": after.id, "changes": diff(before, after)})


@router.post(
    "/reward-designs", status_code=201, summary="Save a design as the next version", openapi_extra=TAKES_DESIGN
)
def save(store: StoreOf, loop: LoopOf, draft: Draft) -> JSONResponse:
    """Saving makes it live. The live recipe again is no new version: 200 with that version instead of 201."""
    saved = save_design(store, loop, draft, now=utcnow())
    return JSONResponse(plain(saved), 201 if saved.is_new else 200)


@router.post("/rewards/what-if", summary="Try a design on the history without saving it", openapi_extra=TAKES_DESIGN)
def try_out(store: StoreOf, loop: LoopOf, draft: Draft, control: str | None = None) -> JSONResponse:
    """Rewards by variant, differences from the control, the nearest flip, coverage, guardrails and warnings."""
    return JSONResponse(plain(what_if(store, loop, draft, control=control)))


@router.get("/rewards", summary="Ask what each variant earns under these weights")
def rewards(
    store: StoreOf, loop: LoopOf, price: Weight = None, performance: Weight = None, quality: Weight = None
) -> JSONResponse:
    """Mean reward by variant with a user-clustered interval; weights that are left out are the live design's."""
    live = live_design(store, loop)
    given = (("price", price), ("performance", performance), ("quality", quality))
    asked = {group: weight for group, weight in given if weight is not None}
    check_groups(live, asked)
    design = moved(live, **{**group_weights(live), **asked})
    found = rewards_by_variant(reward_moments(store, loop, design.signals), design)
    shown = {"reward_design_id": design.id, "name": design.name, "weights": group_weights(design), **design.spec()}
    return JSONResponse({"design": shown, "variants": plain(found)})
