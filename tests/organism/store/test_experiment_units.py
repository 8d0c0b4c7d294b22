"""An experiment's sums against the same sums by pandas, user by user."""

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from organism.errors import DesignError
from organism.records import RewardDesign, SignalSpec, Variant
from organism.stats.moments import moments
from organism.store.experiment_tables import Ask, row_columns, utility_columns
from organism.store.experiment_units import read_primary, read_sums
from organism.store.experiments import insert_experiment, read_experiment

START = datetime(2026, 9, 7)
VARIANTS = ("base", "a", "b")
KEPT = "retained_char_rate"


@pytest.fixture
def experiment(store, events):
    row = {"experiment_id": "e", "loop_id": events.loop_id, "name": "n", "started_at": START, "is_synthetic": True}
    insert_experiment(store, row, [Variant(name=name, share=1 / 3) for name in VARIANTS], {})
    return read_experiment(store, "e")


@pytest.fixture
def lived(events) -> pd.DataFrame:
    """Three variants, 45 users, up to 30 days of interactions, some without an answer, and a past of most users."""
    rng = np.random.default_rng(4)
    rows = []
    for n in range(45):
        user, variant = f"u{n:02}", VARIANTS[n % 3]
        first = rng.integers(0, 12)
        for _ in range(rng.integers(1, 9)):
            at = START + timedelta(days=float(first) + rng.exponential(6), minutes=int(rng.integers(0, 60)))
            kept = int(rng.integers(20, 90)) if rng.random() < 0.8 else None
            rows.append((user, variant, at, kept, float(rng.normal(500, 90))))
    frame = pd.DataFrame(rows, columns=["user", "variant", "at", "kept", "latency"]).sort_values("at")
    for row in frame.itertuples():
        number = int(row.user[1:])
        sent = {
            "attributes": f'{{"plan": "{("gold", "silver")[number % 2]}"}}',
            "region": "north" if number < 20 else None,
        }
        identity = events.draft(
            row.user, row.at, experiment_id="e", variant_id=row.variant, latency_ms=row.latency, **sent
        )
        if not np.isnan(row.kept):
            events.answer(identity, at=row.at, retained_chars=int(row.kept))
    for n in range(30):
        events.answered(f"u{n:02}", 40 + n, START - timedelta(days=3), variant_id="old")
        events.answered(f"u{n:02}", 99, START - timedelta(days=40), variant_id="old")
    events.write()
    return frame


def asked(store, loop_id, **changes):
    columns = row_columns(store, loop_id, [KEPT, "latency_ms"], None)
    ask = Ask(columns, {"latency_ms.p50": ("latency_ms", 0.5)}, {KEPT: columns[KEPT]}, ("region", "plan"), (), KEPT)
    return ask._replace(**changes)


def by_user(frame: pd.DataFrame, variant: str) -> pd.DataFrame:
    known = frame[(frame["variant"] == variant) & frame["kept"].notna()]
    return known.groupby("user")["kept"].agg(num="sum", den=lambda kept: 100.0 * len(kept))


def test_metrics_are_the_moments_of_sums_by_user_with_their_past(store, events, experiment, lived):
    found = read_sums(store, experiment, asked(store, events.loop_id))
    for variant in VARIANTS:
        users = by_user(lived, variant)
        past = [40 + int(user[1:]) if int(user[1:]) < 30 else 0 for user in users.index]
        wanted = moments(np.column_stack([users["num"], users["den"], past, [100 * (kept > 0) for kept in past]]))
        assert found.metrics[KEPT][variant].n == wanted.n
        assert found.metrics[KEPT][variant].mean == pytest.approx(wanted.mean, rel=1e-12)
        assert np.array(found.metrics[KEPT][variant].cross) == pytest.approx(np.array(wanted.cross), rel=1e-9, abs=1e-6)
    assert found.n_users == dict.fromkeys(VARIANTS, 15)
    assert found.n_with_past == 30
    assert found.n_interactions == len(lived)


def test_each_day_ends_with_the_moments_of_all_that_users_did_until_then(store, events, experiment, lived):
    found = read_sums(store, experiment, asked(store, events.loop_id))
    days = sorted({part.day for part in found.days})
    assert days == sorted({at.normalize() for at in lived.loc[lived["kept"].notna(), "at"]})
    for part in found.days:
        users = by_user(lived[lived["at"] < part.day + timedelta(days=1)], part.variant)
        wanted = moments(users.to_numpy(dtype=float))
        assert part.moments.n == wanted.n
        assert part.moments.mean[:2] == pytest.approx(wanted.mean, rel=1e-10)
        assert np.array(part.moments.cross)[:2, :2] == pytest.approx(np.array(wanted.cross), rel=1e-8, abs=1e-5)
    last = found.days[-1]
    assert last.moments.mean == pytest.approx(found.metrics[KEPT][last.variant].mean)
    assert sum(found.looks[-1].n_users.values()) == 45
    assert sum(found.looks[-1].n_interactions.values()) == len(lived)


def test_periods_since_exposure_are_each_users_own(store, events, experiment, lived):
    found = read_sums(store, experiment, asked(store, events.loop_id)).periods
    first = lived.groupby("user")["at"].transform("min")
    told = lived.assign(period=((lived["at"] - first) // timedelta(days=1)) // found.days).dropna(subset=["kept"])
    for part in found.parts:
        mine = told[told["variant"] == part.variant]
        for period, ratio in enumerate(part.ratios):
            here = mine[mine["period"] == period]
            assert part.n_users[period] == here["user"].nunique()
            assert ratio == (pytest.approx(here["kept"].sum() / (100 * len(here))) if len(here) else None)
        residuals = mine.assign(e=mine["kept"] - 100 * mine["period"].map(dict(enumerate(part.ratios))))
        wide = residuals.pivot_table(index="user", columns="period", values="e", aggfunc="sum", fill_value=0.0)
        product = wide.to_numpy().T @ wide.to_numpy()
        kept = np.ix_(list(wide.columns), list(wide.columns))
        assert np.array(part.residuals)[kept] == pytest.approx(product, abs=1e-6)


def test_segments_are_what_users_were_at_first_and_nobody_is_counted_twice(store, events, experiment, lived):
    found = read_sums(store, experiment, asked(store, events.loop_id, segments=("region", "plan", "nothing"))).segments
    assert {part.segment for part in found} == {"region", "plan"}
    assert {part.value for part in found if part.segment == "region"} == {"north", None}
    for variant in VARIANTS:
        assert sum(part.n_users for part in found if part.segment == "plan" and part.variant == variant) == 15
    gold = next(part for part in found if part.value == "gold" and part.variant == "a")
    users = by_user(lived, "a")
    mine = users[[int(user[1:]) % 2 == 0 for user in users.index]]
    assert gold.moments.mean[0] == pytest.approx(mine["num"].mean())


def test_users_who_strayed_are_counted_and_in_no_sum_and_exposures_count_as_served(store, events, experiment, lived):
    before = read_sums(store, experiment, asked(store, events.loop_id))
    for variant in ("base", "a"):
        events.answered("wanderer", 100, START, experiment_id="e", variant_id=variant)
    events.answered("misled", 100, START, experiment_id="e", variant_id="b")
    events.draft("foreign", START, experiment_id="e", variant_id="somebody else")
    events.draft("u00", START, experiment_id="e", variant_id=None)
    events.write()
    store.execute("INSERT INTO assignments VALUES ('e', 'misled', 'base', 0.3, ?)", [START], "assignments")
    store.execute("INSERT INTO exposures VALUES ('e', 'silent', 'b', ?, 'sdk')", [START], "exposures")
    store.execute("INSERT INTO exposures VALUES ('e', 'elsewhere', 'gone', ?, 'sdk')", [START], "exposures")
    after = read_sums(store, experiment, asked(store, events.loop_id))
    assert (after.n_strayed, after.n_foreign) == (2, 2)
    assert after.n_users == {"base": 15, "a": 15, "b": 16}
    assert after.n_interactions == before.n_interactions
    for name, arms in before.metrics.items():
        for variant, part in arms.items():
            assert after.metrics[name][variant].n == part.n
            assert after.metrics[name][variant].mean == pytest.approx(part.mean, rel=1e-12)
    assert after.requests["a"].mean == pytest.approx(before.requests["a"].mean, rel=1e-12)


def test_where_shares_moved_a_user_weighs_one_over_the_probability_on_record(store, events, experiment):
    store.execute("UPDATE experiments SET policy = 'thompson'", [], "experiments")
    for user, kept, probability in (("x", 40, 0.5), ("y", 80, 0.2)):
        events.answered(user, kept, START, experiment_id="e", variant_id="a")
        store.execute("INSERT INTO assignments VALUES ('e', ?, 'a', ?, ?)", [user, probability, START], "assignments")
    events.answered("unknown", 10, START, experiment_id="e", variant_id="a")
    events.write()
    found = read_sums(store, read_experiment(store, "e"), asked(store, events.loop_id))
    assert found.metrics[KEPT]["a"].mean[:2] == pytest.approx(((2 * 40 + 5 * 80) / 2, 100 * (2 + 5) / 2))
    assert found.n_unweighted == 1


def test_the_reward_sums_utilities_of_rows_that_have_every_signal(store, events, experiment):
    design = RewardDesign(
        name="d", signals=(SignalSpec(KEPT, 1.0, 0.0, 1.0), SignalSpec("latency_ms", 1.0, 1000.0, 0.0, 0.25))
    )
    events.answered("x", 40, START, experiment_id="e", variant_id="a", latency_ms=250.0)
    events.answered("x", 80, START + timedelta(hours=1), experiment_id="e", variant_id="a", latency_ms=None)
    events.draft("x", START + timedelta(hours=2), experiment_id="e", variant_id="a")
    events.write()
    ask = asked(store, events.loop_id, utilities=utility_columns(store, events.loop_id, design))
    assert read_sums(store, experiment, ask).reward["a"].mean == pytest.approx((0.75 + 0.25, 0.4 + 0.8, 2))


def test_an_infinite_value_is_left_out_and_counted(store, events, experiment):
    for n, latency in enumerate((400.0, float("inf"), 600.0)):
        events.answered("x", 60, START + timedelta(hours=n), experiment_id="e", variant_id="a", latency_ms=latency)
    events.write()
    found = read_sums(store, experiment, asked(store, events.loop_id))
    assert found.n_infinite == {KEPT: 0, "latency_ms": 1}
    assert found.metrics["latency_ms"]["a"].mean[:2] == (1000.0, 2.0)


def test_what_nobody_did_is_empty_and_an_unknown_metric_a_sentence(store, events, experiment):
    found = read_sums(store, experiment, asked(store, events.loop_id))
    assert (found.n_users, found.looks, found.days, found.periods) == (dict.fromkeys(VARIANTS, 0), (), (), None)
    assert read_primary(store, experiment, ("retained_chars", "draft_chars"), None) == (0, {}, {})
    with pytest.raises(DesignError, match="'nothing' is no column"):
        row_columns(store, events.loop_id, ["nothing"], None)


def test_the_exact_sql_is_kept_with_what_was_bound_to_it(store, events, experiment, lived):
    found = read_sums(store, experiment, asked(store, events.loop_id))
    assert found.sql.count("CREATE TEMP TABLE") == 4
    assert "$1 = 'e', $2 = ['base', 'a', 'b']" in found.sql
