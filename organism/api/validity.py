"""Is this the right reward, and did a version earn its own by anything but being better?"""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import LoopOf
from organism.api.rewards import TAKES_DESIGN, Draft
from organism.digest.audit import AFTER_THE_FACT, RULES
from organism.digest.audit_checks import CHECKS
from organism.digest.designs_flow import LIVE, find_design
from organism.digest.validity_flow import audit_versions, check_validity
from organism.records import RewardDesign
from organism.wire import plain

router = APIRouter(tags=["digest"], dependencies=[KeyRequired])

Ref = Annotated[str, Query(description="live, a preset, a version (v3), a saved name, an id or its beginning")]
Variant = Annotated[str | None, Query(description="Only this variant; every one that replaced another when left out")]
Reference = Annotated[
    str | None, Query(description="What it is compared with: the live one, or the base for the live one, when left out")
]


@router.get("/rewards/validity", summary="Ask whether a saved design is the right reward")
def judge(store: StoreOf, loop: LoopOf, design: Ref = LIVE) -> JSONResponse:
    """The answer in a sentence, each outcome's word with rank correlations overall and within versions, calibration,
    how much of each experiment's effect the reward explains, and the rules behind the words.
    """
    return JSONResponse(plain(check_validity(store, loop, find_design(store, loop, design))))


@router.post("/rewards/validity", summary="Ask whether a draft is the right reward", openapi_extra=TAKES_DESIGN)
def judge_draft(store: StoreOf, loop: LoopOf, draft: Draft) -> JSONResponse:
    """The same for a design that need not be saved."""
    return JSONResponse(plain(check_validity(store, loop, draft)))


@router.get("/rewards/audit", summary="Audit what versions earned their reward by, after the fact")
def audit(
    store: StoreOf, loop: LoopOf, variant: Variant = None, reference: Reference = None, design: Ref = LIVE
) -> JSONResponse:
    """Each version's verdict (hack suspected, warning, clean, cannot say), its checks with figures, and the rules."""
    return _audited(store, loop, find_design(store, loop, design), variant, reference)


@router.post("/rewards/audit", summary="Audit versions under a draft, after the fact", openapi_extra=TAKES_DESIGN)
def audit_by_draft(
    store: StoreOf, loop: LoopOf, draft: Draft, variant: Variant = None, reference: Reference = None
) -> JSONResponse:
    """The same for a design that need not be saved: what would each version have earned this reward by?"""
    return _audited(store, loop, draft, variant, reference)


def _audited(
    store: StoreOf, loop: LoopOf, design: RewardDesign, variant: Variant, reference: Reference
) -> JSONResponse:
    found = audit_versions(store, loop, design, variant=variant, reference=reference)
    body: dict[str, Any] = {"design_id": design.id, "design": design.name, "what_it_is": AFTER_THE_FACT}
    return JSONResponse(plain({**body, "audits": found, "rules": RULES, "checks": CHECKS}))
