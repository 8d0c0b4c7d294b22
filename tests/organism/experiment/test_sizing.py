"""Users and days from a past whose variance and traffic are known."""

from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np
import pytest

from organism.experiment.past import Span, Spread, Traffic, spread_of, users_at, variance_at
from organism.experiment.plan import Guard, Plan
from organism.experiment.sentences import change
from organism.experiment.sizing import amount, size
from organism.records import Variant
from organism.stats.moments import moments
from organism.stats.power import Design, sample_size

PLAN = Plan(guardrails=(), watched=(), minimum_effect=0.05)
TWO = (Variant(name="a", share=0.5), Variant(name="b", share=0.5))
METRIC = "retained_char_rate"


def past(*users: int, variance: float = 0.04, new: float = 0.0, reduction: float | None = None) -> Traffic:
    """Users with a known answer in the last 7, 14, 28, 56 days, all with this variance."""
    spans = tuple(
        Span(days, n, {METRIC: Spread(0.5, variance, n, reduction)}, {METRIC: n})
        for days, n in zip((7, 14, 28, 56), users, strict=False)
    )
    return Traffic(spans, users[0], new, 5.0 * users[0], 56.0)


def needed(variance: float, **design: Any) -> int:
    """Users in all who show the plan's 5 points."""
    found = sample_size(Design(variance=variance, **design), 0.05)
    assert found is not None
    return ceil(found)


def test_users_are_those_of_the_two_sided_t_test_and_days_those_of_the_traffic() -> None:
    found = size(PLAN, TWO, past(200, 400, 800, 1600))
    assert found.n_users == needed(0.04) == 505
    assert found.days == 18, "505 users of 28.6 a day"
    assert found.is_reached
    assert "505 users and 18 days show 5 points of retained characters with 80% power" in found.sentence
    assert "you have 200 users a week, hardly any of them new." in found.sentence


def test_unequal_shares_ask_for_more_and_the_advice_says_so() -> None:
    uneven = (Variant(name="a", share=0.9), Variant(name="b", share=0.1))
    found = size(PLAN, uneven, past(200, 400, 800, 1600))
    assert found.n_users == needed(0.04, shares=(0.9, 0.1))
    (advice,) = found.advice
    assert (advice.words, advice.n_users) == ("Give all variants the same share", 505)


def test_several_treatments_share_alpha_and_one_variant_less_would_help() -> None:
    three = tuple(Variant(name=name, share=1 / 3) for name in "abc")
    found = size(PLAN, three, past(200, 400, 800, 1600))
    assert found.n_users == pytest.approx(1.5 * needed(0.04, alpha=0.025), abs=2)
    assert found.alpha_each == 0.025
    assert "Holm over 2 comparisons" in found.adjustment
    assert [one.n_users for one in found.advice if "without c" in one.words] == [505]


def test_users_who_run_out_are_said_with_what_would_help() -> None:
    found = size(PLAN, TWO, past(60, 60, 60, 60, reduction=0.6))
    assert found.n_users == 505
    assert found.days is None
    assert not found.is_reached
    assert found.sentence == (
        "You will not get there: 60 users a week, hardly any of them new, make 60 users with a known answer within a "
        "year; to see 5 points of retained characters with 80% power takes 505."
    )
    words = [one.words for one in found.advice]
    assert "CUPED" in words[0]
    assert "60%" in words[0]
    assert words[-1].startswith("Ask for a bigger effect: 14.7 points of retained characters is seen within 8 weeks")


def test_new_users_beyond_the_history_are_counted_on() -> None:
    traffic = past(60, 80, 100, 140, new=10)
    assert users_at(traffic, METRIC, 3.5) == 30
    assert users_at(traffic, METRIC, 56 + 70) == 240
    assert size(PLAN, TWO, traffic).days == 56 + 256, "365 more at ten a week"
    assert users_at(replace_share(traffic, 0.5), METRIC, 56) == 70


def test_covariates_count_only_when_the_plan_names_them() -> None:
    traffic = past(200, 400, 800, 1600, reduction=0.5)
    assert size(PLAN, TWO, traffic).n_users == 505
    guarded = replace(PLAN, covariates=(METRIC,), guardrails=(Guard(METRIC, 0.05, False),))
    found = size(guarded, TWO, traffic)
    assert found.n_users == needed(0.02)
    assert found.metrics[1].n_users == needed(0.02, alpha=0.1), "a guardrail is read with the covariates too"


def test_watching_asks_for_more_than_one_read_and_the_curve_falls() -> None:
    found = size(PLAN, TWO, past(200, 400, 800, 1600))
    assert found.n_users_sequential is not None
    assert 1.5 * 505 < found.n_users_sequential < 2.5 * 505
    effects = [one.effect for one in found.curve]
    assert [one.weeks for one in found.curve] == [1, 2, 4, 8]
    assert effects == sorted(effects, reverse=True)
    assert all(one.effect_sequential > one.effect for one in found.curve if one.effect_sequential)
    assert found.curve[0].relative == pytest.approx(found.curve[0].effect / 0.5)


def test_a_guardrail_whose_margin_takes_too_many_users_is_warned_of() -> None:
    found = size(replace(PLAN, guardrails=(Guard(METRIC, 0.01, False),)), TWO, past(200, 400, 600, 600))
    (guard,) = [one for one in found.metrics if one.role == "guardrail"]
    assert guard.days is None
    assert found.is_reached
    assert found.stays_open == (METRIC,)
    assert found.sentence.startswith("The primary metric gets there, but the guardrail on retained characters (its ")
    assert f"margin of 1 point takes {guard.n_users:,} users) would stay open" in found.sentence
    wider = found.advice[-1]
    assert wider.words.startswith("Widen the margin of the guardrail to 4.")
    assert (wider.n_users, wider.days) == (600, 56)
    better = size(replace(PLAN, guardrails=(Guard(METRIC, 0.05, False),)), TWO, past(200, 400, 600, 600))
    assert better.stays_open == ()
    assert "guardrail" not in better.sentence


def test_a_guardrail_that_settles_after_the_primary_metric_says_when() -> None:
    found = size(replace(PLAN, guardrails=(Guard(METRIC, 0.03, False),)), TWO, past(200, 400, 800, 1600))
    late = found.metrics[1]
    assert late.days is not None
    assert found.days is not None
    assert late.days > found.days
    assert f"the one on retained characters takes {late.n_users:,} users and {late.days} days." in found.sentence


def test_a_relative_margin_is_of_the_value_that_was_measured() -> None:
    found = size(replace(PLAN, guardrails=(Guard(METRIC, 0.1),)), TWO, past(200, 400, 800, 1600))
    (guard,) = [one for one in found.metrics if one.role == "guardrail"]
    assert guard.effect == pytest.approx(0.05)
    assert guard.n_users == needed(0.04, alpha=0.1), "one-sided"


def test_without_a_past_nothing_is_made_up() -> None:
    found = size(PLAN, TWO, Traffic((), 0.0, 0.0, 0.0, 0.0))
    assert (found.n_users, found.days, found.is_reached, found.curve) == (None, None, None, ())
    assert found.sentence.startswith("Nothing can be computed yet: this loop has no interactions")


def test_without_any_variance_no_number_is_told() -> None:
    found = size(PLAN, TWO, past(200, 400, 800, 1600, variance=0.0))
    assert found.n_users is None
    assert "every user has the same retained characters" in found.sentence


def test_a_spread_is_the_linearized_value_by_user_and_what_its_past_explains() -> None:
    rng = np.random.default_rng(0)
    habit = rng.normal(0, 1, 4000)
    drafts = rng.poisson(9, 4000) + 1.0
    kept = drafts * (5 + habit + rng.normal(0, 0.5, 4000))
    before = drafts * (5 + habit)
    found = spread_of(moments(np.column_stack([kept, drafts, before, drafts])))
    assert found is not None
    ratio = kept.sum() / drafts.sum()
    assert found.mean == pytest.approx(ratio)
    assert found.variance == pytest.approx(((kept - ratio * drafts) / drafts.mean()).var(ddof=1), rel=1e-9)
    assert found.reduction == pytest.approx(0.8, abs=0.03)
    assert spread_of(moments(np.array([[1.0, 2.0]]))) is None, "one user tells no variance"


def test_a_span_of_a_few_users_does_not_tell_the_variance_where_a_longer_one_does() -> None:
    few = Span(7, 8, {METRIC: Spread(0.5, 9.9, 8, None)}, {METRIC: 8})
    many = Span(28, 80, {METRIC: Spread(0.5, 0.04, 80, None)}, {METRIC: 80})
    assert variance_at(Traffic((few, many), 8, 0, 8, 28), METRIC, 7) == 0.04
    assert variance_at(Traffic((few,), 8, 0, 8, 28), METRIC, 7) == 9.9


def test_amounts_are_said_in_their_unit() -> None:
    assert amount("accepted", 0.05) == "5 points of drafts used"
    assert amount("accepted", 0.01) == "1 point of drafts used"
    assert amount("latency_ms.p95", 31.84) == "31.8 ms of latency p95"
    assert amount("cost_usd", 0.00012) == "0.00012 USD of cost"
    assert amount("outcome.sale", 2.0) == "2 of outcome.sale"
    assert amount("reward", 0.05) == "0.05 of reward", "as the verdict writes it: +0.05, no share"
    assert change("reward", 0.05) == "+0.05"


def test_one_day_of_history_is_said_as_a_day() -> None:
    young = Traffic((Span(1, 5, {}, {}),), 5, 5, 9, 0.5)
    assert "in the last day." in size(PLAN, TWO, young).sentence


def replace_share(traffic: Traffic, share: float) -> Traffic:
    return traffic._replace(share=share)
