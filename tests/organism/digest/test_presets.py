"""Presets: the loop's own anchors, the same in all four, and the default ones where the data cannot say."""

from math import inf, nan

import pytest

from organism.digest.designs import DEFAULT_DESIGN, check_design, group_weights
from organism.digest.presets import ANCHORS, CANDIDATES, PRESETS, anchors, presets_from

FULL = {
    "accepted": (0.0, 1.0),
    "cost_usd": (0.0001234, 0.000987),
    "latency_ms": (151.0, 1849.0),
    "retained_char_rate": (0.123, 0.987),
    "output_tokens": (10.0, 300.0),
    "rating": (1.0, 5.0),
    "written_share": (0.05, 0.95),
}


@pytest.mark.parametrize(
    ("signal", "quantiles", "wanted"),
    [
        ("latency_ms", (151.0, 1849.0), (1800.0, 150.0)),
        ("cost_usd", (0.0001234, 0.000987), (0.00099, 0.00012)),
        ("retained_char_rate", (0.123, 0.987), (0.12, 0.99)),
        ("accepted", (1.0, 1.0), (0.0, 1.0)),
        ("latency_ms", (500.0, 501.0), ANCHORS["latency_ms"]),
        ("latency_ms", (None, None), ANCHORS["latency_ms"]),
        ("latency_ms", (nan, nan), ANCHORS["latency_ms"]),
        ("latency_ms", (0.0, inf), ANCHORS["latency_ms"]),
        ("latency_ms", None, ANCHORS["latency_ms"]),
        ("vendor_score", None, (0.0, 1.0)),
        ("vendor_score", (-3.25, 7.77), (-3.2, 7.8)),
    ],
)
def test_anchors_are_two_digits_of_the_data_or_the_default(signal, quantiles, wanted):
    assert anchors(signal, quantiles) == wanted


def test_the_four_presets_differ_in_weights_only():
    made = presets_from(FULL)
    assert list(made) == ["price", "performance", "quality", "balanced"] == list(PRESETS)
    assert len({tuple(spec._replace(weight=0.0) for spec in design.signals) for design in made.values()}) == 1
    assert len({design.id for design in made.values()}) == 4
    for name, design in made.items():
        check_design(design, CANDIDATES)
        assert design.name == name
        assert design.note.startswith("For ")
        assert sum(group_weights(design).values()) == pytest.approx(1)
    for group in ("price", "performance", "quality"):
        assert max(made, key=lambda name: group_weights(made[name])[group]) == group


def test_without_data_the_presets_stand_on_the_default_anchors():
    bare = presets_from({})["balanced"]
    anchored = {spec.signal: (spec.worst, spec.best) for spec in DEFAULT_DESIGN.signals} | {"written_share": (0.0, 1.0)}
    assert {spec.signal: (spec.worst, spec.best) for spec in bare.signals} == anchored
    assert presets_from(dict.fromkeys(CANDIDATES, (nan, nan)))["balanced"].id == bare.id


def test_half_of_the_quality_is_how_much_the_model_wrote_so_that_stopping_early_does_not_pay():
    for design in presets_from(FULL).values():
        (written,) = [spec for spec in design.signals if spec.signal == "written_share"]
        assert written.weight == pytest.approx(group_weights(design)["quality"] / 2)
        assert written.missing == 0.0


def test_what_the_loop_never_measured_is_left_out_and_its_group_takes_the_second_choice():
    made = presets_from({"latency_ms": (100.0, 900.0), "rating": (1.0, 5.0), "output_tokens": (5.0, 50.0)})["price"]
    assert {spec.signal for spec in made.signals} == {"latency_ms", "rating", "output_tokens"}
    assert group_weights(made) == pytest.approx({"price": 0.6, "performance": 0.1, "quality": 0.3})
    bare = presets_from({"rating": (1.0, 5.0)})["price"]
    assert group_weights(bare) == pytest.approx({"price": 0.0, "performance": 0.0, "quality": 1.0})
    check_design(bare, CANDIDATES)


@pytest.mark.parametrize(("usually", "floor"), [(0.72, 0.54), (None, None), (nan, None), (0.0, None)])
def test_a_version_must_write_three_quarters_of_what_is_usual_here(usually, floor):
    bounds = [[c.at_least for c in design.constraints] for design in presets_from(FULL, usually).values()]
    assert bounds == [[] if floor is None else [floor]] * 4
