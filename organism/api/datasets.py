"""Training sets: frozen rows from answers or rewards."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import LoopOf
from organism.config import utcnow
from organism.digest.designs_flow import LIVE, find_design
from organism.digest.set_files import FileForm
from organism.digest.set_reading import describe, export, find_set, list_sets
from organism.digest.training_set_flow import freeze, preview
from organism.digest.training_settings import settings_from
from organism.errors import InputError
from organism.wire import plain

router = APIRouter(tags=["digest"], dependencies=[KeyRequired])

MEDIA = {FileForm.JSONL: "application/x-ndjson", FileForm.PARQUET: "application/vnd.apache.parquet"}


@router.get("/datasets", summary="List the frozen training sets")
def datasets(store: StoreOf, loop: LoopOf) -> JSONResponse:
    """Newest first, with the hash of their rows, what was dropped and why, and what leaked.

    content_hash covers prompts, texts, facts, labels, split and users, in order; rewards are notes beside them.
    """
    return JSONResponse({"datasets": plain(list_sets(store, loop))})


@router.post("/datasets", status_code=201, summary="Freeze a training set from answers or rewards")
def build(
    store: StoreOf,
    loop: LoopOf,
    body: dict[str, Any] | None = None,
    max_rows: Annotated[int | None, Query(ge=1, le=100_000)] = None,
) -> JSONResponse:
    """The same answers and settings give the same set.

    The body, all of it optional: kind (sft, preference, unpaired), basis (expert, reward; vote makes pairs of blind
    votes), design (live, a preset, a version, a name or an id), name, since, until, variants, answers, regions,
    min_reward, margin, threshold, dead_band, max_rows, max_heldout_rows, max_rows_per_user, heldout_share, near, seed;
    `preview: true` counts
    without freezing. Completions by reward (sft, reward) leave out drafts that a person rejected and, without
    min_reward, those under the median of the drafts scored; the best rewarded come first. The answer's
    least_reward says what was asked of a draft. By reward, no draft of a variant that breaks a guardrail of the design
    is imitated, chosen or called desirable.
    """
    asked = ({} if max_rows is None else {"max_rows": max_rows}) | (body or {})
    name, is_preview = asked.pop("name", None), asked.pop("preview", False)
    design = asked.pop("design", None)
    if not isinstance(name, str | None) or not isinstance(design, str | None):
        raise InputError(f"name is {name!r} and design is {design!r}; give words, or leave them out")
    if not isinstance(is_preview, bool):
        raise InputError(f"preview is {is_preview!r}; give true to count only, or false to freeze the set")
    settings = settings_from(asked)
    recipe = find_design(store, loop, design or LIVE)
    if is_preview:
        return JSONResponse(plain(preview(store, loop, settings, design=recipe)), 200)
    return JSONResponse(plain(freeze(store, loop, settings, design=recipe, name=name, now=utcnow())), 201)


@router.get("/datasets/{dataset_id}", summary="Ask what a training set is made of")
def dataset(
    store: StoreOf, loop: LoopOf, dataset_id: str, examples: Annotated[int, Query(ge=0, le=200)] = 5
) -> JSONResponse:
    """Its header with settings, drops and leakage; its composition; the first rows of each side.

    A row's reward is called draft_reward where experts' word decided: the draft earned it, not the person's text.
    """
    found = describe(store, loop, dataset_id, n_examples=examples)
    parts = {"composition": found.composition, "examples": found.examples}
    return JSONResponse(plain(found.header._asdict() | parts))


@router.get("/datasets/{dataset_id}/export", summary="Download a training set in TRL's columns")
def download(
    store: StoreOf, loop: LoopOf, dataset_id: str, format: str = FileForm.JSONL, split: str | None = None
) -> Response:
    """One file: jsonl or parquet; of one split (train, heldout) or of both.

    `reward` and `rejected_reward` are of the texts beside them; `draft_reward`, in sets by experts, is of the draft
    that the person answered.
    """
    content = export(store, loop, dataset_id, form=format, split=split)
    header = find_set(store, loop, dataset_id)
    name = f"{header.kind}-{header.content_hash[:12]}{f'-{split}' if split else ''}.{format}"
    return Response(
        content,
        media_type=MEDIA[FileForm(format)],
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )
