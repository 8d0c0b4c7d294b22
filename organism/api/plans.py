"""Plans of experiments: what they ask for, drafts, the start that freezes one, and changes in the open."""

from typing import Any

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import JSONResponse

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import Body, LoopOf
from organism.config import utcnow
from organism.experiment.plan import plan_from
from organism.experiment.plan_flow import (
    Proposal,
    change_plan,
    check_proposal,
    drop_plan,
    metric_names,
    plan_changes,
    plan_experiment,
    proposal_of,
    revise_plan,
    size_plan,
    start_planned,
    variants_of,
)
from organism.experiment.thompson import Policy
from organism.store.database import Store
from organism.store.experiments import Experiment, read_experiment, read_experiments
from organism.store.plans import read_plan_versions
from organism.wire import plain

router = APIRouter(tags=["experiment"], dependencies=[KeyRequired])
MAX_VARIANTS = 50


class NewVariant(Body):
    """One variant: a version of the loop by its name, under an instruction perhaps, or a system served outside."""

    name: str = Field(min_length=1, max_length=200)
    share: float | None = Field(default=None, gt=0, lt=1)
    version: str | None = Field(default=None, max_length=200)
    prompt: str | None = Field(default=None, max_length=8000)
    is_outside: bool = False


class NewGuard(Body):
    """How much worse a metric may get: a share of the control's value, or an amount in its own unit."""

    metric: str
    margin: float = Field(allow_inf_nan=False)
    is_relative: bool = True


class PlanFields(Body):
    """What is agreed before the first user; what is left out is as by default, or as it was."""

    primary: list[str] | None = None
    guardrails: list[NewGuard] | None = None
    watched: list[str] | None = None
    covariates: list[str] | None = None
    segments: list[str] | None = None
    reward_design_id: str | None = None
    minimum_effect: float | None = Field(default=None, allow_inf_nan=False)
    alpha: float | None = None
    power: float | None = None
    min_users_per_arm: int | None = None
    n_users: int | None = None

    def given(self) -> dict[str, Any]:
        """The fields that were sent."""
        return self.model_dump(exclude_none=True)


class NewPlan(Body):
    """An experiment as somebody wants it. The first variant is the control, unless `control` names another one."""

    name: str = Field(default="", max_length=200)
    hypothesis: str = Field(default="", max_length=2000)
    variants: list[NewVariant] = Field(max_length=MAX_VARIANTS)
    control: str = ""
    plan: PlanFields = PlanFields()
    policy: Policy = Policy.HASH
    layer: str | None = Field(default=None, max_length=200)
    layer_low: float | None = Field(default=None, allow_inf_nan=False)
    layer_high: float | None = Field(default=None, allow_inf_nan=False)
    targeting: dict[str, Any] = Field(default_factory=dict)
    actor: str = Field(default="", max_length=200)


class Start(Body):
    """Who starts it."""

    actor: str = Field(default="", max_length=200)


class NewChange(Body):
    """Fields of a running plan with their new values, who changes them, and why."""

    plan: PlanFields
    actor: str = Field(min_length=1, max_length=200)
    why: str = Field(min_length=1, max_length=2000)


@router.get("/plans", summary="List drafts, running and decided experiments, and the metrics a plan can name")
def plans(store: StoreOf, loop: LoopOf) -> JSONResponse:
    """Newest first; a draft has the status planned, and no start."""
    return JSONResponse({"plans": plain(read_experiments(store, loop)), "metrics": metric_names(store, loop)})


@router.post("/plans/size", summary="Ask how many users and days a plan would take")
def size(store: StoreOf, loop: LoopOf, body: NewPlan) -> JSONResponse:
    """From this loop's own traffic and variances; nothing is kept."""
    proposal = check_proposal(store, loop, _proposal(store, loop, body))
    return JSONResponse({"sizing": plain(size_plan(store, loop, proposal, utcnow()))})


@router.post("/plans", status_code=201, summary="Keep a draft of an experiment")
def create(store: StoreOf, loop: LoopOf, body: NewPlan) -> JSONResponse:
    """Nobody is assigned before it is started. Answers its id, and what it asks for."""
    kept = plan_experiment(store, loop, _proposal(store, loop, body), actor=body.actor, now=utcnow())
    return JSONResponse(plain(kept), 201)


@router.get("/plans/{experiment_id}", summary="Read a plan, what it asks for, and its versions")
def read(store: StoreOf, experiment_id: str) -> JSONResponse:
    """`changes` says in words what was changed after the start, by whom and why."""
    experiment = read_experiment(store, experiment_id)
    found = {
        "experiment": _plain(experiment),
        "sizing": size_plan(store, experiment.loop_id, proposal_of(experiment), utcnow()),
        "versions": read_plan_versions(store, experiment_id),
        "changes": plan_changes(store, experiment_id),
    }
    return JSONResponse(plain(found))


@router.put("/plans/{experiment_id}", summary="Put a draft anew")
def rewrite(store: StoreOf, experiment_id: str, body: NewPlan) -> JSONResponse:
    """In place of itself; 422 once it has started."""
    loop_id = read_experiment(store, experiment_id).loop_id
    kept = revise_plan(store, experiment_id, _proposal(store, loop_id, body), actor=body.actor, now=utcnow())
    return JSONResponse(plain(kept))


@router.delete("/plans/{experiment_id}", summary="Take a draft away")
def drop(store: StoreOf, experiment_id: str) -> JSONResponse:
    """What was started stays on record: 422."""
    return JSONResponse({"dropped": experiment_id, "name": drop_plan(store, experiment_id)})


@router.post("/plans/{experiment_id}/start", summary="Freeze a draft's plan and start it")
def start(store: StoreOf, experiment_id: str, body: Start) -> JSONResponse:
    """The plan is frozen with the users that it is sized for, and the reward that it means."""
    kept = start_planned(store, experiment_id, actor=body.actor, now=utcnow())
    experiment = read_experiment(store, experiment_id)
    return JSONResponse(plain({**kept._asdict(), "plan": experiment.plan, "plan_version": experiment.plan_version}))


@router.post("/plans/{experiment_id}/changes", status_code=201, summary="Change a running experiment's plan")
def change(store: StoreOf, experiment_id: str, body: NewChange) -> JSONResponse:
    """A new version; what could bend a verdict (the primary metric, alpha, …) is flagged as changed after start."""
    made = change_plan(store, experiment_id, body.plan.given(), actor=body.actor, why=body.why, now=utcnow())
    return JSONResponse(plain(made), 201)


def _proposal(store: Store, loop_id: str, body: NewPlan) -> Proposal:
    return Proposal(
        name=body.name,
        hypothesis=body.hypothesis,
        variants=variants_of(store, loop_id, [one.model_dump() for one in body.variants], body.control),
        plan=plan_from(body.plan.given()),
        policy=body.policy.value,
        layer=body.layer,
        layer_low=body.layer_low,
        layer_high=body.layer_high,
        targeting=body.targeting,
    )


def _plain(experiment: Experiment) -> dict[str, Any]:
    own = {name: getattr(experiment, name) for name in Experiment.__slots__}
    return own | {"variants": [{name: getattr(one, name) for name in one.__slots__} for one in experiment.variants]}
