"""What a router or policy would have earned: an estimate about choices that were not made."""

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import LoopOf
from organism.digest.designs_flow import find_design
from organism.digest.off_policy_flow import off_policy
from organism.digest.policies import FORMS
from organism.wire import plain

router = APIRouter(tags=["digest"], dependencies=[KeyRequired])


class Asked(BaseModel):
    """The policy in words, and the design that says what it earns."""

    policy: str = Field(min_length=1, max_length=2000, description=FORMS, examples=["region:north=scribe-1,*=base"])
    design: str = Field(default="live", max_length=200, description="live, a preset, a version, a name or an id")
    seed: int = Field(default=0, ge=0, description="Seed of the resampling")


@router.post("/rewards/off-policy", summary="Ask what a policy would have earned")
def preview(store: StoreOf, loop: LoopOf, body: Asked) -> JSONResponse:
    """IPS, SNIPS, DM and DR with intervals by user; `refusal` says why there is only the model's guess."""
    design = find_design(store, loop, body.design)
    return JSONResponse(plain(off_policy(store, loop, design, body.policy, seed=body.seed)))
