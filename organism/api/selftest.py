"""The self-test of an experiment's users over HTTP, and made-up experiments under settings of the caller's choice."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import JSONResponse

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import Body
from organism.errors import DesignError
from organism.experiment.selftest import PERMUTATIONS
from organism.experiment.selftest_flow import self_test_experiment
from organism.experiment.simulate import Kind, Method, Setting, check_setting, document, simulate
from organism.wire import plain

router = APIRouter(tags=["experiment"], dependencies=[KeyRequired])

MOST_PERMUTATIONS = 5000
MOST_WORK = 20_000_000
"""What one request may ask for: some four seconds of one core."""


class Asked(Body):
    """The command's options, under the same names; what is left out is as there."""

    users: int = Field(default=500, description="Users an arm")
    requests: float = Field(default=10.0, allow_inf_nan=False, description="Requests a user, on average")
    correlation: float = Field(default=0.25, allow_inf_nan=False, description="Between two requests of one user")
    effect: float = Field(default=0.0, allow_inf_nan=False, description="In standard deviations, or in shares")
    looks: int = 1
    alpha: float = Field(default=0.05, allow_inf_nan=False)
    experiments: int = 2000
    kind: Kind = Kind.RATIO
    methods: list[Method] = Field(default_factory=lambda: list(Method))
    baseline: float = Field(default=0.1, allow_inf_nan=False, description="The control's share of a proportion")
    tuning: float | None = Field(default=None, allow_inf_nan=False, description="Where the sequence is tightest")
    seed: int = 0


@router.get("/experiments/{experiment_id}/selftest", summary="A/A self-test on the experiment's own users")
def self_test(
    store: StoreOf,
    experiment_id: str,
    metric: str | None = None,
    treatment: str | None = None,
    permutations: Annotated[int, Query(le=MOST_PERMUTATIONS)] = PERMUTATIONS,
    alpha: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    seed: int = 0,
) -> JSONResponse:
    """Split at random so that nothing can differ: how often the test by user and the one by request see something."""
    found = self_test_experiment(
        store, experiment_id, metric=metric, treatment=treatment, permutations=permutations, alpha=alpha, seed=seed
    )
    return JSONResponse(plain(found))


@router.post("/simulate", summary="Power and peeking on made-up users")
def simulate_one(body: Asked) -> JSONResponse:
    """False-positive rate or power, share stopped early and users at the stop by method, with 99% intervals."""
    setting = Setting(**{**body.model_dump(), "methods": tuple(body.methods)})
    check_setting(setting)
    if setting.work > MOST_WORK:
        raise DesignError(
            f"{setting.experiments:,} experiments of {2 * setting.users:,} users at {setting.looks} looks are more "
            f"than one request may ask for; make it at most {setting.experiments * MOST_WORK // setting.work:,} "
            "experiments, or run organism simulate"
        )
    return JSONResponse(plain(document(simulate(setting))))
