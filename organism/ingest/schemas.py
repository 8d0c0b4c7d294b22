"""What strangers may send: the one place where foreign fields become typed rows, or a sentence that says why not."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple, Required
from uuid import UUID

from pydantic import AliasChoices, ConfigDict, Field, Json, StringConstraints, TypeAdapter, ValidationError, with_config
from pydantic_core import ErrorDetails
from typing_extensions import TypedDict

from organism.errors import InputError
from organism.records import EventKind

MAX_TEXT = 1_000_000
MAX_INT = 2**31 - 1

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Count = Annotated[int, Field(ge=0, le=MAX_INT)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Figure = Annotated[float, Field(allow_inf_nan=False)]
Details = dict[str, Any] | Json[dict[str, Any]]

_LENIENT = ConfigDict(extra="allow", coerce_numbers_to_str=True)


@with_config(_LENIENT)
class InteractionRow(TypedDict, total=False):
    """One answer of a model. `source`, `loop` and `occurred_at` may come from the request instead."""

    source: Name | None
    external_id: Required[Name]
    loop: Name | None
    session_id: Name | None
    user_key: Name | None
    variant_id: Annotated[Name | None, Field(validation_alias=AliasChoices("variant_id", "variant", "model_version"))]
    experiment_id: Name | None
    model_version_id: Name | None
    occurred_at: datetime | None
    prompt: Text | None
    output: Text | None
    input_tokens: Count | None
    output_tokens: Count | None
    latency_ms: Amount | None
    ttft_ms: Amount | None
    cost_usd: Amount | None
    error: Text | None
    finish_reason: Name | None
    business_key: Name | None
    consent: bool | None
    region: Name | None
    is_synthetic: bool | None
    config_hash: Name | None
    attributes: Details | None


@with_config(_LENIENT)
class FeedbackRow(TypedDict, total=False):
    """One answer to a draft; its interaction is named by our id, or by source and external id."""

    source: Name | None
    external_id: Required[Name]
    loop: Name | None
    interaction_id: UUID | None
    interaction_external_id: Name | None
    interaction_source: Name | None
    kind: Required[Literal["accept", "reject", "edit", "rating", "comment"]]
    name: Name | None
    value: Figure | None
    final_text: Text | None
    comment: Text | None
    actor_kind: Literal["human", "model", "code"] | None
    actor_key: Name | None
    supersedes_id: UUID | None
    occurred_at: datetime | None


@with_config(_LENIENT)
class OutcomeRow(TypedDict, total=False):
    """One late result of a piece of business; it joins interactions by `business_key`."""

    source: Name | None
    external_id: Required[Name]
    loop: Name | None
    business_key: Required[Name]
    name: Required[Name]
    value: Required[Figure]
    occurred_at: datetime | None
    attribution_window_s: Annotated[int, Field(ge=0, le=2**53)] | None


Row = dict[str, Any]


class Rejected(NamedTuple):
    """A row that cannot go in, as it came, and the sentence that says why."""

    reason: str
    row: Row


SHAPES: dict[EventKind, Any] = {
    EventKind.INTERACTIONS: InteractionRow,
    EventKind.FEEDBACK: FeedbackRow,
    EventKind.OUTCOMES: OutcomeRow,
}
FIELDS = {kind: tuple(shape.__annotations__) for kind, shape in SHAPES.items()}
REQUIRED = {
    EventKind.INTERACTIONS: ("output",),
    EventKind.FEEDBACK: ("kind",),
    EventKind.OUTCOMES: ("business_key", "name", "value"),
}
_KNOWN = {kind: frozenset(fields) for kind, fields in FIELDS.items()}
_ONE = {kind: TypeAdapter(shape) for kind, shape in SHAPES.items()}
_MANY = {kind: TypeAdapter(list[shape]) for kind, shape in SHAPES.items()}  # type: ignore[valid-type]

_MISSING = {
    "external_id": "external_id is missing; give every event an id of your own, so that a retry is not a double",
    "kind": "kind is missing; say accept, reject, edit, rating or comment",
    "business_key": "business_key is missing; name the order, visit or account that this outcome belongs to",
}


def check_json(kind: EventKind, body: bytes) -> list[Row | Rejected]:
    """Each row of a JSON object or array, typed or rejected; raises InputError when it is not JSON of that shape."""
    try:
        if body.lstrip()[:1] == b"[":
            return [_finish(kind, row) for row in _MANY[kind].validate_json(body)]
        return [_finish(kind, _ONE[kind].validate_json(body))]
    except ValidationError:
        return check_rows(kind, _loads(body))


def check_rows(kind: EventKind, rows: Sequence[Any]) -> list[Row | Rejected]:
    """Each row typed or rejected, in order: a bad one never costs the others."""
    try:
        return [_finish(kind, row) for row in _MANY[kind].validate_python(rows)]
    except ValidationError:
        return [_check(kind, row) for row in rows]


def plain(value: Any) -> Any:
    """The same value as JSON can keep it: times as ISO text, other strangers as their text."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return value.encode("utf-8", "replace").decode()
        case datetime():
            return value.isoformat()
        case Mapping():
            return {str(plain(str(key))): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return str(value)


def naive_utc(at: datetime) -> datetime:
    """The same instant without a zone; a time that came without one is taken as UTC."""
    return at if at.tzinfo is None else at.astimezone(UTC).replace(tzinfo=None)


def _loads(body: bytes) -> list[Any]:
    if not body.strip():
        raise InputError("the body is empty; send one JSON object, or an array of objects.")
    try:
        rows = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"the body is not JSON ({str(error)[:120]}); send one JSON object, or an array of objects."
        ) from error
    return rows if isinstance(rows, list) else [rows]


def _check(kind: EventKind, row: Any) -> Row | Rejected:
    if not isinstance(row, Mapping):
        return Rejected(f"the row is {_shown(row)}; send an object with the fields of {kind}", {"value": plain(row)})
    try:
        return _finish(kind, _ONE[kind].validate_python(row))
    except ValidationError as error:
        reasons = [_sentence(detail) for detail in error.errors(include_url=False)]
        return Rejected("; ".join(dict.fromkeys(reasons[:3])), plain(row))


def _finish(kind: EventKind, row: Row) -> Row | Rejected:
    """Put unknown fields where they belong: with an interaction's attributes, else back to the sender."""
    if unknown := row.keys() - _KNOWN[kind]:
        if kind is not EventKind.INTERACTIONS:
            return Rejected(
                f"unknown field {', '.join(sorted(unknown))}; the fields of {kind} are {', '.join(FIELDS[kind])}",
                plain(row),
            )
        row["attributes"] = {name: row.pop(name) for name in sorted(unknown)} | (row.get("attributes") or {})
    return row


def _sentence(detail: ErrorDetails) -> str:
    field = str(detail["loc"][0]) if detail["loc"] else "the row"
    found = detail["input"]
    match detail["type"]:
        case "missing":
            return _MISSING.get(field, f"{field} is missing; every row needs one")
        case "string_too_long":
            return f"{field} is {len(found):,} characters long; at most {detail['ctx']['max_length']:,} are kept"
        case "string_too_short":
            return _MISSING.get(field, f"{field} is empty; leave it out or fill it")
        case "finite_number":
            return f"{field} is {found}; wanted a finite number, or leave the field out"
        case _:
            wanted = detail["msg"].replace("Input should be", "wanted")
            return f"{field} is {_shown(found)}; {wanted[:1].lower()}{wanted[1:160]}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
