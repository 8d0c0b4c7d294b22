"""Any file as an experiment over HTTP: the file is the body, the question is the query; nothing of it is kept."""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from organism.api.access import FILE_KINDS, KeyRequired
from organism.experiment.any_file import analyze_file
from organism.experiment.file_document import document
from organism.experiment.file_question import FileQuestion
from organism.stats.sequential import TUNING
from organism.wire import plain

router = APIRouter(tags=["experiment"], dependencies=[KeyRequired])

# One file may take both cores and a few gigabytes; more at once would starve whoever else is in the room.
AT_ONCE = asyncio.Semaphore(2)


class Asked(BaseModel):
    """What is asked of the file: the command's options, under the same names. Lists may be given several times."""

    model_config = ConfigDict(extra="forbid")

    variant: str = Field(default="variant", description="Column: the variant of a row")
    control: str | None = Field(default=None, description="The variant to compare with")
    unit: str | None = Field(default=None, description="Column: who was assigned; without it each row is a unit")
    metric: list[str] = Field(default=[], description="Column: compare its mean")
    proportion: list[str] = Field(default=[], description="Column of 0 and 1, or of true and false")
    ratio: list[str] = Field(default=[], description="NUM/DEN: the sum of one column over the sum of another")
    quantile: list[str] = Field(default=[], description="COLUMN:SHARE, such as latency:0.95")
    covariate: list[str] = Field(default=[], description="COLUMN for all metrics, or METRIC=COLUMN (CUPED)")
    segment: list[str] = Field(default=[], description="Column: compare within each of its values too")
    share: list[str] = Field(default=[], description="VARIANT=SHARE: the planned shares; equal when not given")
    margin: list[str] = Field(default=[], description="METRIC=NUMBER: how much worse it may get (a guardrail)")
    lower_is_better: list[str] = Field(default=[], description="Metrics of which less is better")
    winsorize: float | None = Field(default=None, description="Cap values at this quantile, such as 0.99")
    alpha: float = Field(default=0.05, description="The rate of false alarms to bear")
    sequential: bool = Field(default=False, description="Intervals that hold at every look")
    tuning: float = Field(default=TUNING, description="Units at which the sequence is tightest")
    correction: str = Field(default="holm", description="none, holm, hochberg, bh or by")

    def question(self) -> FileQuestion:
        """The same as the core takes it."""
        plural = ("metric", "proportion", "ratio", "quantile", "covariate", "segment", "share", "margin")
        given: dict[str, Any] = self.model_dump()
        lists = {f"{name}s": tuple(given.pop(name)) for name in plural}
        return FileQuestion(**{**given, **lists, "lower_is_better": tuple(self.lower_is_better)})


@router.post(
    "/analyze",
    summary="Compare the variants in a file",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in FILE_KINDS},
        }
    },
)
async def analyze(request: Request, asked: Annotated[Asked, Query()]) -> JSONResponse:
    """The body is the file, its content type says which: CSV, Parquet, JSON lines, or a JSON array of objects.

    Nothing is imported or kept; no path of this machine is read. The answer is described in docs/analyze.md.
    """
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in FILE_KINDS:
        raise HTTPException(415, f"the content type is {kind or 'not given'}; send one of: {', '.join(FILE_KINDS)}.")
    with tempfile.TemporaryDirectory(prefix="organism-upload-") as folder:
        path = Path(folder) / f"body.{FILE_KINDS[kind]}"
        with path.open("wb") as file:
            async for chunk in request.stream():
                file.write(chunk)
        async with AT_ONCE:
            found = await run_in_threadpool(analyze_file, path, asked.question(), name=f"the {FILE_KINDS[kind]} body")
    return JSONResponse(plain(document(found)))
