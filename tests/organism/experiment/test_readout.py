"""Read-outs from real scans of small tables: figures against the reference file, sentences for what cannot be said."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from organism.experiment.metrics import Metric, MetricKind, columns_of, denominators_of
from organism.experiment.readout import Readout, read_out, srm_of
from organism.records import QuantileParts
from organism.stats.moments import moments
from organism.stats.multiplicity import Correction, adjusted
from organism.store.unit_scan import Scan, scan

# Golden numbers from scipy, statsmodels, gbstats and tea-tasting (versions are named in the file).
CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parents[2] / "reference" / "experiment_cases.json").read_text())["cases"]
}
MEAN = Metric(name="y", kind=MetricKind.MEAN, columns=("y",))
CUPED = Metric(name="y", kind=MetricKind.MEAN, columns=("y",), covariates=("pre",))
SHARE = Metric(name="hit", kind=MetricKind.PROPORTION, columns=("hit",))
RATIO = Metric(name="rate", kind=MetricKind.RATIO, columns=("num", "den"))


def scanned(frame: pd.DataFrame, *metrics: Metric, segments: tuple[str, ...] = ()) -> Scan:
    with duckdb.connect() as connection:
        connection.register("users", frame)
        return scan(
            connection,
            "FROM users",
            variant="variant",
            metrics=columns_of(metrics),
            segments=segments,
            denominators=denominators_of(metrics),
        )


def read(frame: pd.DataFrame, *metrics: Metric, segments: tuple[str, ...] = (), control: str = "A", **asked) -> Readout:
    return read_out(scanned(frame, *metrics, segments=segments), metrics, control=control, **asked)


def case(name: str, *columns: str) -> pd.DataFrame:
    inputs = CASES[name]["inputs"]
    arms = [pd.DataFrame({c: inputs[arm][c] for c in columns}).assign(variant=arm) for arm in ("control", "treatment")]
    return pd.concat(arms)


def expected(name: str, peer: str, call: str) -> dict:
    return next(e for e in CASES[name]["expected"] if e["peer"].startswith(peer) and call in e["call"])["values"]


def users(n: int = 600, effect: float = 0.5, seed: int = 1, variants: str = "AB") -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    variant = np.array(list(variants))[np.arange(n) % len(variants)]
    pre = rng.normal(10, 3, n)
    den = rng.integers(1, 9, n)
    return pd.DataFrame(
        {
            "variant": variant,
            "country": np.array(["de", "fr", "us"])[rng.integers(0, 3, n)],
            "pre": pre,
            "y": pre + rng.normal(0, 1, n) + effect * (variant != "A"),
            "hit": (rng.random(n) < 0.3 + 0.1 * (variant != "A")).astype(int),
            "num": rng.binomial(den, 0.4),
            "den": den,
        }
    )


def test_a_mean_is_welch_as_scipy_has_it():
    arrays = CASES["welch_small"]["inputs"]["arrays"]
    frame = pd.concat([pd.DataFrame({"variant": name, "y": values}) for name, values in arrays.items()])
    found = read(frame, MEAN, control="control").metrics[0]
    wanted = expected("welch_small", "scipy", "ttest_ind")
    assert found.p_value == pytest.approx(wanted["p_value"], rel=1e-9)
    assert found.ci == pytest.approx(wanted["ci"], rel=1e-9)
    assert found.method == "Welch's t-test"
    assert (found.n_control, found.n_treatment) == tuple(len(values) for values in arrays.values())


def test_cuped_is_as_tea_tasting_has_it_and_says_what_it_gained():
    metric = Metric(name="post", kind=MetricKind.MEAN, columns=("post",), covariates=("pre",))
    found = read(case("cuped_mean", "pre", "post"), metric, control="control").metrics[0]
    wanted = expected("cuped_mean", "tea-tasting", "Mean('post','pre')")
    assert found.effect == pytest.approx(wanted["effect_size"], rel=1e-9)
    assert found.p_value == pytest.approx(wanted["pvalue"], rel=1e-9)
    assert found.relative == pytest.approx(wanted["rel_effect_size"], rel=1e-9)
    assert found.variance_reduction == pytest.approx(0.714, abs=0.01)
    assert "adjusted by pre (CUPED)" in found.method


def test_a_ratio_is_the_delta_method_and_its_cuped_takes_a_pre_period_ratio():
    frame = case("cuped_ratio", "numer", "denom", "numer_pre", "denom_pre")
    metric = Metric(
        name="rate",
        kind=MetricKind.RATIO,
        columns=("numer", "denom"),
        covariates=("numer_pre", "denom_pre"),
        ratio_covariates=1,
    )
    found = read(frame, metric, control="control").metrics[0]
    wanted = expected("cuped_ratio", "tea-tasting", "RatioOfMeans")
    assert found.effect == pytest.approx(wanted["effect_size"], rel=1e-9)
    assert found.p_value == pytest.approx(wanted["pvalue"], rel=1e-6)
    assert "numer_pre/denom_pre" in found.method
    plain = Metric(name="rate", kind=MetricKind.RATIO, columns=("accepted", "suggested"))
    found = read(case("ratio_delta", "accepted", "suggested"), plain, control="control").metrics[0]
    wanted = expected("ratio_delta", "tea-tasting", "RatioOfMeans('accepted','suggested')")
    assert found.p_value == pytest.approx(wanted["pvalue"], rel=1e-9)
    assert found.method.startswith("delta method")


def test_a_proportion_is_the_score_interval_of_statsmodels():
    inputs = CASES["two_proportions"]["inputs"]
    frame = pd.concat(
        pd.DataFrame({"variant": arm, "hit": np.arange(inputs[arm]["n"]) < inputs[arm]["successes"]})
        for arm in ("control", "treatment")
    )
    found = read(frame, SHARE, control="control").metrics[0]
    wanted = expected("two_proportions", "statsmodels", "method='score', compare='diff'")
    assert found.p_value == pytest.approx(wanted["p_value"], rel=1e-7)
    # statsmodels' limits of a difference have a slip of 4e-5; see test_proportion.
    assert found.ci == pytest.approx(wanted["ci"], abs=1e-4)
    assert found.method == "score interval of Miettinen and Nurminen"


def test_of_few_successes_the_interval_for_every_look_is_still_wider_than_the_one_for_one():
    for control, treatment in [(0, 1), (0, 3), (1, 1), (1, 3), (3, 0), (3, 3), (40, 70)]:
        hits = np.concatenate([np.arange(400) < control, np.arange(400) < treatment]).astype(int)
        frame = pd.DataFrame({"variant": np.repeat(["A", "B"], 400), "hit": hits})
        found = read(frame, SHARE, sequential=True, tuning=800).metrics[0]
        assert found.sequence_ci[0] < found.ci[0] < found.ci[1] < found.sequence_ci[1], (control, treatment)
        assert found.sequence_p >= found.p_value


def test_a_proportion_of_other_values_falls_back_and_says_so():
    found = read(users().assign(hit=lambda f: f.y), SHARE).metrics[0]
    assert found.p_value is not None
    assert found.method == "Welch's t-test, since hit holds other values than 0 and 1"


def test_a_quantile_is_clustered_and_without_rows_it_is_a_sentence():
    metric = Metric(name="ms.p90", kind=MetricKind.QUANTILE, probability=0.9, better=-1)
    rng = np.random.default_rng(0)
    unit_rows = moments(np.column_stack([rng.binomial(9, 0.9, 80), np.full(80, 10)]))
    parts = {
        ("ms.p90", "A"): QuantileParts(0.9, 0.02, 800, 100.0, 97.0, 103.0, unit_rows),
        ("ms.p90", "B"): QuantileParts(0.9, 0.02, 800, 120.0, 116.0, 124.0, unit_rows),
    }
    found = read_out(scanned(users()), [metric], parts, control="A").metrics[0]
    assert found.effect == pytest.approx(20)
    assert found.ci[0] < 20 < found.ci[1]
    assert found.method.startswith("quantile clustered by unit")
    lone = read_out(scanned(users()), [metric], {("ms.p90", "A"): parts["ms.p90", "A"]}, control="A")
    assert lone.metrics[0].p_value is None
    assert "B: no unit of B has ms.p90." in lone.warnings


def test_swapping_the_arms_flips_the_signs():
    frame = users()
    forth, back = read(frame, CUPED).metrics[0], read(frame, CUPED, control="B").metrics[0]
    assert forth.effect == pytest.approx(-back.effect)
    assert forth.ci == pytest.approx((-back.ci[1], -back.ci[0]))
    assert forth.p_value == pytest.approx(back.p_value)
    assert forth.chance_to_win == pytest.approx(1 - back.chance_to_win)


def test_less_is_better_turns_the_chance_to_win_round():
    up = read(users(), MEAN).metrics[0]
    down = read(users(), Metric(name="y", kind=MetricKind.MEAN, columns=("y",), better=-1)).metrics[0]
    neither = read(users(), Metric(name="y", kind=MetricKind.MEAN, columns=("y",), better=0)).metrics[0]
    assert up.chance_to_win + down.chance_to_win == pytest.approx(1)
    assert up.expected_loss < down.expected_loss
    assert neither.chance_to_win is None


def test_holm_runs_over_primary_metrics_and_variants_and_says_so():
    watched = Metric(name="watched", kind=MetricKind.MEAN, columns=("den",), is_primary=False)
    found = read(users(900, variants="ABC"), MEAN, SHARE, watched)
    primary = [result for result in found.metrics if result.metric != "watched"]
    assert {result.adjustment for result in primary} == {"Holm over 4 tests (2 primary metrics, 2 variants)"}
    wanted = adjusted([result.p_value for result in primary], Correction.HOLM)
    assert [result.p_adjusted for result in primary] == pytest.approx(wanted)
    assert wanted != adjusted([result.p_value for result in primary], Correction.BH)
    last = [result for result in found.metrics if result.metric == "watched"]
    assert {(result.p_adjusted, result.adjustment) for result in last} == {(None, "none: not a primary metric")}


def test_one_test_needs_no_adjustment():
    found = read(users(), MEAN).metrics[0]
    assert found.p_adjusted == pytest.approx(found.p_value)
    assert found.adjustment == "none: it is the only test"


def test_a_sequence_holds_at_every_look_and_is_what_holm_adjusts():
    found = read(users(), MEAN, SHARE, sequential=True, tuning=500).metrics
    for result in found:
        assert result.sequence_ci[0] < result.ci[0] < result.ci[1] < result.sequence_ci[1]
        assert result.sequence_p > result.p_value
        assert "the p that holds at every look" in result.adjustment
        assert result.p_adjusted >= result.sequence_p
    assert read(users(), MEAN).metrics[0].sequence_ci is None


def test_a_sequence_over_four_units_is_still_wider_than_their_t_interval():
    found = read(pd.DataFrame({"variant": list("AABB"), "y": [1.0, 2, 5, 7]}), MEAN, sequential=True, tuning=4)
    always, fixed = found.metrics[0].sequence_ci, found.metrics[0].ci
    assert always[0] < fixed[0] < fixed[1] < always[1]


def test_segments_are_adjusted_by_benjamini_hochberg_and_add_up():
    found = read(users(), CUPED, SHARE, segments=("country",))
    assert len(found.segments) == 6
    assert {one.adjustment for one in found.segments} == {"Benjamini-Hochberg over 6 comparisons of segments"}
    wanted = adjusted([one.p_value for one in found.segments], Correction.BH)
    assert [one.p_adjusted for one in found.segments] == pytest.approx(wanted)
    assert sum(one.n_control for one in found.segments if one.metric == "y") == found.metrics[0].n_control
    assert [one.value for one in found.segments[::2]] == ["de", "fr", "us"]


def test_an_effect_in_one_segment_alone_is_heterogeneous():
    frame = users(3000, effect=0)
    even = read(frame, CUPED, segments=("country",)).heterogeneity[0]
    frame["y"] += 1.0 * ((frame.variant == "B") & (frame.country == "de"))
    uneven = read(frame, CUPED, segments=("country",)).heterogeneity[0]
    assert even.p_value > 0.01
    assert uneven.p_value < 1e-6
    assert uneven.i_squared > 0.9
    assert uneven.n_values == 3


def test_a_lost_arm_blocks_and_the_sentence_says_what_was_seen():
    frame = users(4000)
    lost = frame[(frame.variant == "A") | (np.arange(4000) % 10 > 1)]
    found = read(lost, MEAN)
    assert found.srm.blocked
    assert found.srm.p_value < 0.001
    assert found.warnings[0].startswith(
        "Sample ratio mismatch: the units did not split equally, and no other shares were planned (p = "
    )
    assert "A 2,000" in found.warnings[0]
    assert not read(frame, MEAN).srm.blocked
    shares = {"A": 2000, "B": len(lost) - 2000}
    assert not read(lost, MEAN, shares=shares).srm.blocked


def test_the_chi_square_of_the_split_is_the_reference_files():
    for one in CASES["srm_chi2"]["expected"][0]["values"]:
        names = [f"v{n}" for n in range(len(one["counts"]))]
        counts = dict(zip(names, one["counts"], strict=True))
        assert srm_of(counts, dict(zip(names, one["weights"], strict=True))).p_value == pytest.approx(
            one["p_value"], rel=1e-9
        )


def test_with_looks_the_sequential_test_decides():
    counts = {"A": 5000, "B": 5340}
    looks = [{"A": 1000, "B": 1010}, {"A": 3000, "B": 3100}, counts]
    found = srm_of(counts, None, looks)
    assert found.sequential_p is not None
    assert found.p_value < 0.001 < found.sequential_p
    assert not found.blocked
    assert srm_of(counts).blocked
    assert srm_of({"A": 5000, "B": 6000}, None, [{"A": 5000, "B": 6000}]).blocked


def test_one_variant_alone_is_a_sentence():
    found = read(users().assign(variant="A"), MEAN)
    assert found.metrics == ()
    assert found.srm.p_value is None
    assert found.warnings == ("Only one variant, A, has units, so there is nothing to compare it with.",)


def test_a_control_that_is_not_there_is_named_with_the_variants_that_are():
    found = read(users(), MEAN, control="base")
    assert found.warnings == ("The control base has no units; the variants found are A and B. Name one of those.",)
    assert {result.p_value for result in found.metrics} == {None}


def test_a_planned_variant_without_units_is_said_and_has_no_p():
    found = read(users(), MEAN, shares={"A": 1, "B": 1, "C": 1})
    assert found.srm.blocked
    assert found.srm.counts["C"] == 0
    empty = next(result for result in found.metrics if result.variant == "C")
    assert (empty.n_treatment, empty.effect, empty.p_value, empty.p_adjusted) == (0, None, None, None)
    assert any(text == "No unit is in C, though a share of the units was planned for it." for text in found.warnings)


def test_a_variant_that_nobody_planned_is_left_out_of_the_split():
    found = read(users(variants="ABX"), MEAN, shares={"A": 0.5, "B": 0.5})
    assert not found.srm.blocked
    assert any(text.startswith("X has units but no planned share") for text in found.warnings)
    assert {result.variant for result in found.metrics} == {"B", "X"}


def test_no_units_at_all_is_a_sentence():
    found = read(users(0), MEAN, segments=("country",))
    assert found.warnings == ("There are no units with a variant, so there is nothing to compare.",)
    assert found.metrics == ()


def test_zero_variance_gives_no_p_but_a_sentence():
    for metric in (MEAN, SHARE, RATIO, CUPED):
        found = read(users().assign(y=0.1, hit=0, num=2, den=5), metric)
        assert found.metrics[0].p_value is None
        assert found.metrics[0].ci is None
        assert found.metrics[0].effect == pytest.approx(0)
        assert f"{metric.name} is the same for every unit of both arms" in found.metrics[0].note
        assert any("is the same for every unit" in text for text in found.warnings)


def test_a_metric_that_nobody_has_gives_a_sentence_and_leaves_the_others_alone():
    found = read(users().assign(y=np.nan), MEAN, SHARE, segments=("country",))
    assert found.metrics[0].p_value is None
    assert found.metrics[0].mean_control is None
    assert found.metrics[1].p_value is not None
    assert any(text.startswith("600 of 600 units have no y and are left out of y (") for text in found.warnings)
    assert all(one.p_value is None for one in found.segments if one.metric == "y")


@pytest.mark.parametrize(("n", "is_said"), [(30, True), (98, True), (100, False)])
def test_a_ratio_over_few_units_says_that_it_finds_too_much(n, is_said):
    said = [text for text in read(users(n), RATIO, MEAN).warnings if "ratio of sums is found to differ" in text]
    assert len(said) == is_said
    assert all(text.startswith(f"rate: an arm has {n // 2} units, and below 50") for text in said)
    assert not any("found to differ" in text for text in read(users(n), MEAN).warnings)


def test_units_left_out_are_counted_by_variant():
    frame = users()
    frame.loc[:2, "y"] = np.nan
    frame.loc[3, "y"] = np.inf
    found = read(frame, MEAN)
    assert found.metrics[0].n_control + found.metrics[0].n_treatment == 596
    assert "3 of 600 units have no y and are left out of y (A 2 and B 1)." in found.warnings
    assert "1 of 600 units has an infinite value of y and is left out of y (B 1)." in found.warnings


def test_a_ratio_over_nothing_or_less_than_nothing_is_not_said():
    for den, words in ((0, "sum to 0"), (-3, "sum to less than 0")):
        found = read(users().assign(den=den), RATIO)
        assert (found.metrics[0].effect, found.metrics[0].p_value) == (None, None)
        assert words in found.metrics[0].note
    some = users()
    some.loc[:4, "den"] = -1
    found = read(some, RATIO)
    assert found.metrics[0].p_value is not None
    assert any(text.startswith("5 units have a denominator of rate below 0 (A 3 and B 2)") for text in found.warnings)


def test_values_too_large_to_square_are_a_sentence():
    found = read(users().assign(y=lambda f: f.y * 1e200), MEAN)
    assert found.metrics[0].p_value is None
    assert "too large" in found.metrics[0].note


def test_a_constant_covariate_is_dropped_and_said():
    found = read(users().assign(pre=4.0), CUPED).metrics[0]
    plain = read(users().assign(pre=4.0), MEAN).metrics[0]
    assert found.p_value == pytest.approx(plain.p_value)
    assert found.variance_reduction is None
    assert found.method == "Welch's t-test"
    assert "not adjusted by pre" in found.note


def test_a_tiny_arm_does_not_cost_the_others_their_covariate():
    frame = pd.concat([users(), users(5).assign(variant="tiny")])
    found = {result.variant: result for result in read(frame, CUPED).metrics}
    assert found["B"].variance_reduction > 0.5
    assert found["tiny"].variance_reduction is None
    assert "tiny has fewer than 10 units" in found["tiny"].note
    assert found["tiny"].p_value is not None


def test_one_unit_in_an_arm_is_too_few():
    found = read(pd.concat([users(), users(1).assign(variant="one")]), MEAN)
    assert "one has 1 unit with y; at least 2 are needed" in found.metrics[-1].note
    assert found.metrics[-1].mean_treatment is not None


def test_fifty_variants_are_forty_nine_comparisons_under_one_error_rate():
    frame = users(5000).assign(variant=[f"v{n % 50:02}" for n in range(5000)])
    found = read(frame, CUPED, control="v00", segments=("country",))
    assert len(found.metrics) == 49
    assert "Holm over 49 tests (1 primary metric, 49 variants)" in found.metrics[0].adjustment
    assert not found.srm.blocked
    gone = read(frame.assign(y=1.0), MEAN, control="v00")
    assert "v01, v02, v03, v04 and 45 more: y is the same for every unit of both arms." in gone.warnings


def test_adding_a_large_constant_changes_no_test():
    near, far = (read(users().assign(y=lambda f, c=c: f.y + c), CUPED).metrics[0] for c in (0.0, 1e8))
    assert far.effect == pytest.approx(near.effect, abs=1e-6)
    assert far.p_value == pytest.approx(near.p_value, rel=1e-5)


def test_scaling_a_metric_scales_the_effect_and_leaves_p():
    one, thousand = read(users(), CUPED).metrics[0], read(users().assign(y=lambda f: f.y * 1000), CUPED).metrics[0]
    assert thousand.effect == pytest.approx(1000 * one.effect)
    assert thousand.p_value == pytest.approx(one.p_value)


def test_a_segment_of_ids_is_left_out_and_said():
    found = read(users().assign(user=range(600)), MEAN, segments=("user",))
    assert found.segments == ()
    assert found.warnings == (
        "The segment user is left out, since it has 600 values or more: group them into a few dozen first.",
    )
