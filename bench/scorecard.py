"""Seconds of a whole scorecard in DuckDB: `python -m bench.scorecard [--rows N …] [--repetitions N] [--peer PYTHON]`.

Two variants, three metrics with a CUPED covariate each, the test of the split, and 20 segments of each metric, over
a DuckDB file of one row a user. Timed from the table to the finished read-out. The floor is one plain GROUP BY of the
same table, by the same variant and segment, that counts and only sums the same six columns: the scorecard may take
1.5 times that. The peer is tea-tasting's scorecard without segments on the same file, in a Python of its own; ours
without segments must be twice as fast. All take turns, so that a busy machine is busy for all: a ratio is the median
of the ratios within a turn. Seconds are told as the smallest and the median, and a limit in seconds is on the smallest.

The peer's Python: `python -m venv bench/.tea && bench/.tea/bin/pip install tea-tasting==1.14.0 ibis-framework[duckdb]`,
or any with both by --peer. Without one the peer is left out, and the output says so.
"""

import argparse
import contextlib
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import duckdb
import psutil

from organism.experiment.metrics import Metric, MetricKind, columns_of
from organism.experiment.readout import Readout, read_out
from organism.store.unit_scan import scan

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "scorecard.json"
PEER = HERE / ".tea" / "bin" / "python"
MOST_TO_FLOOR = 1.5
LEAST_TO_PEER = 2.0
# With fewer users the planning of a query and the arithmetic of the read-out outweigh the scan.
MANY = 10_000_000
MOST_SECONDS = {1_000_000: 0.15}
TOLERANCE = 1e-7
METRICS = tuple(
    Metric(name=name, kind=MetricKind.MEAN, columns=(name,), covariates=(f"pre_{name}",))
    for name in ("spend", "seconds", "accepted")
)
# How the table writes a variant and a segment: text is what a file of a team holds.
CONTROL = {"text": "control", "enum": "control", "integer": "0"}


class Limit(NamedTuple):
    """A figure and what was wanted of it."""

    name: str
    value: float
    wanted: str
    met: bool


Seconds = dict[str, list[float]]


def make(file: Path, rows: int, labels: str) -> None:
    """The same users on any machine: every number is a hash of the user's."""

    def uniform(seed: int) -> str:
        return f"((hash(i, {seed}) >> 11) / 9007199254740992.0)"

    def normal(seed: int) -> str:
        return f"(sqrt(-2 * ln(1 - {uniform(seed)})) * cos(2 * pi() * {uniform(seed + 1)}))"

    words = {"variant": "if(v = 0, 'control', 'treatment')", "segment": "'country ' || s"}
    numbers = {"variant": "v::TINYINT", "segment": "s::TINYINT"}
    told = numbers if labels == "integer" else words
    with duckdb.connect(str(file)) as connection:
        if labels == "enum":
            connection.execute("CREATE TYPE variants AS ENUM ('control', 'treatment')")
            connection.execute(f"CREATE TYPE segments AS ENUM ({', '.join(repr(f'country {s}') for s in range(20))})")
            told = {"variant": f"({words['variant']})::variants", "segment": f"({words['segment']})::segments"}
        connection.execute(
            f"""
            CREATE TABLE users AS
            WITH drawn AS (
                SELECT i, hash(i) % 2 AS v, hash(i + 7) % 20 AS s, {normal(1)} AS habit, {normal(3)} AS luck,
                    {normal(5)} AS pace, {normal(7)} AS day, {uniform(9)} AS skill, {uniform(10)} AS chance
                FROM range({rows}) AS users(i)
            )
            SELECT i AS user_id, {told["variant"]} AS variant, {told["segment"]} AS segment,
                20 + 6 * habit + 0.02 * v AS spend, 18 + 5 * habit + 4 * luck AS pre_spend,
                exp(6 + 0.4 * pace + 0.2 * day) AS seconds, exp(6 + 0.4 * pace) AS pre_seconds,
                (chance < 0.2 + 0.5 * skill + 0.001 * v)::DOUBLE AS accepted, skill AS pre_accepted
            FROM drawn
            """
        )


def ours(connection: duckdb.DuckDBPyConnection, control: str, segments: Sequence[str]) -> Readout:
    """The whole scorecard, as the product reads it."""
    found = scan(connection, "FROM users", variant="variant", metrics=columns_of(METRICS), segments=segments)
    return read_out(found, METRICS, control=control)


def floor(connection: duckdb.DuckDBPyConnection, keys: str) -> None:
    """Only the sums, of the same columns, by the same columns."""
    sums = ", ".join(f"sum({column})" for own in columns_of(METRICS).values() for column in own)
    connection.execute(f"SELECT {keys}, count(*), {sums} FROM users GROUP BY {keys}").fetchall()


def timed(work: Callable[[], Any]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@contextlib.contextmanager
def peer(python: Path, file: Path) -> Iterator[Callable[[str], dict[str, Any]]]:
    """A process of the peer with the file open; called with a door it answers with seconds and figures."""
    command = [str(python), str(HERE / "_scorecard_peer.py"), str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        sent, got = child.stdin, child.stdout
        if sent is None or got is None or not (first := got.readline()):
            raise SystemExit(f"{python} cannot run tea-tasting; see the head of bench/scorecard.py")

        def ask(door: str) -> dict[str, Any]:
            print(door, file=sent, flush=True)
            return json.loads(got.readline())

        print(f"  peer: {first.strip()}")
        yield ask
        sent.close()


def measure(file: Path, control: str, repetitions: int, python: Path | None) -> Seconds:
    """All contestants in turn, once unmeasured and then `repetitions` times."""
    seconds: Seconds = {}
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(duckdb.connect(str(file), read_only=True))
        turns: dict[str, Callable[[], float]] = {
            "floor, with segments": lambda: timed(lambda: floor(connection, "variant, segment")),
            "scorecard, with segments": lambda: timed(lambda: ours(connection, control, ["segment"])),
            "floor": lambda: timed(lambda: floor(connection, "variant")),
            "scorecard": lambda: timed(lambda: ours(connection, control, [])),
        }
        if python:
            ask = stack.enter_context(peer(python, file))
            compare(ours(connection, control, []), ask("ibis"))
            turns |= {f"tea-tasting, {door}": lambda door=door: ask(door)["seconds"] for door in ("ibis", "relation")}
        for repetition in range(repetitions + 1):
            for name, turn in turns.items():
                took = turn()
                if repetition:
                    seconds.setdefault(name, []).append(took)
    return seconds


def ratio(seconds: Seconds, upper: str, lower: str) -> float:
    """The median over turns of one contestant's seconds to another's."""
    return median(a / b for a, b in zip(seconds[upper], seconds[lower], strict=True))


def compare(found: Readout, other: Mapping[str, Any]) -> None:
    """Stop when the peer finds other effects or p-values: then the times would compare different things."""
    pairs = [(found.srm.p_value, other["split"])]
    for result in found.metrics:
        pairs += zip((result.effect, result.p_value), other["metrics"][result.metric], strict=True)
    if wrong := [(a, b) for a, b in pairs if a is None or abs(a - b) > TOLERANCE * abs(b) + 1e-12]:
        raise SystemExit(f"the peer's figures differ from ours: {wrong}")


def judged(rows: int, seconds: Seconds) -> list[Limit]:
    """The figures that have a limit."""
    found = []
    if rows >= MANY:
        to_floor = ratio(seconds, "scorecard, with segments", "floor, with segments")
        is_met = to_floor <= MOST_TO_FLOOR
        found.append(Limit("scorecard to floor, with segments", to_floor, f"<= {MOST_TO_FLOOR}", is_met))
    doors = [name for name in seconds if name.startswith("tea-tasting")]
    if doors and rows >= MANY:
        to_peer = min(ratio(seconds, door, "scorecard") for door in doors)
        found.append(Limit("tea-tasting to scorecard", to_peer, f">= {LEAST_TO_PEER}", to_peer >= LEAST_TO_PEER))
    if most := MOST_SECONDS.get(rows):
        least = min(seconds["scorecard, with segments"])
        found.append(Limit("seconds, with segments", least, f"< {most}", least < most))
    return found


def run(rows: int, labels: str, repetitions: int, python: Path | None) -> dict[str, Any]:
    """Make the table, measure, print; what is kept of it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "users.duckdb"
        make(file, rows, labels)
        print(f"{rows:,} users, labels as {labels}", flush=True)
        before = psutil.getloadavg()[0]
        seconds = measure(file, CONTROL[labels], repetitions, python)
    limits = judged(rows, seconds)
    for name, each in seconds.items():
        print(f"  {name:<26}{min(each):8.4f} s least{median(each):9.4f} s median")
    for limit in limits:
        print(f"  {limit.name}: {limit.value:.3g}, wanted {limit.wanted}: {'met' if limit.met else 'MISSED'}")
    print(f"  load of the machine {before:.1f} before, {psutil.getloadavg()[0]:.1f} after", flush=True)
    return {
        "rows": rows,
        "labels": labels,
        "repetitions": repetitions,
        "seconds": {
            name: {"least": round(min(each), 4), "median": round(median(each), 4)} for name, each in seconds.items()
        },
        "limits": [limit._asdict() | {"value": round(limit.value, 3)} for limit in limits],
        "load": [round(before, 1), round(psutil.getloadavg()[0], 1)],
    }


def main() -> int:
    """Print the figures; returns 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--labels", choices=tuple(CONTROL), nargs="+", default=["text"])
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--peer", type=Path, default=PEER if PEER.exists() else None, help="a Python with tea-tasting")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in bench/{RESULTS.name}")
    asked = parser.parse_args()
    if asked.peer is None:
        print("no Python with tea-tasting was found, so the peer is left out (see --peer)")
    runs = [run(rows, labels, asked.repetitions, asked.peer) for rows in asked.rows for labels in asked.labels]
    if asked.write:
        RESULTS.write_text(json.dumps({"machine": machine(), "runs": runs}, indent=1) + "\n")
    return int(not all(limit["met"] for one in runs for limit in one["limits"]))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {"cores": psutil.cpu_count(), "python": platform.python_version(), "duckdb": duckdb.__version__}


if __name__ == "__main__":
    sys.exit(main())
