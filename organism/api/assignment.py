"""Assignment over HTTP: who gets which variant, who met one, who is held out, which layers are taken."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import JSONResponse

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import Body, LoopOf
from organism.config import DEMO_LOOP, utcnow
from organism.errors import InputError
from organism.experiment import assign_flow
from organism.ingest.batches import CLOCK_SLACK, OLDEST
from organism.ingest.schemas import naive_utc
from organism.store.experiments import read_experiment
from organism.store.exposures import Exposure, count_exposures
from organism.store.holdouts import read_holdout
from organism.store.loops import loop_id_of
from organism.wire import plain

router = APIRouter(tags=["experiment"], dependencies=[KeyRequired])

API_SOURCE = "http"


class AskOne(Body):
    """Whom to put into a variant; `attributes` are what the experiment's targeting looks at."""

    user_key: str
    attributes: dict[str, Any] | None = None


class Ask(AskOne):
    """The same for some experiments, or for all running ones of a loop."""

    loop: str | None = None
    experiment_id: str | None = None
    experiment_ids: list[str] = Field(default_factory=list, max_length=100)


class Met(Body):
    """A user to whom a variant was served: without `variant` the one that the user was assigned."""

    experiment_id: str
    user_key: str
    variant: str = ""
    exposed_at: datetime | None = None
    source: str = Field(default=API_SOURCE, min_length=1, max_length=200)


class NewHoldout(Body):
    """The share of users who take part in no experiment, and who sets it."""

    share: float
    actor: str


@router.post("/assign", summary="Put a user into the variants of running experiments")
def assign(store: StoreOf, ask: Ask) -> JSONResponse:
    """Name a `loop` (all its running experiments), or `experiment_id`, or `experiment_ids`.

    The same user always gets the same answer, and its probability is on record. `variant` is null where an experiment
    leaves the user out; `reason` says why: holdout, not targeted, outside the layer's range.
    """
    named = [*([ask.experiment_id] if ask.experiment_id else []), *ask.experiment_ids]
    if named and ask.loop is not None:
        raise InputError("a loop and experiments are both named; name the loop, or the experiments")
    if named:
        found = assign_flow.assign_experiments(
            store, list(dict.fromkeys(named)), ask.user_key, utcnow(), ask.attributes
        )
    else:
        loop_id = loop_id_of(store, ask.loop or DEMO_LOOP)
        found = assign_flow.assign_loop(store, loop_id, ask.user_key, utcnow(), ask.attributes)
    return JSONResponse({"user_key": ask.user_key.strip(), "assignments": plain(found)})


@router.post("/experiments/{experiment_id}/assign", summary="Put a user into a variant of one experiment")
def assign_one(store: StoreOf, experiment_id: str, ask: AskOne) -> JSONResponse:
    """The same user always gets the same variant; the probability is logged."""
    return JSONResponse(plain(assign_flow.assign_user(store, experiment_id, ask.user_key, utcnow(), ask.attributes)))


@router.post("/exposures", status_code=202, summary="Say that users really met their variants")
def expose(store: StoreOf, met: Met | list[Met]) -> JSONResponse:
    """One object or an array; 202 means on disk, and sending it twice is sending it once.

    An interaction with `experiment_id` and `variant_id` is an exposure too, so send only what shows in none.
    """
    now = utcnow()
    sent = [
        Exposure(one.experiment_id, one.user_key, one.variant, _moment(one.exposed_at, now), one.source)
        for one in (met if isinstance(met, list) else [met])
    ]
    new = assign_flow.record_exposures(store, sent)
    return JSONResponse({"recorded": new, "known": len(sent) - new}, 202)


@router.get("/experiments/{experiment_id}/exposures", summary="Count who was assigned and who met each variant")
def exposures(store: StoreOf, experiment_id: str) -> JSONResponse:
    """By variant: users assigned, users who met it, and the mean probability it was drawn with."""
    found = count_exposures(store, read_experiment(store, experiment_id).experiment_id)
    return JSONResponse({"exposures": plain(found)})


@router.get("/holdout", summary="Read the loop's holdout")
def holdout(store: StoreOf, loop: LoopOf) -> JSONResponse:
    """The share of users who take part in no experiment; null without one."""
    return JSONResponse({"holdout": plain(read_holdout(store, loop))})


@router.put("/holdout", summary="Hold a share of the users out of every experiment")
def put_holdout(store: StoreOf, loop: LoopOf, body: NewHoldout) -> JSONResponse:
    """From now on; who has a variant keeps it. 0 ends it."""
    return JSONResponse({"holdout": plain(assign_flow.set_holdout(store, loop, body.share, body.actor, now=utcnow()))})


@router.get("/layers", summary="List the layers, who holds which part, and what is free")
def layers(store: StoreOf, loop: LoopOf) -> JSONResponse:
    """Two experiments of one layer never share a user."""
    return JSONResponse({"layers": plain(assign_flow.layer_map(store, loop))})


def _moment(at: datetime | None, now: datetime) -> datetime:
    """The time of an exposure, as it is stored; raises InputError for one that cannot be."""
    if at is None:
        return now
    if at.year < OLDEST.year or naive_utc(at) > now + CLOCK_SLACK:
        raise InputError(f"exposed_at is {at.isoformat()}; wanted a time between {OLDEST:%Y-%m-%d} and tomorrow")
    return naive_utc(at)
