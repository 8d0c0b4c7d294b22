"""Evaluations: start one, list them, read one with its worst rows, compare two versions; and the safety cases."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import JSONResponse

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import Body, LoopOf, PartsOf
from organism.config import utcnow
from organism.optimize.evaluation_flow import (
    compare_versions,
    describe_evaluation,
    evaluate_by_name,
    read_evaluations,
    worst_rows,
)
from organism.optimize.safety_flow import add_safety_cases, read_safety_cases, remove_safety_case
from organism.wire import plain

router = APIRouter(tags=["optimize"], dependencies=[KeyRequired])
Rows = Annotated[int, Query(ge=0, le=1000, description="How many rows to send, the worst regressions first")]


class Asked(Body):
    """Which version to measure, against which other, on whose held-out rows."""

    version: str = Field(min_length=1)
    against: str | None = None
    dataset_id: str | None = None
    judge: str | None = None
    name: str | None = None
    max_rows: int | None = Field(default=None, ge=1, le=100_000)


class Case(Body):
    """One safety case; of each list in must_say one wording must occur, none of must_not_say may."""

    name: str
    prompt: str
    must_say: list[str | list[str]] = Field(default=[])
    must_not_say: list[str] = Field(default=[])
    is_synthetic: bool = False


@router.get("/evaluations", summary="List the evaluations with their figures")
def evaluations(store: StoreOf, loop: LoopOf, version: str | None = None) -> JSONResponse:
    """Newest first, of one version or of all; figures that an evaluation does not know are null."""
    found = read_evaluations(store, loop)
    return JSONResponse({"evaluations": plain(found if version is None else found[found["version"] == version])})


@router.post("/evaluations", status_code=201, summary="Measure a version against another")
def evaluate(store: StoreOf, parts: PartsOf, loop: LoopOf, asked: Asked) -> JSONResponse:
    """Queued as a run of the recipe evaluate: follow it at /v1/runs/{run_id}.

    Without `against` it is measured against its base; without `dataset_id` on the held-out rows that it was measured
    on before. `judge` is the name of a judge version, or an endpoint as http://HOST/v1#MODEL.
    """
    run_id = evaluate_by_name(store, parts.workspace, loop, **asked.model_dump(), now=utcnow())
    return JSONResponse({"run_id": run_id, "status": "queued"}, 201)


@router.get("/evaluations/compare", summary="Compare two versions on the rows that both have drafted")
def compare(store: StoreOf, loop: LoopOf, version: str, against: str, rows: Rows = 5) -> JSONResponse:
    """Runs no model: it pairs the drafts of earlier evaluations. 422 when there is no row in common."""
    found = compare_versions(store, loop, version, against)
    return JSONResponse(
        plain(
            {
                "version": found.version,
                "against": found.against,
                "figures": found.figures,
                "worst": worst_rows(found.results, rows),
            }
        )
    )


@router.get("/evaluations/{eval_run_id}", summary="Read one evaluation")
def evaluation(store: StoreOf, eval_run_id: str, rows: Rows = 5) -> JSONResponse:
    """Its header, its figures (slices, contamination, safety, facts lost, …) and its worst rows."""
    found = describe_evaluation(store, eval_run_id)
    return JSONResponse(
        plain({**found.header, "figures": found.figures, "worst": _worst(found.results, found.figures, rows)})
    )


@router.get("/safety-cases", summary="List the safety cases in use")
def safety_cases(store: StoreOf, loop: LoopOf) -> JSONResponse:
    """Every evaluation of the loop runs them; a version that fails one which its base passes does not go live."""
    return JSONResponse({"safety_cases": plain(read_safety_cases(store, loop))})


@router.post("/safety-cases", status_code=201, summary="Take safety cases into use")
def add(store: StoreOf, loop: LoopOf, cases: list[Case]) -> JSONResponse:
    """All of them, or none when one cannot be used."""
    synthetic = bool(cases) and all(case.is_synthetic for case in cases)
    lines = [case.model_dump() for case in cases]
    return JSONResponse({"case_ids": add_safety_cases(store, loop, lines, is_synthetic=synthetic, now=utcnow())}, 201)


@router.delete("/safety-cases/{case_id}", summary="Take a safety case out of use")
def remove(store: StoreOf, loop: LoopOf, case_id: str) -> JSONResponse:
    """It stays on record, and in the evaluations that ran it."""
    remove_safety_case(store, loop, case_id, utcnow())
    return JSONResponse({"case_id": case_id, "removed": True})


def _worst(results: Any, figures: dict[str, Any], rows: int) -> list[dict[str, Any]]:
    """A judge's evaluation has no drafts to rank."""
    return worst_rows(results, rows) if "win_rate" in figures else []
