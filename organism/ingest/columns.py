"""Which column of a stranger's table is which field: guessed from the names, said when one is missing."""

import re
from collections.abc import Mapping, Sequence

from organism.errors import InputError
from organism.ingest.schemas import FIELDS, REQUIRED
from organism.records import EventKind

_SHARED = {
    "external_id": "id event_id uuid row_id record_id",
    "occurred_at": "timestamp time created_at created datetime date ts at when event_time",
    "source": "system origin app",
    "loop": "loop_name job feature use_case",
}
_SYNONYMS = {
    EventKind.INTERACTIONS: {
        "external_id": _SHARED["external_id"] + " interaction_id request_id message_id trace_id call_id draft_id",
        "output": "response completion answer draft generated generated_text reply prediction model_output text",
        "prompt": "input question transcript instruction query request user_message",
        "user_key": "user user_id physician physician_id customer customer_id account account_id author member_id",
        "session_id": "session conversation conversation_id thread_id chat_id",
        "variant_id": "variant model_version model model_name arm",
        "input_tokens": "prompt_tokens tokens_in n_input_tokens",
        "output_tokens": "completion_tokens tokens_out n_output_tokens",
        "latency_ms": "latency duration_ms response_time_ms elapsed_ms",
        "ttft_ms": "ttft time_to_first_token_ms",
        "cost_usd": "cost price usd cost_dollars",
        "business_key": "order_id visit_id ticket_id case_id encounter_id claim_id",
        "error": "error_message exception",
        "finish_reason": "stop_reason",
        "attributes": "metadata meta properties extra",
    },
    EventKind.FEEDBACK: {
        "interaction_external_id": "interaction request_id message_id trace_id draft_id call_id",
        "kind": "type action feedback feedback_type decision label",
        "value": "rating score stars points",
        "final_text": "final edited edited_text corrected correction final_note accepted_text rewrite final_output",
        "comment": "comments reason note notes remark",
        "actor_key": "user user_id user_key physician physician_id author reviewer annotator",
    },
    EventKind.OUTCOMES: {
        "business_key": "key order_id visit_id ticket_id case_id encounter_id claim_id customer_id",
        "name": "outcome metric event outcome_name",
        "value": "result amount score",
        "attribution_window_s": "window_s",
    },
}


def guess_mapping(kind: EventKind, columns: Sequence[str]) -> dict[str, str]:
    """Field to column for every column whose name says what it is; each column is used once."""
    by_name = {_plain(column): column for column in reversed(columns)}
    mapping: dict[str, str] = {}
    wanted = {field: [field] for field in FIELDS[kind]}
    synonyms = {**_SHARED, **_SYNONYMS[kind]}
    for names in (wanted, {field: synonyms.get(field, "").split() for field in FIELDS[kind]}):
        for field, candidates in names.items():
            free = [by_name[name] for name in candidates if name in by_name and by_name[name] not in mapping.values()]
            if free and field not in mapping:
                mapping[field] = free[0]
    return mapping


def choose_mapping(kind: EventKind, columns: Sequence[str], given: Mapping[str, str | None]) -> dict[str, str]:
    """The guess with what was given over it, in the order of the fields; None takes a field out.

    Raises InputError for a field or column that does not exist.
    """
    for field, column in given.items():
        if field not in FIELDS[kind]:
            raise InputError(f"{kind} have no field {field!r}; the fields are {', '.join(FIELDS[kind])}.")
        if column is not None and column not in columns:
            raise InputError(f"the file has no column {column!r} for {field}; it has {', '.join(columns)}.")
    free = [column for column in columns if column not in given.values()]
    chosen = guess_mapping(kind, free) | dict(given)
    return {field: column for field in FIELDS[kind] if (column := chosen.get(field)) is not None}


def missing_fields(kind: EventKind, mapping: Mapping[str, str], *, loop: str | None) -> tuple[str, ...]:
    """Needed fields that neither a column nor the import as a whole gives."""
    needed = [field for field in REQUIRED[kind] if field not in mapping]
    if kind is EventKind.FEEDBACK and "interaction_id" not in mapping and "interaction_external_id" not in mapping:
        needed.append("interaction_external_id")
    if kind is not EventKind.FEEDBACK and "loop" not in mapping and not loop:
        needed.append("loop")
    return tuple(needed)


def missing_sentence(kind: EventKind, file_name: str, columns: Sequence[str], missing: Sequence[str]) -> str:
    """What was found, what was wanted, how to mend it."""
    found = ", ".join(columns[:12]) + (", ..." if len(columns) > 12 else "")
    how = "say which column it is (--map FIELD=COLUMN), or rename one"
    if "loop" in missing:
        how += "; --loop NAME names the loop of the whole file"
    return f"{file_name} has the columns {found or '(none)'}; {kind} need {', '.join(missing)}: {how}."


def _plain(name: str) -> str:
    """Case, spaces and signs away: "User ID", "userId" and "user-id" are one name."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", split.lower()).strip("_")
