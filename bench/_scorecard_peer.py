"""The peer's side of `bench.scorecard`, run by the peer's own Python: a line `DOOR` in, a line of JSON out.

Doors of tea-tasting to a DuckDB table: `ibis` (an ibis table) and `relation` (a DuckDB relation, by narwhals).
Imports nothing of this repository.
"""

import importlib.metadata
import json
import sys
import time

import duckdb
import ibis
import tea_tasting as tt

METRICS = {"spend": "pre_spend", "seconds": "pre_seconds", "accepted": "pre_accepted"}


def main(file: str) -> None:
    """Answer until the input ends: first the versions, then by door the seconds and figures of a scorecard."""
    connections = {"ibis": ibis.duckdb.connect(file, read_only=True), "relation": duckdb.connect(file, read_only=True)}
    experiment = tt.Experiment(
        **{name: tt.Mean(name, covariate) for name, covariate in METRICS.items()},
        split=tt.SampleRatio(correction=False),
    )
    names = ("tea-tasting", "duckdb", "ibis-framework")
    print(json.dumps({name: importlib.metadata.version(name) for name in names}), flush=True)
    control = connections["relation"].table("users").min("variant").fetchall()[0][0]
    for line in sys.stdin:
        connection = connections[line.strip()]
        began = time.perf_counter()
        result = experiment.analyze(connection.table("users"), control)
        found = {name: (result[name].effect_size, result[name].pvalue) for name in METRICS}
        split = result["split"].pvalue
        took = time.perf_counter() - began
        print(json.dumps({"seconds": took, "metrics": found, "split": split}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
