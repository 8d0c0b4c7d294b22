"""Reward designs, and rewards by variant."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import LoopOf
from organism.config import utcnow
from organism.digest.designs import group_weights, weighted
from organism.digest.flow import live_design, reward_moments, save_design
from organism.digest.rewards import rewards_by_variant
from organism.records import RewardDesign
from organism.store.reward_designs import read_designs
from organism.wire import plain

router = APIRouter(tags=["digest"], dependencies=[KeyRequired])

Weight = Annotated[float | None, Query(ge=0, description="Weight of the group; the live design's when left out")]


@router.get("/reward-designs", summary="List the saved reward designs, and the live one")
def designs(store: StoreOf, loop: LoopOf) -> JSONResponse:
    """The live design's weights by group, and every saved version."""
    live = live_design(store, loop)
    return JSONResponse({"live": _design(live), "saved": plain(read_designs(store, loop))})


@router.post("/reward-designs", status_code=201, summary="Save new weights as the next version")
def save(store: StoreOf, loop: LoopOf, body: dict[str, Any]) -> JSONResponse:
    """The body: price, performance, quality (weights >= 0), name, note, author."""
    current = live_design(store, loop)
    groups = group_weights(current)
    design = weighted(current, **{name: float(body.get(name, weight)) for name, weight in groups.items()})
    named = RewardDesign(
        name=str(body.get("name", current.name)),
        signals=design.signals,
        note=str(body.get("note", "")),
        author=str(body.get("author", "")),
    )
    return JSONResponse(plain(save_design(store, loop, named, now=utcnow())), 201)


@router.get("/rewards", summary="Ask what each variant earns under these weights")
def rewards(
    store: StoreOf, loop: LoopOf, price: Weight = None, performance: Weight = None, quality: Weight = None
) -> JSONResponse:
    """Mean reward by variant with a user-clustered interval; weights that are left out are the live design's."""
    live = live_design(store, loop)
    asked = {"price": price, "performance": performance, "quality": quality}
    groups = {name: weight if asked[name] is None else asked[name] for name, weight in group_weights(live).items()}
    design = weighted(live, **groups)  # type: ignore[arg-type]
    found = rewards_by_variant(reward_moments(store, loop, design.signals), design)
    return JSONResponse({"design": _design(design), "variants": plain(found)})


def _design(design: RewardDesign) -> dict[str, Any]:
    return {"reward_design_id": design.id, "name": design.name, "weights": group_weights(design), **design.spec()}
