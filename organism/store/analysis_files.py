"""A file of a stranger as rows to analyze: a DuckDB of its own in memory, which may read that file and nothing else.

The file is read under a name of ours and its columns by number (c0, c1, …), so that neither a file name nor a column
name is ever part of a statement. What the analysis needs becomes two tables: `file_rows`, then `file_units`.
"""

import csv
import gzip
import os
import re
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import duckdb
import pandas as pd

from organism.errors import InputError
from organism.store.database import Cursor

READERS = ".csv, .tsv, .parquet, .jsonl, .ndjson or .json, the text formats also as .gz"
FORMATS = {
    "csv": "csv",
    "tsv": "csv",
    "txt": "csv",
    "parquet": "parquet",
    "pq": "parquet",
    "jsonl": "json",
    "ndjson": "json",
    "json": "json",
}
MEMORY = "4GB"
SPILL = "32GB"
LOOKED_AT = 2000
MOST_COLUMNS = 10_000
MISSING_WORDS = ("", "-", "na", "n/a", "#n/a", "nan", "nil", "none", "null")
_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?$|INTEGER$|FLOAT$|DOUBLE$|DECIMAL|BOOLEAN$")


class Column(NamedTuple):
    """A column under its name in the file; `kind` is text, json, or DuckDB's type of a Parquet column."""

    name: str
    kind: str

    @property
    def is_number(self) -> bool:
        """True where every value is a number or a truth value by its type."""
        return bool(_NUMBER.match(self.kind))

    @property
    def is_exact(self) -> bool:
        """True where a long number has more digits than a DOUBLE keeps: integers, decimals and text."""
        return self.kind not in ("FLOAT", "DOUBLE")

    @property
    def may_be_number(self) -> bool:
        """False for dates, lists and the like: no value of such a column is a number."""
        return self.is_number or self.is_text

    @property
    def is_text(self) -> bool:
        """True where values are written out, and must be read to know what they are."""
        return self.kind in ("text", "json", "VARCHAR") or self.kind.startswith("ENUM")


# A file's columns, and the readers that take it, the strictest first.
Opened = tuple[tuple[Column, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisFile:
    """An opened file: its columns in order, and where a statement reads it from.

    `lenient` reads what the strict CSV reader gives up on, such as two kinds of line end in one file; it does not see
    that a line has too many cells, so it comes second.
    """

    name: str
    columns: tuple[Column, ...]
    relation: str
    cursor: Cursor
    lenient: str | None = None

    def read(self, select: str, rest: str = "") -> list[tuple[Any, ...]]:
        """Run `select FROM file rest`; raises InputError when the file cannot be read."""
        with reading(self):
            try:
                return self.cursor.execute(f"{select} FROM {self.relation} {rest}").fetchall()
            except duckdb.InvalidInputException:
                if self.lenient is None:
                    raise
                return self.cursor.execute(f"{select} FROM {self.lenient} {rest}").fetchall()

    def place(self, name: str) -> int:
        """The number of a column; raises InputError that lists the columns when there is none of that name."""
        for number, column in enumerate(self.columns):
            if column.name == name:
                return number
        raise InputError(f"{self.name} has no column {name!r}; its columns are {said([c.name for c in self.columns])}")

    def sample(self, limit: int = LOOKED_AT) -> pd.DataFrame:
        """The first rows under the file's names, every value as a label (text), missing ones None."""
        cells = ", ".join(f"{label_of(column, f'c{n}')} AS c{n}" for n, column in enumerate(self.columns))
        rows = self.read(f"SELECT {cells}", f"LIMIT {int(limit)}")
        return pd.DataFrame(rows, columns=[column.name for column in self.columns], dtype=object)


@contextmanager
def open_analysis_file(path: Path, name: str | None = None) -> Iterator[AnalysisFile]:
    """Open a CSV, Parquet or JSON lines file for one analysis; closed, with all it made, at the end of the block.

    `name` is what sentences call it. Raises InputError when there is no such file, or it is not what its name says.
    """
    named = name or path.name
    form, packed = _form(path, named)
    with tempfile.TemporaryDirectory(prefix="organism-analyze-") as folder:
        with _opening(named):
            link, packed = _linked(path, Path(folder), form, packed)
        with duckdb.connect(":memory:", config={"memory_limit": MEMORY}) as cursor:
            _lock(cursor, link)
            with _opening(named):
                columns, readers = _READERS[form](cursor, link, named, packed)
            names = ", ".join(f"c{number}" for number in range(len(columns)))
            relation, *lenient = [f"{reader} AS t({names})" for reader in readers]
            yield AnalysisFile(
                name=named, columns=columns, relation=relation, cursor=cursor, lenient=next(iter(lenient), None)
            )


def said(names: Sequence[str], limit: int = 30) -> str:
    """Names in a sentence; a long list ends with how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(repr(name) for name in names[:limit]) + more


def number_of(column: Column, cell: str) -> str:
    """SQL: the cell as DOUBLE, NULL where it is none; true and false count as 1 and 0."""
    if column.is_number:
        return f"CAST({cell} AS DOUBLE)"
    text = _text(column, cell)
    return f"coalesce(TRY_CAST({text} AS DOUBLE), CASE lower({text}) WHEN 'true' THEN 1.0 WHEN 'false' THEN 0.0 END)"


def not_a_number(column: Column, cell: str) -> str:
    """SQL: the text of a cell that is there but is no number, else NULL."""
    if column.is_number:
        return "NULL::VARCHAR"
    text = _text(column, cell)
    return f"CASE WHEN {number_of(column, cell)} IS NULL AND lower({text}) NOT IN {MISSING_WORDS} THEN {text} END"


def label_of(column: Column, cell: str) -> str:
    """SQL: the cell as a label; blank is NULL, and 1.0 of a column of floats is 1."""
    if column.kind in ("FLOAT", "DOUBLE"):
        whole = f"{cell} = round({cell}) AND abs({cell}) < 1e15"
        return (
            f"CASE WHEN isnan({cell}) THEN NULL WHEN {whole} THEN CAST(CAST({cell} AS BIGINT) AS VARCHAR) "
            f"ELSE CAST({cell} AS VARCHAR) END"
        )
    return f"nullif({_text(column, cell)}, '')"


def id_of(column: Column, cell: str) -> str:
    """SQL: the cell as a unit's id: a number stays one, since that is faster to group by; blank and NaN are NULL."""
    if column.kind in ("FLOAT", "DOUBLE"):
        return f"CASE WHEN NOT isnan({cell}) THEN {cell} END"
    return cell if column.is_number else label_of(column, cell)


def id_form(column: Column, cell: str) -> str:
    """SQL: what a written id looks like: 0 a whole number, 1 a decimal one, 2 words; NULL where the type says it."""
    if not column.is_text:
        return "NULL::TINYINT"
    text = _text(column, cell)
    form = (
        f"CASE WHEN {text} = '' THEN NULL WHEN regexp_full_match({text}, '[-+]?[0-9]+') THEN 0 "
        f"WHEN regexp_full_match({text}, '[-+]?[0-9]+[.][0-9]+') THEN 1 "
        f"WHEN {text} IS NOT NULL THEN 2 END"
    )
    if column.kind == "json":  # "7" in quotes is a word, 7 a number
        form = f"CASE WHEN json_type({cell}) = 'VARCHAR' THEN 2 ELSE {form} END"
    return f"CAST({form} AS TINYINT)"


@contextmanager
def reading(file: AnalysisFile) -> Iterator[None]:
    """What DuckDB cannot read becomes an InputError that names the file."""
    with _reading(file.name):
        yield


def count_rejected(file: AnalysisFile) -> int:
    """How many lines of a CSV file could not be split into the header's cells."""
    try:
        return int(file.cursor.execute("SELECT count(DISTINCT line) FROM reject_errors").fetchall()[0][0])
    except duckdb.CatalogException:
        return 0  # the table is made by the CSV reader only


def _text(column: Column, cell: str) -> str:
    if column.kind == "json":
        return f"trim({cell}->>'$')"
    return f"trim({cell})" if column.kind in ("text", "VARCHAR") else f"CAST({cell} AS VARCHAR)"


@contextmanager
def _opening(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        said_by_system = getattr(error, "strerror", None) or error
        raise InputError(f"{name} cannot be opened ({said_by_system}); export it again") from error


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise InputError(
            f"{name} needs more than the {MEMORY} of memory that one analysis may take; give a Parquet file with only "
            "the columns that are asked for, or one row a unit"
        ) from error
    except duckdb.Error as error:
        first = re.sub(r"\S*organism-analyze-\S*", name, str(error).strip().splitlines()[0])
        raise InputError(f"{name} cannot be read ({first[:160].rstrip('.')}); export it again") from error


def _lock(cursor: Cursor, link: Path) -> None:
    """From here on this connection reads that file, writes only its own spill, and loads no extension."""
    cursor.execute(f"SET temp_directory = '{link.parent / 'spill'}'")
    cursor.execute(f"SET max_temp_directory_size = '{SPILL}'")
    cursor.execute(f"SET allowed_paths = ['{link}']")
    for setting in ("autoinstall_known_extensions", "autoload_known_extensions", "enable_external_access"):
        cursor.execute(f"SET {setting} = false")
    cursor.execute("SET lock_configuration = true")


def _form(path: Path, name: str) -> tuple[str, bool]:
    """The reader that a file's name asks for, after a look at whether its first bytes agree."""
    if not os.path.isfile(path):  # where Path.is_file raises, such as for a name that is too long, this is False
        raise InputError(f"there is no file {str(path)[:200]}; give the path of a file that ends in {READERS}")
    parts = path.name.lower().rsplit(".", 2)
    packed = parts[-1] == "gz"
    ending = (parts[-2] if packed else parts[-1]) if len(parts) > (2 if packed else 1) else ""
    form = FORMATS.get(ending)
    if form is None or (packed and form == "parquet"):
        raise InputError(f"{name} ends in {'.' + ending if ending else 'nothing'}; wanted {READERS}")
    if not path.stat().st_size:
        raise InputError(f"{name} is empty; give a file with rows")
    _check_start(path, name, form, packed)
    return form, packed


def _linked(path: Path, folder: Path, form: str, packed: bool) -> tuple[Path, bool]:
    """The file under a name of ours, and whether it is packed.

    A stranger's name may hold quotes, or [ and *, which DuckDB would expand; and CSV that is not UTF-8 is written anew,
    since DuckDB knows no Windows encoding.
    """
    encoding = _encoding(path, packed) if form == "csv" else "utf-8"
    if encoding == "utf-8":
        link = folder / f"file.{form}{'.gz' if packed else ''}"
        link.symlink_to(path.resolve())
        return link, packed
    link = folder / f"file.{form}"
    with _text_file(path, packed, encoding) as old, link.open("w", encoding="utf-8", newline="") as new:
        shutil.copyfileobj(old, new, 1 << 20)
    return link, False


def _check_start(path: Path, name: str, form: str, packed: bool) -> None:
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            start = file.read(4096)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{name} cannot be opened ({getattr(error, 'strerror', None) or error}); export it again"
        ) from error
    found = _content(start)
    if not start.strip():
        raise InputError(f"{name} has no rows; give a file with a header and rows")
    if found and found != form and not (form == "csv" and found == "json" and not start.startswith(b"{")):
        known = {"parquet": "a Parquet file", "json": "JSON"}.get(found, found)
        raise InputError(f"{name} is {known} by its content; rename it, or export it again as what its name says")
    if form == "parquet" and found != "parquet":
        raise InputError(f"{name} is not a Parquet file by its content; rename it, or export it again")
    if form == "json" and found != "json":
        raise InputError(f"{name} is not JSON by its content; wanted one object a line, or an array of objects")


def _content(start: bytes) -> str | None:
    """What the first bytes say that a file is; None where they could be any text."""
    marks = {b"PAR1": "parquet", b"PK\x03\x04": "a spreadsheet or a zip archive", b"\x1f\x8b": "packed with gzip"}
    for mark, what in marks.items():
        if start.startswith(mark):
            return what
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"{", b"["):
        return "json"
    if text[:14].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page or XML"
    is_utf16 = start[:2] in (b"\xff\xfe", b"\xfe\xff")
    return "binary" if b"\x00" in start and not is_utf16 else None


def _csv_reader(cursor: Cursor, link: Path, name: str, packed: bool) -> Opened:
    with _text_file(link, packed, "utf-8-sig") as file:
        head = file.readline()
        file.seek(0)
        delimiter = max(",\t;|", key=head.count)
        csv.field_size_limit(2**31 - 1)
        header = next(csv.reader(file, delimiter=delimiter), [])
    _check_width(name, len(header))
    names = [cell.strip() or f"column_{number + 1}" for number, cell in enumerate(header)]
    if twice := sorted(one for one, times in Counter(names).items() if times > 1):
        raise InputError(f"{name} has the column {twice[0]!r} more than once; rename one of them")
    types = ", ".join(f"c{number}: 'VARCHAR'" for number in range(len(names)))
    readers = tuple(
        f"read_csv('{link}', auto_detect = false, header = true, delim = '{delimiter}', quote = '\"', escape = '\"', "
        f"strict_mode = {mode}, ignore_errors = true, store_rejects = true, columns = {{{types}}})"
        for mode in ("true", "false")
    )
    return tuple(Column(one, "text") for one in names), readers


def _check_width(name: str, n_columns: int) -> None:
    """Raise InputError before a line of millions of commas is read as columns, which takes hours."""
    if n_columns > MOST_COLUMNS:
        raise InputError(f"{name} has {n_columns:,} columns; give a file with at most {MOST_COLUMNS:,}")


def _encoding(link: Path, packed: bool) -> str:
    """UTF-16 by its mark, UTF-8 if the start reads as such, else what Excel writes on Windows."""
    with gzip.open(link) if packed else link.open("rb") as file:
        start = file.read(1 << 20)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    with suppress(UnicodeDecodeError):
        start[: start.rfind(b"\n") + 1 or None].decode()
        return "utf-8"
    return "cp1252"


def _text_file(link: Path, packed: bool, encoding: str) -> IO[str]:
    if packed:
        return gzip.open(link, "rt", encoding=encoding, errors="replace", newline="")
    return link.open(encoding=encoding, errors="replace", newline="")


def _parquet_reader(cursor: Cursor, link: Path, name: str, packed: bool) -> Opened:
    reader = f"read_parquet('{link}', binary_as_string = true)"
    with _reading(name):
        described = cursor.execute(f"DESCRIBE SELECT * FROM {reader}").fetchall()
    _check_width(name, len(described))
    return tuple(Column(row[0], row[1]) for row in described), (reader,)


def _json_reader(cursor: Cursor, link: Path, name: str, packed: bool) -> Opened:
    """Values stay JSON, so that a unit's 7 and "7" can be told apart and no first lines decide a type."""
    with _text_file(link, packed, "utf-8-sig") as file:
        is_array = file.read(4096).lstrip().startswith("[")
    options = "format = 'array'" if is_array else "format = 'newline_delimited', ignore_errors = true"
    with _reading(name):
        found = cursor.execute(
            f"SELECT DISTINCT unnest(json_keys(json)) FROM read_json_objects('{link}', {options})"
        ).fetchall()
        first = cursor.execute(f"SELECT json_keys(json) FROM read_json_objects('{link}', {options}) LIMIT 1").fetchall()
    order = {key: place for place, key in enumerate(first[0][0] or [])} if first else {}
    names: dict[str, str] = {}
    for (key,) in sorted(found, key=lambda row: (order.get(row[0], len(order)), row[0])):
        if key and "\x00" not in key:  # DuckDB can name no such column
            names.setdefault(key.casefold(), key)  # and its columns differ by more than case
    if not names:
        raise InputError(f"{name} holds no JSON object; wanted one object a line, or an array of objects")
    _check_width(name, len(names))
    types = ", ".join("'{}': 'JSON'".format(key.replace("'", "''")) for key in names.values())
    reader = f"read_json('{link}', {options}, columns = {{{types}}})"
    return tuple(Column(key, "json") for key in names.values()), (reader,)


_READERS = {"csv": _csv_reader, "parquet": _parquet_reader, "json": _json_reader}
