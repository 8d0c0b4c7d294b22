"""A file of a stranger into the store: look first, then take every row in, or keep it with the reason."""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from organism.errors import InputError
from organism.ingest.batches import make_batch
from organism.ingest.columns import choose_mapping, missing_fields, missing_sentence
from organism.ingest.flow import Ingested, ingest_checked, total
from organism.ingest.schemas import FIELDS, Rejected, Row, check_rows, plain
from organism.ingest.tables import Line, open_table
from organism.records import EventKind, FeedbackKind, content_hash
from organism.store.database import Store

SAMPLE = 20
LOOKED_AT = 200
MAX_REASONS = 100
_KINDS = {
    "accepted": FeedbackKind.ACCEPT,
    "thumbs_up": FeedbackKind.ACCEPT,
    "rejected": FeedbackKind.REJECT,
    "thumbs_down": FeedbackKind.REJECT,
    "edited": FeedbackKind.EDIT,
    "rated": FeedbackKind.RATING,
    "commented": FeedbackKind.COMMENT,
}


class FilePreview(NamedTuple):
    """How a file would be read.

    `mapping` is field to column, `sample` the first rows by field, `missing` the needed fields without a
    column (`loop` not counted: an import may name it), `problems` what would keep the first rows out.
    """

    columns: list[str]
    mapping: dict[str, str]
    sample: pd.DataFrame
    missing: tuple[str, ...]
    problems: list[str]


def preview_file(path: Path, kind: EventKind, mapping: Mapping[str, str | None] | None = None) -> FilePreview:
    """Look at the first rows of a file; columns are matched by their names, `mapping` (field to column) goes before.

    A field mapped to None is taken out. Raises InputError when the file cannot be read at all.
    """
    table = open_table(path)
    chosen = choose_mapping(kind, table.columns, mapping or {})
    first = next(table.chunks(), None)
    lines = first.lines[:LOOKED_AT] if first else []
    rows = [row for row in _rows(lines, kind, chosen) if not isinstance(row, Rejected)][:SAMPLE]
    sample = pd.DataFrame([{field: row.get(field) for field in chosen} for row in rows], columns=list(chosen))
    missing = missing_fields(kind, chosen, loop="named at import")
    problems = [missing_sentence(kind, path.name, table.columns, missing)] if missing else []
    return FilePreview(table.columns, chosen, sample, missing, problems or _problems(lines, kind, chosen))


def import_file(
    store: Store,
    path: Path,
    kind: EventKind,
    mapping: Mapping[str, str | None] | None = None,
    *,
    loop: str | None = None,
    source: str | None = None,
    now: datetime,
    on_progress: Callable[[float], None] | None = None,
) -> Ingested:
    """Take a file in; every row ends in the store or in quarantine, and a second import adds nothing.

    A row without an external id gets one from the hash of its content, so equal rows are one event.
    `source` is the file's name when not given. The result's `ids` stay empty, its reasons end after
    a hundred. Raises InputError when a needed column is missing.
    """
    table = open_table(path)
    chosen = choose_mapping(kind, table.columns, mapping or {})
    if missing := missing_fields(kind, chosen, loop=loop):
        raise InputError(missing_sentence(kind, path.name, table.columns, missing))
    done, first_row = Ingested(0, 0, 0, [], []), 1
    for chunk in table.chunks():
        rows = _checked(_rows(chunk.lines, kind, chosen), kind)
        part = ingest_checked(
            store, kind, rows, loop=loop, source=source or path.name, now=now, first_row=first_row
        ).result()
        done = total([done, part])
        done = done._replace(ids=[], reasons=done.reasons[:MAX_REASONS])
        first_row += len(rows)
        if on_progress:
            on_progress(chunk.share)
    return done


def _rows(lines: list[Line], kind: EventKind, mapping: Mapping[str, str]) -> list[Row | Rejected]:
    """The lines under the names of the fields; an interaction keeps the columns that are no field."""
    left_out = set(FIELDS[kind]) | {"variant", "model_version"}
    return [line if isinstance(line, Rejected) else _row(line, kind, mapping, left_out) for line in lines]


def _row(line: Row, kind: EventKind, mapping: Mapping[str, str], left_out: set[str]) -> Row:
    row = {field: line[column] for field, column in mapping.items() if column in line}
    if "external_id" not in row:
        row["external_id"] = "row-" + content_hash(plain(line))[:24]
    if kind is EventKind.FEEDBACK and isinstance(said := row.get("kind"), str):
        word = said.strip().lower().replace(" ", "_")
        row["kind"] = _KINDS.get(word, word)
    if kind is EventKind.INTERACTIONS:
        used = set(mapping.values())
        row |= {name: value for name, value in line.items() if name not in used and name not in left_out}
    return row


def _checked(rows: list[Row | Rejected], kind: EventKind) -> list[Row | Rejected]:
    """All rows typed or rejected, those that were rejected before at their place."""
    typed = iter(check_rows(kind, [row for row in rows if not isinstance(row, Rejected)]))
    return [row if isinstance(row, Rejected) else next(typed) for row in rows]


def _problems(lines: list[Line], kind: EventKind, mapping: Mapping[str, str]) -> list[str]:
    """What would keep the first rows out, each sentence once, with the rows that it concerns."""
    rows = _checked(_rows(lines, kind, mapping), kind)
    named: dict[str, Any] = {"source": "preview", "loop": "preview"}
    batch = make_batch(kind, rows, defaults=named, loop_id_of=lambda name: name, now=datetime.max.replace(year=9000))
    by_reason: dict[str, list[int]] = {}
    for position, bad in sorted(batch.rejected.items()):
        by_reason.setdefault(bad.reason, []).append(position + 1)
    return [f"row {', '.join(map(str, at[:5]))}{' ...' if len(at) > 5 else ''}: {why}" for why, at in by_reason.items()]
