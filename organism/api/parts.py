"""What the stages' routes share beside the store: the workspace, the draft server, the loop by its name."""

from collections.abc import Callable
from typing import Annotated, NamedTuple

from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict

from organism.api.access import StoreOf
from organism.config import DEMO_LOOP, Workspace
from organism.deploy.serving import DraftServer
from organism.store.loops import loop_id_of


class Body(BaseModel):
    """What a route takes; a field that it does not know is refused, so that a typing error is not silently left out."""

    model_config = ConfigDict(extra="forbid")


class Parts(NamedTuple):
    """The process's own parts, set once by the composition root."""

    workspace: Workspace
    get_drafts: Callable[[], DraftServer]


def parts_of(request: Request) -> Parts:
    """The parts of the process that answers."""
    return request.app.state.parts


def loop_of(store: StoreOf, loop: Annotated[str, Query(description="The loop's name")] = DEMO_LOOP) -> str:
    """The id of the loop that the query names; 422 with the known ones when there is none of that name."""
    return loop_id_of(store, loop)


PartsOf = Annotated[Parts, Depends(parts_of)]
LoopOf = Annotated[str, Depends(loop_of)]
