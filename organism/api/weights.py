"""What moving a weight would do: who wins where, and what the reward would grow."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import LoopOf
from organism.api.rewards import TAKES_DESIGN, Draft
from organism.digest.growth_flow import preview_growth
from organism.digest.weight_flow import map_weights
from organism.wire import plain

router = APIRouter(tags=["digest"], dependencies=[KeyRequired])

Steps = Annotated[int, Query(ge=1, le=100, description="Steps along a side of the map; 24 give 325 mixes")]


@router.post("/rewards/map", summary="Ask who wins at which weights", openapi_extra=TAKES_DESIGN)
def weights(store: StoreOf, loop: LoopOf, draft: Draft, steps: Steps = 24) -> JSONResponse:
    """The winner, every flip and every edge of a clear lead with the nearest first, what the reward's variance is
    made of, which variants are beaten in everything, the drafts whose place changes most from the live design, and the
    winner at each mix of price, performance and quality.
    """
    return JSONResponse(plain(map_weights(store, loop, draft, steps=steps)))


@router.post("/rewards/growth", summary="Ask what a design would grow", openapi_extra=TAKES_DESIGN)
def growth(store: StoreOf, loop: LoopOf, draft: Draft) -> JSONResponse:
    """Best of the drafts that were sampled for the same prompts, before and after, along each group's weight, and
    whether there is a cliff where the model would rather stop writing.
    """
    return JSONResponse(plain(preview_growth(store, loop, draft)))
