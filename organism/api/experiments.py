"""Experiments and their verdicts, decisions, and the loop's vital signs."""

from fastapi import APIRouter
from pydantic import BaseModel, Field, field_validator
from starlette.responses import HTMLResponse, JSONResponse, Response

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import LoopOf
from organism.config import utcnow
from organism.deploy.flow import version_by_name
from organism.experiment.flow import evidence_of, start_experiment, track_of
from organism.experiment.record_flow import record_of
from organism.experiment.report_flow import report_of
from organism.experiment.rules import judge
from organism.loop import decide_and_apply
from organism.observe.flow import needs_you, vitals
from organism.records import Verdict
from organism.store.experiments import read_experiments
from organism.wire import plain

router = APIRouter(dependencies=[KeyRequired])


class NewExperiment(BaseModel):
    """Two versions by name, and what is expected of the treatment."""

    name: str = Field(min_length=1, max_length=200)
    control: str
    treatment: str
    treatment_share: float = Field(default=0.5, gt=0, lt=1)
    hypothesis: str = ""


class Decision(BaseModel):
    """What was decided (hold is keep_running), why, by whom, and about which of several treatments: else the best."""

    verdict: Verdict
    note: str = Field(min_length=1, max_length=2000)
    actor: str = Field(min_length=1, max_length=200)
    treatment: str | None = None

    @field_validator("verdict", mode="before")
    @classmethod
    def _hold(cls, said: object) -> object:
        return Verdict.KEEP_RUNNING if said == "hold" else said


@router.get("/experiments", tags=["experiment"], summary="List the experiments")
def experiments(store: StoreOf, loop: LoopOf) -> JSONResponse:
    """Newest first."""
    return JSONResponse({"experiments": plain(read_experiments(store, loop))})


@router.post("/experiments", tags=["experiment"], status_code=201, summary="Start an experiment")
def start(store: StoreOf, loop: LoopOf, body: NewExperiment) -> JSONResponse:
    """Send the interactions of its users with this `experiment_id`, and the version's name as `variant_id`."""
    experiment_id = start_experiment(
        store,
        loop,
        name=body.name,
        control_version_id=version_by_name(store, loop, body.control).model_version_id,
        treatment_version_id=version_by_name(store, loop, body.treatment).model_version_id,
        treatment_share=body.treatment_share,
        hypothesis=body.hypothesis,
        now=utcnow(),
    )
    return JSONResponse({"experiment_id": experiment_id}, 201)


@router.get("/experiments/{experiment_id}", tags=["experiment"], summary="Read the scorecard as of now")
def scorecard(store: StoreOf, experiment_id: str, treatment: str | None = None) -> JSONResponse:
    """Verdict, effect, guardrails, split, segments, novelty, weights that would flip it, and the exact SQL.

    `track` is the effect day by day with both intervals, of the treatment that does best unless one is named.
    """
    evidence = evidence_of(store, experiment_id, utcnow())
    return JSONResponse({"scorecard": plain(judge(evidence)), "track": plain(track_of(evidence, treatment))})


@router.get("/experiments/{experiment_id}/report", tags=["experiment"], summary="The experiment as one HTML file")
def report(store: StoreOf, experiment_id: str) -> HTMLResponse:
    """It loads nothing else and prints on A4. Of a decided experiment it is the same file every time."""
    name = f'inline; filename="experiment-{experiment_id}.html"'
    return HTMLResponse(report_of(store, experiment_id), headers={"content-disposition": name})


@router.get("/experiments/{experiment_id}/record", tags=["experiment"], summary="The record of the last decision")
def record(store: StoreOf, experiment_id: str) -> Response:
    """The canonical JSON bytes as they were kept; before any decision the record as of now.

    `X-Record-SHA256` is their hash, which `organism experiment replay FILE` comes to again.
    """
    found = record_of(store, experiment_id)
    name = f'attachment; filename="experiment-{experiment_id}.json"'
    headers = {"content-disposition": name, "x-record-sha256": found.sha256}
    return Response(found.content, media_type="application/json", headers=headers)


@router.post("/experiments/{experiment_id}/decide", tags=["experiment"], summary="Record the decision")
def decide(store: StoreOf, experiment_id: str, body: Decision) -> JSONResponse:
    """`ship` also makes the treatment live, unless its facts got worse than the margin."""
    done = decide_and_apply(
        store,
        experiment_id,
        verdict=body.verdict,
        note=body.note,
        actor=body.actor,
        treatment=body.treatment,
        now=utcnow(),
    )
    return JSONResponse(plain(done))


@router.get("/vitals", tags=["observe"], summary="Ask how the loop is, and what needs a person")
def vital_signs(store: StoreOf, loop: LoopOf) -> JSONResponse:
    """The metabolism as of now."""
    now = utcnow()
    return JSONResponse({"vitals": plain(vitals(store, loop, now)), "needs_you": plain(needs_you(store, loop, now))})
