"""One scan of units against numpy over the same rows."""

from collections.abc import Iterator, Sequence

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from organism.errors import InputError
from organism.stats.moments import moments
from organism.store import unit_scan
from organism.store.unit_scan import Scan, scan


@pytest.fixture
def db() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def users(n: int = 400, seed: int = 0, **columns: np.ndarray) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "variant": rng.choice(["A", "B"], n),
            "country": rng.choice(["de", "fr", "us"], n),
            "device": rng.choice(["phone", "desk"], n),
            "y": rng.normal(5, 2, n),
            "x": rng.exponential(3, n),
            "d": rng.integers(1, 9, n),
        }
    )
    return frame.assign(**columns)


def scanned(db: duckdb.DuckDBPyConnection, frame: pd.DataFrame, metrics: dict[str, Sequence[str]], **asked) -> Scan:
    db.register("frame", frame)
    db.execute("CREATE OR REPLACE TEMP TABLE users AS FROM frame")
    return scan(db, "FROM users", variant="variant", metrics=metrics, **asked)


def agrees(found: Scan, frame: pd.DataFrame, metric: str, columns: list[str], rtol: float = 1e-11) -> None:
    """Every cell of the metric holds what numpy says of the same rows."""
    cells = [(key, cell) for key, cell in found.cells.items() if key[0] == metric]
    assert cells
    for (_, variant, segment, value), cell in cells:
        rows = frame[frame.variant == variant]
        if segment is not None:
            rows = rows[rows[segment].isna() if value is None else rows[segment].astype(str) == value]
        table = rows[columns].astype(float).to_numpy()
        wanted = moments(table[np.isfinite(table).all(axis=1)])
        assert cell.n == wanted.n
        np.testing.assert_allclose(cell.mean, wanted.mean, rtol=rtol, atol=1e-12)
        scale = np.sqrt(np.outer(np.diag(wanted.cross), np.diag(wanted.cross)))
        np.testing.assert_allclose(np.array(cell.cross), wanted.cross, rtol=rtol, atol=rtol * scale.max() + 1e-30)


def test_one_scan_brings_every_metric_of_every_variant_and_segment(db):
    frame = users()
    found = scanned(db, frame, {"mean": ["y", "x"], "ratio": ["x", "d", "y"]}, segments=["country"])
    agrees(found, frame, "mean", ["y", "x"])
    agrees(found, frame, "ratio", ["x", "d", "y"])
    assert found.variants == ("A", "B")
    assert found.n_units["A", None, None] == (frame.variant == "A").sum()
    assert found.n_units["B", "country", "fr"] == ((frame.variant == "B") & (frame.country == "fr")).sum()
    assert found.sql.count("GROUP BY") == 1
    assert (found.n_missing, found.n_infinite, found.left_out) == ({}, {}, {})


def test_the_sql_that_is_shown_is_what_ran(db):
    found = scanned(db, users(), {"m": ["y"]}, segments=["country"])
    assert sum(row[3] for row in db.execute(found.sql).fetchall()) == 400


def test_several_segments_agree_whether_grouped_together_or_apart(db, monkeypatch):
    frame = users()
    together = scanned(db, frame, {"m": ["y", "x"]}, segments=["country", "device"])
    assert "GROUPING SETS" not in together.sql
    monkeypatch.setattr(unit_scan, "MAX_CELLS", 3)
    apart = scanned(db, frame, {"m": ["y", "x"]}, segments=["country", "device"])
    assert "GROUPING SETS" in apart.sql
    assert apart.n_units == together.n_units
    for found in (together, apart):
        agrees(found, frame, "m", ["y", "x"])


def test_segments_can_be_named_expressions(db):
    found = scanned(db, users(), {"m": ["y"]}, segments={"big": "d > 4"})
    assert ("m", "A", "big", "true") in found.cells


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e8, -1e8, 1e9])
def test_a_large_mean_costs_no_digits(db, offset):
    frame = users(3000)
    frame["y"] += offset
    found = scanned(db, frame, {"m": ["y", "x"]}, segments=["country"])
    agrees(found, frame, "m", ["y", "x"], rtol=1e-7 if abs(offset) > 1e6 else 1e-11)


def test_a_metric_that_is_tiny_in_one_segment_and_huge_in_another_keeps_its_digits(db):
    frame = users(2000)
    frame["y"] += np.where(frame.country == "us", 1e8, 0)
    found = scanned(db, frame, {"m": ["y"]}, segments=["country"])
    agrees(found, frame, "m", ["y"], rtol=1e-7)


def test_pivots_from_unlike_first_units_do_no_harm(db):
    frame = users(9000).assign(y=np.r_[np.full(4000, 7e8), np.random.default_rng(1).normal(0, 1, 5000)])
    frame["variant"] = np.where(np.arange(9000) < 4000, "A", "B")
    found = scanned(db, frame, {"m": ["y"]})
    assert found.cells["m", "A", None, None].cross[0][0] == 0
    agrees(found, frame, "m", ["y"], rtol=1e-7)


def test_a_constant_has_no_spread_at_all(db):
    frame = users(500)
    frame["y"] = np.where(frame.variant == "A", 0.1, 0.7)
    found = scanned(db, frame, {"m": ["y"], "one": ["1"]}, segments=["country"])
    assert {cell.cross[0][0] for cell in found.cells.values()} == {0.0}


def test_a_share_that_everybody_has_somewhere_needs_no_second_scan(db):
    frame = users(500)
    frame["hit"] = (frame.country == "de") | (frame.y > 5)
    found = scanned(db, frame, {"m": ["hit"]}, segments=["country"])
    assert found.sql.count("GROUP BY") == 1
    agrees(found, frame, "m", ["hit"])


def test_a_metric_keeps_its_own_complete_cases_and_the_others_are_counted(db):
    frame = users(600)
    frame.loc[:99, "y"] = np.nan
    frame.loc[90:120, "x"] = None
    frame.loc[130:139, "x"] = np.inf
    found = scanned(db, frame, {"m": ["y", "x"], "other": ["d"]}, segments=["country"])
    agrees(found, frame, "m", ["y", "x"])
    agrees(found, frame, "other", ["d"])
    assert sum(found.n_missing.values()) == 121
    assert sum(found.n_infinite.values()) == 10
    assert {metric for metric, _ in [*found.n_missing, *found.n_infinite]} == {"m"}
    assert sum(n for (_, segment, _), n in found.n_units.items() if segment is None) == 600


@pytest.mark.parametrize("gap", [None, float("nan"), float("inf"), float("-inf")])
def test_a_gap_after_the_first_units_is_noticed(db, gap):
    frame = users(9000)
    frame["y"] = frame.y.astype(object)
    frame.loc[8999, "y"] = gap
    frame["y"] = frame.y.astype(float)
    found = scanned(db, frame, {"m": ["y"], "other": ["x"]})
    agrees(found, frame, "m", ["y"])
    agrees(found, frame, "other", ["x"])
    assert sum(found.n_missing.values()) + sum(found.n_infinite.values()) == 1


def test_null_in_a_table_is_missing(db):
    db.execute("CREATE TABLE t AS SELECT 'A' AS v, CASE WHEN i < 8990 THEN i END AS y FROM range(9000) AS r(i)")
    found = scan(db, "FROM t", variant="v", metrics={"m": ["y"]})
    assert found.cells["m", "A", None, None].n == 8990
    assert found.n_missing == {("m", "A"): 10}


def test_a_metric_that_nobody_has_holds_no_units(db):
    found = scanned(db, users(50, y=np.full(50, np.nan)), {"m": ["y"]}, segments=["country"])
    assert {cell.n for cell in found.cells.values()} == {0}
    assert sum(found.n_missing.values()) == 50


def test_values_too_large_to_square_are_told_apart_from_figures(db):
    found = scanned(db, users(50, y=np.full(50, 1e200)), {"m": ["y"], "fine": ["x"]})
    assert not np.isfinite(found.cells["m", "A", None, None].cross[0][0])
    assert np.isfinite(found.cells["fine", "A", None, None].cross[0][0])


def test_denominators_below_zero_are_counted(db):
    frame = users(100, d=np.r_[np.full(90, 3), np.full(10, -2)])
    found = scanned(db, frame, {"r": ["y", "d"]}, denominators={"r"})
    assert sum(found.n_negative.values()) == 10
    far = scanned(db, frame.assign(d=1e6 + np.arange(100) % 7), {"r": ["y", "d"]}, denominators={"r"})
    assert "- 100000" in far.sql
    assert far.n_negative == {}


def test_units_without_a_variant_or_a_segment_are_counted(db):
    frame = users(100)
    frame.loc[:9, "variant"] = None
    frame.loc[20:24, "country"] = None
    found = scanned(db, frame, {"m": ["y"]}, segments=["country"])
    assert found.n_without_variant == 10
    assert sum(n for (_, segment, value), n in found.n_units.items() if segment and value is None) == 5
    agrees(found, frame, "m", ["y"])


@pytest.mark.parametrize("labels", [[0, 1], [True, False], [1.5, 2.5], ["a'b", 'c"d']])
def test_variants_of_any_type_become_text(db, labels):
    frame = users(40, variant=np.array(labels * 20))
    found = scanned(db, frame, {"m": ["y"]})
    assert len(found.variants) == 2
    assert all(isinstance(name, str) for name in found.variants)


def test_fifty_variants_are_fifty_arms(db):
    frame = users(5000, variant=np.array([f"v{n % 50}" for n in range(5000)]))
    found = scanned(db, frame, {"m": ["y"]}, segments=["country"])
    assert len(found.variants) == 50
    agrees(found, frame, "m", ["y"])


def test_a_column_of_ids_is_no_variant_and_no_segment(db):
    frame = users(1000, user=np.arange(1000))
    found = scanned(db, frame, {"m": ["y"]}, segments=["user", "country"])
    with pytest.raises(InputError, match="user has 1000 different values"):
        scan(db, "FROM users", variant="user", metrics={"m": ["y"]})
    assert found.left_out == {"user": 1000}
    assert {segment for _, _, segment, _ in found.cells} == {None, "country"}


def test_a_segment_that_grows_beyond_the_first_units_is_left_out_too(db):
    frame = users(9000, late=np.r_[np.zeros(6000), np.arange(3000)])
    found = scanned(db, frame, {"m": ["y"]}, segments=["late", "country"])
    assert set(found.left_out) == {"late"}
    agrees(found, frame, "m", ["y"])


def test_no_units_are_an_empty_scan(db):
    found = scanned(db, users(0), {"m": ["y"]}, segments=["country"])
    assert (found.cells, found.variants) == ({}, ())


def test_without_metrics_the_units_are_counted(db):
    found = scanned(db, users(30), {})
    assert sum(found.n_units.values()) == 30
    assert found.cells == {}


def test_parameters_of_the_relation_are_bound(db):
    scanned(db, users(100), {"m": ["y"]})
    found = scan(
        db, "SELECT * FROM users WHERE country = ?", variant="variant", metrics={"m": ["y"]}, parameters=["de"]
    )
    assert sum(found.n_units.values()) == db.execute("SELECT count(*) FROM users WHERE country = 'de'").fetchall()[0][0]


@pytest.mark.parametrize("column", ["nowhere", "country", "y +"])
def test_what_cannot_be_read_is_one_sentence(db, column):
    with pytest.raises(InputError, match="the units cannot be read") as caught:
        scanned(db, users(50), {"m": [column]})
    assert "\n" not in str(caught.value)


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=60),
    offset=st.sampled_from([0.0, 1e8]),
)
def test_any_values_agree_with_numpy(values, offset):
    kept = [None if value is None else value + offset for value in values]
    frame = pd.DataFrame({"variant": ["A", "B", "B"] * 20})[: len(kept)].assign(y=np.array(kept, dtype=float))
    with duckdb.connect() as connection:
        found = scanned(connection, frame, {"m": ["y"]})
    for variant in found.variants:
        rows = frame.y[(frame.variant == variant) & frame.y.notna()].to_numpy()
        cell, wanted = found.cells["m", variant, None, None], moments(rows[:, None])
        assert cell.n == wanted.n
        # Half the last digit of the largest value is as near as doubles come.
        nearest = np.abs(rows).max(initial=1) * 2.0**-50
        assert cell.mean[0] == pytest.approx(wanted.mean[0], abs=4 * nearest)
        room = len(rows) * nearest * (np.sqrt(wanted.cross[0][0]) + nearest) * 8
        assert cell.cross[0][0] == pytest.approx(wanted.cross[0][0], rel=1e-9, abs=room)
