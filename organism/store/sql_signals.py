"""A team's SQL expression over one interaction: understood, written anew, and tried in a database of its own.

The text of a stranger never runs. DuckDB parses it, the tree is checked against what is allowed here, and new SQL
is written from that tree alone. Only expressions of one row are left: no query, no function that reads a
file, none whose answer can grow beyond its input.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from threading import Timer
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from organism.errors import DesignError
from organism.store import feedback, interactions
from organism.store.signal_definitions import SIGNALS

MAX_CHARS = 1000
MAX_NODES = 200
MAX_SECONDS = 5.0
NOUNS = {"interaction": tuple(interactions.SCHEMA.names), "feedback": tuple(feedback.SCHEMA.names)}
_LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "memory_limit": "512MB",
    "threads": "1",
    "lock_configuration": "true",
}
_COMPARISONS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_DISTINCT_FROM": "IS DISTINCT FROM",
    "COMPARE_NOT_DISTINCT_FROM": "IS NOT DISTINCT FROM",
}
_INFIX = frozenset({"+", "-", "*", "/", "//", "%", "^", "**", "->>", "~~", "!~~", "~~*", "!~~*"})
_FUNCTIONS = frozenset(
    "abs ceil ceiling floor round trunc sign sqrt cbrt exp ln log log2 log10 pow power greatest least nullif "
    "if isfinite isinf isnan length strlen lower upper trim ltrim rtrim contains starts_with prefix ends_with "
    "suffix substr substring left right strpos instr regexp_matches regexp_full_match date_part datepart "
    "date_diff datediff date_trunc epoch epoch_ms year month day hour minute dayofweek isodow week "
    "json_extract_string to_days to_hours to_minutes to_seconds".split()
)
_TYPES = frozenset(
    "BOOLEAN TINYINT SMALLINT INTEGER BIGINT UTINYINT USMALLINT UINTEGER UBIGINT FLOAT DOUBLE VARCHAR DATE "
    "TIMESTAMP".split()
)
_SHORT_TYPES = {
    "BOOL": "BOOLEAN",
    "INT": "INTEGER",
    "LONG": "BIGINT",
    "REAL": "FLOAT",
    "FLOAT8": "DOUBLE",
    "TEXT": "VARCHAR",
    "STRING": "VARCHAR",
}
_NUMBERS = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL.*|BOOLEAN)$")
_NUMBER = re.compile(r"-?[0-9.]{1,40}([eE][+-]?[0-9]{1,3})?$")

Node = Mapping[str, Any]


class Compiled(NamedTuple):
    """SQL over the columns of `wide_sql`, and which of them it reads."""

    sql: str
    columns: tuple[str, ...]


class Trial(NamedTuple):
    """What an expression gave on some real rows, and how long it took."""

    n_rows: int
    n_present: int
    seconds: float


@lru_cache(maxsize=256)
def compile_expression(expression: str) -> Compiled:
    """The expression written anew; raises DesignError with a sentence for anything that is not allowed."""
    if not expression.strip():
        raise DesignError("the expression is empty; write one, such as length(interaction.output) < 200")
    if len(expression) > MAX_CHARS:
        raise DesignError(f"the expression has {len(expression):,} characters; at most {MAX_CHARS:,} are taken")
    compiler = _Compiler()
    sql = compiler.write(_parse(expression))
    return Compiled(sql, tuple(sorted(compiler.columns)))


def try_expression(name: str, compiled: Compiled, types: Mapping[str, str], rows: pa.Table) -> Trial:
    """Run it on these rows in a locked database in memory; raises DesignError when it gives no usable number.

    `rows` holds the columns that it reads, as text where Arrow has no such type; `types` their types in DuckDB.
    """
    what = f"signal {name}"  # So that a message that begins with it keeps the name as it is.
    with duckdb.connect(":memory:", config=_LOCKED) as connection:
        columns = ", ".join(f'"{column}" {types[column]}' for column in compiled.columns)
        connection.execute(f"CREATE TABLE sample (row_number BIGINT{', ' + columns if columns else ''})")
        connection.register("incoming", rows)
        connection.execute("INSERT INTO sample BY NAME SELECT * FROM incoming")
        timer = Timer(MAX_SECONDS, connection.interrupt)
        timer.start()
        try:
            return _tried(connection, what, compiled.sql)
        except duckdb.Error as error:
            raise DesignError(_failure(what, error)) from error
        finally:
            timer.cancel()


def _tried(connection: duckdb.DuckDBPyConnection, name: str, sql: str) -> Trial:
    found = str(connection.execute(f"DESCRIBE SELECT {sql} AS x FROM sample").fetchall()[0][1])
    if not _NUMBERS.match(found):
        raise DesignError(
            f"{name} gives {'text' if found in ('VARCHAR', 'JSON') else found}; a signal is a number or true/false: "
            "compare it with something, or CAST(... AS DOUBLE)"
        )
    began = time.perf_counter()
    ((n_rows, n_present, n_odd),) = connection.execute(
        "SELECT count(*), count(x), count(*) FILTER (NOT isfinite(x)) "
        f"FROM (SELECT CAST({sql} AS DOUBLE) AS x FROM sample)"
    ).fetchall()
    if n_odd:
        raise DesignError(
            f"{name} is infinite or not a number on {n_odd:,} of {n_rows:,} interactions tried, as when something is "
            "divided by zero; write x / nullif(y, 0), so that it is missing there"
        )
    return Trial(n_rows, n_present, time.perf_counter() - began)


def _failure(name: str, error: duckdb.Error) -> str:
    said = str(error).strip().splitlines()[0]
    if isinstance(error, duckdb.InterruptException):
        return f"{name} took more than {MAX_SECONDS:.0f} s on a sample of interactions; write it more simply"
    if "Division by zero" in said:
        return f"{name} divides by zero on some interactions; write x // nullif(y, 0), so that it is missing there"
    if isinstance(error, duckdb.ConversionException):
        return (
            f"{name} fails on some interactions ({said[:160]}); write TRY_CAST in place of CAST, so that it is "
            "missing there"
        )
    return f"{name} does not work on the interactions ({said[:200]}); mend the expression"


def _parse(expression: str) -> Node:
    """The one expression's tree. Whatever more than one expression the text holds is refused."""
    with duckdb.connect(":memory:", config=_LOCKED) as connection:
        written = [
            connection.execute("SELECT json_serialize_sql(?)", [f"SELECT ({text}\n)"]).fetchall()[0][0]
            for text in ("1", expression)
        ]
    try:
        wanted, found = (json.loads(text) for text in written)
    except RecursionError as error:
        raise DesignError("the expression is nested too deeply; write it more simply") from error
    if found.get("error"):
        raise DesignError(
            f"the expression cannot be read: {str(found.get('error_message')).splitlines()[0]}; write one SQL "
            "expression, such as CAST(interaction.attributes->>'score' AS DOUBLE)"
        )
    node, empty = found["statements"][0]["node"], wanted["statements"][0]["node"]
    only_list = all(node.get(key) == empty.get(key) for key in node.keys() | empty.keys() if key != "select_list")
    if len(found["statements"]) != 1 or not only_list or len(node["select_list"]) != 1:
        raise DesignError("found a query; wanted one expression over one interaction, without SELECT, FROM or a comma")
    tree: Node = node["select_list"][0]
    return tree


class _Compiler:
    """Writes SQL from a checked tree; every kind of node that is not named here is refused."""

    def __init__(self) -> None:
        self.columns: set[str] = set()
        self._n_nodes = 0

    def write(self, node: Node) -> str:
        self._n_nodes += 1
        if self._n_nodes > MAX_NODES:
            raise DesignError(f"the expression has more than {MAX_NODES} parts; write it more simply")
        match node["class"]:
            case "CONSTANT":
                return _constant(node["literal"])
            case "COLUMN_REF":
                return self._column([str(name).lower() for name in node["column_names"]])
            case "CAST":
                return self._cast(node)
            case "CASE":
                return self._case(node)
            case "COMPARISON" if node["type"] in _COMPARISONS:
                return f"({self.write(node['left'])} {_COMPARISONS[node['type']]} {self.write(node['right'])})"
            case "BETWEEN":
                value, lower, upper = (self.write(node[part]) for part in ("input", "lower", "upper"))
                return f"({value} BETWEEN {lower} AND {upper})"
            case "CONJUNCTION":
                word = " AND " if node["type"] == "CONJUNCTION_AND" else " OR "
                return f"({word.join(self.write(child) for child in node['children'])})"
            case "OPERATOR":
                return self._operator(node["type"], [self.write(child) for child in node["children"]])
            case "FUNCTION":
                return self._function(node)
            case kind:
                raise DesignError(
                    f"found {_WORDS.get(kind, kind.lower())}; a signal is computed from one interaction and its answer "
                    "alone: use arithmetic, comparisons, CASE, CAST and simple functions"
                )

    def _column(self, names: list[str]) -> str:
        match names:
            case [signal] if signal in SIGNALS:
                column = signal
            case [noun, field] if field in NOUNS.get(noun, ()):
                column = f"{noun}.{field}"
            case _:
                raise DesignError(_unknown_column(names))
        self.columns.add(column)
        return f'"{column}"'

    def _cast(self, node: Node) -> str:
        found = str(node["type_expr"].get("type_name")).upper()
        wanted = _SHORT_TYPES.get(found, found)
        if wanted not in _TYPES or node["type_expr"].get("children"):
            raise DesignError(f"found a cast to {found}; cast to one of: {', '.join(sorted(_TYPES))}")
        return f"{'TRY_CAST' if node['try_cast'] else 'CAST'}({self.write(node['child'])} AS {wanted})"

    def _case(self, node: Node) -> str:
        whens = " ".join(
            f"WHEN {self.write(check['when_expr'])} THEN {self.write(check['then_expr'])}"
            for check in node["case_checks"]
        )
        return f"CASE {whens} ELSE {self.write(node['else_expr'])} END"

    def _operator(self, kind: str, parts: list[str]) -> str:
        match kind:
            case "OPERATOR_NOT":
                return f"(NOT {parts[0]})"
            case "OPERATOR_IS_NULL":
                return f"({parts[0]} IS NULL)"
            case "OPERATOR_IS_NOT_NULL":
                return f"({parts[0]} IS NOT NULL)"
            case "OPERATOR_COALESCE":
                return f"coalesce({', '.join(parts)})"
            case "OPERATOR_TRY":
                return f"TRY({parts[0]})"
            case "COMPARE_IN" | "COMPARE_NOT_IN":
                word = "IN" if kind == "COMPARE_IN" else "NOT IN"
                return f"({parts[0]} {word} ({', '.join(parts[1:])}))"
        raise DesignError(f"found {kind.lower()}; use arithmetic, comparisons, CASE, CAST and simple functions")

    def _function(self, node: Node) -> str:
        name = str(node["function_name"]).lower()
        plain = not (node["schema"] or node["catalog"] or node["distinct"] or node["filter"])
        if name not in _FUNCTIONS | _INFIX or not plain or node["order_bys"]["orders"]:
            raise DesignError(
                f"found the function {name}, which a signal cannot use; there are: {', '.join(sorted(_FUNCTIONS))}"
            )
        if name in ("->>", "json_extract_string"):
            _check_path(node["arguments"][-1]["expression"])
        if name.startswith("regexp_"):
            _check_pattern(node["arguments"][1:2])
        parts = [self.write(argument["expression"]) for argument in node["arguments"]]
        if name not in _INFIX:
            return f"{name}({', '.join(parts)})"
        return f"({parts[0]} {name} {parts[1]})" if len(parts) == 2 else f"({name} {parts[0]})"


_WORDS = {
    "SUBQUERY": "a query inside the expression",
    "STAR": "a star",
    "WINDOW": "a window function",
    "LAMBDA": "the arrow -> (write ->> for a field of JSON)",
    "PARAMETER": "a parameter",
}


def _constant(literal: Node) -> str:
    kind, text = literal["kind"], str(literal["text"])
    if kind == "NULL_LITERAL":
        return "NULL"
    if kind == "BOOLEAN" and text in ("true", "false"):
        return text
    if kind == "STRING":
        return "'" + text.replace("'", "''") + "'"
    if kind in ("INTEGER", "NUMERIC") and _NUMBER.match(text):
        return f"({text})" if text.startswith("-") else text
    raise DesignError(f"found {text[:40]!r}; write numbers such as 0.5, texts such as 'yes', true, false or NULL")


def _check_path(path: Node) -> None:
    """A wildcard's answer can be far longer than the document, so a path is one fixed place."""
    literal = path.get("literal", {})
    if literal.get("kind") not in ("STRING", "INTEGER") or "*" in literal["text"] or ".." in literal["text"]:
        raise DesignError("found no fixed name of a field; write it as in interaction.attributes->>'score'")


def _check_pattern(arguments: Sequence[Node]) -> None:
    """A pattern out of the events is read anew for each row; one of 20,000 letters took 1.8 s, so one can stop all."""
    for argument in arguments:
        if argument["expression"].get("literal", {}).get("kind") != "STRING":
            raise DesignError("found a pattern that is no fixed text; write it as in interaction.output ~ '^Dear'")


def _unknown_column(names: list[str]) -> str:
    found = ".".join(names)
    if names[0] in NOUNS and len(names) > 1:
        if len(names) > 2 and names[1] == "attributes":
            return f"found {found}; write interaction.attributes->>'{names[2]}'"
        return f"found {found}; {names[0]} has: {', '.join(NOUNS[names[0]])}"
    return f"found {found}; write interaction.X, feedback.X, or one of: {', '.join(SIGNALS)}"
