"""Quantiles of rows and the units behind them, against numpy and the reference file."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from organism.errors import InputError
from organism.stats.compare import difference
from organism.stats.moments import moments
from organism.stats.quantile import quantile_estimate, quantile_reach
from organism.store.quantile_scan import scan_quantiles

# Golden numbers from gbstats 8f1db445.
CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]
}
ROWS = {"variant": "v", "unit": "u", "value": "x"}


@pytest.fixture
def db() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def reference_rows() -> pd.DataFrame:
    inputs = CASES["quantile_clustered"]["inputs"]
    arms = [pd.DataFrame(inputs[arm], columns=["u", "x"]).assign(v=arm) for arm in ("control", "treatment")]
    return pd.concat(arms)


@pytest.mark.parametrize("probability", [0.5, 0.9])
def test_a_clustered_quantile_is_what_growthbook_says(db, probability):
    db.register("rows", reference_rows())
    found = scan_quantiles(
        db, "FROM rows", **ROWS, probability=probability, reach=partial(quantile_reach, probability=probability)
    )
    wanted = next(e for e in CASES["quantile_clustered"]["expected"] if e["call"].endswith(f"_{probability}"))["values"]
    compared = difference(quantile_estimate(found["control"]), quantile_estimate(found["treatment"]), use_t=False)
    assert compared.effect == pytest.approx(wanted["effect"], rel=1e-9)
    assert compared.ci_high - compared.effect == pytest.approx(1.959963984540054 * wanted["se"], rel=1e-9)
    for variant, parts in found.items():
        stat = wanted[f"{variant}_stat"]
        said = (parts.n_rows, parts.estimate, parts.low, parts.high, parts.users.n)
        assert said == pytest.approx(
            (stat["n"], stat["quantile_hat"], stat["quantile_lower"], stat["quantile_upper"], stat["n_clusters"])
        )
        assert parts.users.mean[0] * parts.users.n == pytest.approx(stat["main_sum"])


def test_each_variant_has_the_reach_of_its_own_rows(db):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"v": ["a"] * 400 + ["it's"] * 100, "u": rng.integers(0, 40, 500), "x": rng.gamma(2, 3, 500).round()}
    )
    db.register("rows", frame)
    found = scan_quantiles(db, "FROM rows", **ROWS, probability=0.9, reach=lambda n: 20 / n)
    for variant, reach in (("a", 0.05), ("it's", 0.2)):
        rows = frame[frame.v == variant]
        parts = found[variant]
        wanted = np.quantile(rows.x, [0.9, 0.9 - reach, min(0.9 + reach, 1)])
        assert (parts.estimate, parts.low, parts.high) == pytest.approx(tuple(wanted))
        by_unit = rows.assign(below=rows.x <= wanted[0]).groupby("u").below.agg(["sum", "count"])
        users = moments(by_unit.to_numpy())
        assert parts.users.n == users.n
        assert parts.users.mean == pytest.approx(users.mean)
        assert np.array(parts.users.cross) == pytest.approx(np.array(users.cross))


def test_rows_without_a_value_a_unit_or_a_variant_are_left_out(db):
    db.execute(
        """
        CREATE TABLE rows AS FROM (VALUES ('a', 1, 5.0::DOUBLE), ('a', 2, NULL), ('a', NULL, 6.0), (NULL, 3, 7.0),
            ('a', 4, 'nan'), ('a', 5, 'inf'), ('a', 6, 9.0)) AS t(v, u, x)
        """
    )
    found = scan_quantiles(db, "FROM rows", **ROWS, probability=0.5, reach=lambda n: 0.1)
    assert {name: parts.n_rows for name, parts in found.items()} == {"a": 2}
    assert found["a"].estimate == 7.0


def test_no_rows_are_no_quantiles(db):
    db.execute("CREATE TABLE rows (v VARCHAR, u INTEGER, x DOUBLE)")
    assert scan_quantiles(db, "FROM rows", **ROWS, probability=0.5, reach=lambda n: 0.1) == {}


def test_what_cannot_be_read_is_one_sentence(db):
    with pytest.raises(InputError, match="the rows cannot be read"):
        scan_quantiles(db, "FROM nowhere", **ROWS, probability=0.5, reach=lambda n: 0.1)
