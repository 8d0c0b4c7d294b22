"""The SQL that sums units: which sums a metric needs, and where each stands in the answer."""

from collections.abc import Collection, Sequence
from typing import NamedTuple


class Way(NamedTuple):
    """How one metric is summed: its columns, and a pivot each that is taken off first.

    `guarded` sums complete cases only, row by row; `one_pass` takes DuckDB's means and covariances in place of sums.
    """

    metric: str
    columns: tuple[str, ...]
    pivots: tuple[float, ...]
    guarded: bool = False
    one_pass: bool = False

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The products that are needed: of the metric's own columns only."""
        return [(i, j) for i in range(len(self.columns)) for j in range(i, len(self.columns))]


class Places(NamedTuple):
    """Where a metric's figures stand after the labels: 0 is the number of units.

    A guarded metric has `n`, its complete units, and `present`, those with no value missing; any other has `counts`, a
    column's units each (which DuckDB's statistics answer where they know of no NULL).
    """

    n: int | None
    counts: tuple[int, ...]
    first: tuple[int, ...]
    second: tuple[int, ...]
    present: int | None
    negative: int | None


class Query(NamedTuple):
    """A query; its rows begin with the variant, a value a segment, the grouping set's mark and the number of units."""

    sql: str
    places: dict[str, Places]
    n_figures: int


class _Select:
    """Expressions of a SELECT list, each once, by its place."""

    def __init__(self, prefix: str, first: int = 0) -> None:
        self.prefix, self.first, self.at = prefix, first, dict[str, int]()

    def add(self, expression: str) -> str:
        return f"{self.prefix}{self.place(expression) - self.first}"

    def place(self, expression: str) -> int:
        return self.first + self.at.setdefault(expression, len(self.at))

    @property
    def text(self) -> str:
        return "".join(f",\n    {expression} AS {self.prefix}{n}" for expression, n in self.at.items())


def sum_query(
    relation: str,
    variant: str,
    segments: Sequence[str],
    sets: Sequence[Sequence[int]],
    ways: Sequence[Way],
    denominators: Collection[str],
) -> Query:
    """The one GROUP BY, by variant and the `sets` of segments (places in `segments`; one empty set without any)."""
    values, sums = _Select("x"), _Select("a", first=1)
    places = {way.metric: _places(way, way.metric in denominators, values, sums) for way in ways}
    keys = "".join(f", s{i}" for i in range(len(segments)))
    labels = "".join(f", s{i}::VARCHAR AS s{i}" for i in range(len(segments)))
    derived = "".join(f",\n    ({segment}) AS s{i}" for i, segment in enumerate(segments))
    mark = f"grouping({keys[2:]})" if len(sets) > 1 else "0"
    sql = (
        f"SELECT v::VARCHAR AS v{labels}, {mark} AS mark, count(*) AS n{sums.text}\n"
        f"FROM (SELECT ({variant}) AS v{derived}{values.text}\n  FROM ({relation}) AS units) AS pivoted\n"
        f"GROUP BY {_grouping(sets, keys)}"
    )
    return Query(sql, places, 1 + len(sums.at))


def sample_query(relation: str, variant: str, segments: Sequence[str], columns: Sequence[str], n: int) -> str:
    """The first n units: their variant v and segments s0, s1, ... as text, and the columns' values x0, x1, ..."""
    derived = "".join(f", ({segment})::VARCHAR AS s{i}" for i, segment in enumerate(segments))
    values = "".join(f", ({column})::DOUBLE AS x{i}" for i, column in enumerate(columns))
    return f"SELECT ({variant})::VARCHAR AS v{derived}{values} FROM ({relation}) AS units LIMIT {n}"


def _grouping(sets: Sequence[Sequence[int]], keys: str) -> str:
    if len(sets) == 1:
        return f"v{keys}"
    return f"GROUPING SETS ({', '.join('(' + ', '.join(['v', *(f's{i}' for i in one)]) + ')' for one in sets)})"


def _values(way: Way, values: _Select) -> list[str]:
    """The names of the metric's values in the inner SELECT."""
    complete = " AND ".join(f"isfinite(({column})::DOUBLE)" for column in way.columns)
    names = []
    for column, pivot in zip(way.columns, way.pivots, strict=True):
        value = f"({column})::DOUBLE" + (f" - {literal(pivot)}" if pivot else "")
        names.append(values.add(f"CASE WHEN {complete} THEN {value} END" if way.guarded else value))
    return names


def _places(way: Way, divides: bool, values: _Select, sums: _Select) -> Places:
    names = _values(way, values)
    if way.one_pass:
        first, second = "avg({})", "covar_pop({}, {})"
    else:
        first, second = "sum({})", "sum({} * {})"
    present = None
    if way.guarded:
        lacks = " OR ".join(f"isnan(({column})::DOUBLE)" for column in way.columns)
        present = sums.place(f"count({values.add(f'CASE WHEN NOT ({lacks}) THEN 1 END')})")
    negative = sums.place(f"count(*) FILTER ({names[1]} < {literal(-way.pivots[1])})") if divides else None
    return Places(
        n=sums.place(f"count({names[0]})") if way.guarded else None,
        counts=() if way.guarded else tuple(sums.place(f"count({name})") for name in names),
        first=tuple(sums.place(first.format(name)) for name in names),
        second=tuple(sums.place(second.format(names[i], names[j])) for i, j in way.pairs),
        present=present,
        negative=negative,
    )


def literal(number: float) -> str:
    """A DOUBLE that DuckDB reads back to the last bit; without an exponent it would be a DECIMAL."""
    text = repr(float(number))
    return text if "e" in text else f"{text}e0"
