from math import isnan, nan

import numpy as np
import pandas as pd
import pytest

from organism.digest.pareto import beaten_unsurely, on_front, variant_profiles
from organism.stats.compare import difference, interval, ratio_of_sums
from organism.stats.moments import moments


def test_a_profile_is_the_mean_over_interactions_with_an_interval_over_users():
    base, tuned = moments([[900.0, 2], [2_400.0, 3], [700.0, 1]]), moments([[500.0, 1]])
    frame = variant_profiles({"latency_ms": {"tuned": tuned, "base": base}, "rating": {}})
    assert frame["variant"].tolist() == ["base", "tuned"]
    first, alone = frame.iloc[0], frame.iloc[1]
    assert (first["mean"], first["n_users"], first["n_rows"]) == (pytest.approx(4_000 / 6), 3, 6)
    assert (first["low"], first["high"]) == pytest.approx(interval(ratio_of_sums(base))[1:])
    assert (alone["mean"], alone["n_rows"]) == (500.0, 1)
    assert isnan(alone["low"])


def test_no_signal_gives_an_empty_profile_with_its_columns():
    assert list(variant_profiles({}).columns) == ["signal", "variant", "mean", "low", "high", "n_users", "n_rows"]
    assert variant_profiles({"rating": {}}).empty


def test_the_front_leaves_out_who_is_beaten_and_who_was_not_measured():
    points = np.array([[0.0001, 300.0, 0.8], [0.0002, 400.0, 0.7], [0.0003, 200.0, 0.9], [0.00005, nan, 0.9]])
    assert on_front(points, [False, False, True]).tolist() == [True, False, True, False]


def test_who_is_beaten_is_beaten_surely_only_where_the_difference_leaves_0():
    quality = {
        "base": moments([[n % 2, 1] for n in range(40)]),
        "tuned": moments([[n % 2 + 0.1, 1] for n in range(40)]),
    }
    frame = pd.DataFrame({"variant": ["base", "tuned"], "cost": [2.0, 1.0], "quality": [0.5, 0.6]})
    sure = difference(ratio_of_sums(moments([[2.0, 1], [2.1, 1]])), ratio_of_sums(moments([[1.0, 1], [1.1, 1]])))

    def change(axis, control, treatment):
        assert (control, treatment) == ("base", "tuned")
        return sure if axis == "cost" else difference(*(ratio_of_sums(quality[name]) for name in (control, treatment)))

    axes = {"cost": False, "quality": True}
    assert beaten_unsurely(frame, axes, change) == {"base": ["quality"]}
    assert beaten_unsurely(frame, {"cost": False}, change) == {"base": []}
    assert beaten_unsurely(frame, axes, lambda *_: difference(None, None)) == {"base": ["cost", "quality"]}
    assert beaten_unsurely(frame.assign(quality=[0.7, 0.6]), axes, change) == {}
