"""Strangers' files as rows, a chunk at a time: CSV, Parquet, JSON lines. A broken line is a row with a reason."""

import csv
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from organism.errors import InputError
from organism.ingest.schemas import Rejected

CHUNK = 2000
READERS = ".csv, .tsv, .parquet, .jsonl, .ndjson or .json"
Line = dict[str, Any] | Rejected


class Chunk(NamedTuple):
    """Some rows of a file, and how much of the file is read by their end (0 to 1)."""

    lines: list[Line]
    share: float


class Table(NamedTuple):
    """A file that can be read: its columns, and its rows from the start, as often as they are asked for."""

    columns: list[str]
    chunks: Callable[[], Iterator[Chunk]]


def open_table(path: Path) -> Table:
    """Look at a file; raises InputError when there is none, or it is not what its name says."""
    if not path.is_file():
        raise InputError(f"there is no file {path}; give the path of a {READERS} file.")
    if not path.stat().st_size:
        raise InputError(f"{path.name} is empty; give a file with rows.")
    match path.suffix.lower():
        case ".csv" | ".tsv" | ".txt":
            return _csv_table(path)
        case ".parquet" | ".pq":
            return _parquet_table(path)
        case ".jsonl" | ".ndjson" | ".json":
            return _json_table(path)
        case suffix:
            raise InputError(f"{path.name} ends in {suffix or 'nothing'}; wanted {READERS}.")


def _csv_table(path: Path) -> Table:
    csv.field_size_limit(2**31 - 1)
    encoding = _encoding(path)
    with path.open(encoding=encoding, errors="surrogateescape", newline="") as file:
        head = file.readline()
    delimiter = max("\t;|,", key=head.count)
    header = next(csv.reader([head], delimiter=delimiter), [])
    columns = [name.strip() for name in header]
    if "\x00" in head or not any(columns):
        raise InputError(f"{path.name} is not a CSV file with a header line; export it again as CSV (UTF-8).")
    if twice := {name for name in columns if columns.count(name) > 1}:
        raise InputError(f"{path.name} has the column {sorted(twice)[0]!r} more than once; rename one of them.")

    def chunks() -> Iterator[Chunk]:
        with path.open(encoding=encoding, errors="surrogateescape", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter)
            next(reader)
            lines = (_csv_line(columns, cells, reader.line_num) for cells in reader if cells)
            yield from _chunked(lines, file, path)

    return Table(columns, chunks)


def _csv_line(columns: list[str], cells: list[str], number: int) -> Line:
    row: dict[str, Any] = {name: cell for name, cell in zip(columns, cells, strict=False) if cell != ""}
    if len(cells) == len(columns):
        return row
    return Rejected(
        f"line {number} has {len(cells)} cells where the header has {len(columns)}; quote cells that hold a separator",
        row | {"cells": cells},
    )


def _encoding(path: Path) -> str:
    """UTF-8 or UTF-16 by their marks, UTF-8 if the start reads as such, else what Excel writes on Windows."""
    with path.open("rb") as file:
        start = file.read(1 << 20)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    try:
        start[: start.rfind(b"\n") + 1 or None].decode("utf-8-sig")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _json_table(path: Path) -> Table:
    def lines(file: IO[str]) -> Iterator[Line]:
        start = file.read(1)
        file.seek(0)
        if start == "[":
            try:
                yield from (_json_row(row) for row in json.load(file))
            except (ValueError, TypeError) as error:
                raise InputError(
                    f"{path.name} is not JSON ({error}); wanted an array, or one object a line."
                ) from error
        else:
            yield from (_json_line(text, number) for number, text in enumerate(file, 1) if text.strip())

    def chunks() -> Iterator[Chunk]:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            yield from _chunked(lines(file), file, path)

    seen = [line for chunk in islice(chunks(), 1) for line in chunk.lines if isinstance(line, dict)]
    columns = list(dict.fromkeys(name for row in seen for name in row))
    if not columns:
        raise InputError(f"{path.name} has no JSON object in its first lines; wanted one object a line.")
    return Table(columns, chunks)


def _json_line(text: str, number: int) -> Line:
    try:
        return _json_row(json.loads(text))
    except (ValueError, RecursionError) as error:
        return Rejected(f"line {number} is not JSON ({str(error)[:80]})", {"line": text.rstrip("\n")})


def _json_row(row: Any) -> Line:
    if isinstance(row, dict):
        return {name: value for name, value in row.items() if value is not None}
    return Rejected("the line is not a JSON object; wanted one object a line", {"line": row})


def _parquet_table(path: Path) -> Table:
    try:
        with pq.ParquetFile(path) as file:
            columns, n_rows = file.schema_arrow.names, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path.name} is not a readable Parquet file ({str(error).splitlines()[0][:100]}); export it again."
        ) from error

    def chunks() -> Iterator[Chunk]:
        done = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(CHUNK):
                done += len(batch)
                yield Chunk([_json_row(row) for row in batch.to_pylist()], done / n_rows)

    return Table(columns, chunks)


def _chunked(lines: Iterator[Line], file: IO[str], path: Path) -> Iterator[Chunk]:
    size = path.stat().st_size
    buffer: Any = getattr(file, "buffer", None)
    while some := list(islice(lines, CHUNK)):
        yield Chunk(some, min(1.0, buffer.tell() / size) if buffer else 1.0)
