"""The written rules on evidence made of numbers: each fires where it says, and what it says agrees with itself."""

from dataclasses import replace

import numpy as np
import pytest

from organism.experiment.plan import Guard, Plan
from organism.experiment.rules import RULES, judge
from organism.experiment.scorecard import GuardrailState, IntervalKind, Role
from organism.records import Verdict
from organism.store.experiment_units import SegmentPart
from tests.organism.experiment.made_evidence import evidence, users

PLAIN = Plan(guardrails=(), watched=())
LATENCY = Plan(guardrails=(Guard("latency_ms", 0.1),), watched=())


def two(n=200, control=50.0, treatment=50.0, deviation=10.0):
    return {"base": users(n, control, deviation), "new": users(n, treatment, deviation, seed=1)}


def latency(n=200, control=500.0, treatment=500.0, deviation=50.0):
    arms = {"base": users(n, control * 100, deviation * 100), "new": users(n, treatment * 100, deviation * 100, seed=2)}
    return {"latency_ms": arms}


CASES = {
    "sample_ratio_mismatch": evidence(two(), n_users={"base": 200, "new": 300}),
    "users_in_both": evidence(two(), n_strayed=5),
    "unknown_probabilities": evidence(two(), policy="thompson", n_unweighted=20),
    "too_few_users": evidence(two(n=5, treatment=90)),
    "worse": evidence(two(treatment=40)),
    "guardrail_broken": evidence(two(treatment=60), plan=LATENCY, metrics=latency(treatment=700)),
    "no_worthwhile_gain": evidence(two(), plan=replace(PLAIN, n_users=400)),
    "futile": evidence(two(n=150, treatment=49.0, deviation=20), plan=replace(PLAIN, n_users=500)),
    "not_settled": evidence(two(n=60, treatment=52)),
    "guardrail_open": evidence(two(treatment=60), plan=LATENCY, metrics=latency(treatment=546)),
    "better": evidence(two(treatment=60), plan=LATENCY, metrics=latency()),
}


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_each_rule_fires_where_it_says(rule):
    card = judge(CASES[rule])
    assert (card.rule, card.verdict) == (rule, {one.name: one.verdict for one in RULES}[rule])
    assert card.sentence.endswith(".")


def test_a_plan_changed_after_the_start_is_the_first_warning_of_what_it_bends():
    arms = {**two(n=100, treatment=53.1), "other": users(100, 40, seed=3)}
    bent = replace(PLAIN, alpha=0.2, primary=("retained_char_rate",), covariates=("retained_char_rate",), n_users=300)
    first = replace(PLAIN, primary=("retained_char_rate", "accepted"), n_users=300)
    card = judge(evidence(arms, plans=(first, bent)))
    assert card.verdict is Verdict.SHIP
    assert card.warnings[0].startswith("The plan was changed after the start, which can bend this verdict: primary")
    assert "alpha: 0.05 → 0.2" in card.warnings[0]
    assert "covariates: none → " in card.warnings[0]
    more_users = judge(evidence(arms, plans=(PLAIN, replace(PLAIN, n_users=300, watched=("accepted",)))))
    assert not any("plan was changed" in one for one in more_users.warnings), "what bends nothing is no warning"


def test_below_the_planned_users_the_sequence_counts_and_at_them_the_fixed_interval():
    arms = two(n=100, treatment=53.1)
    watched = judge(evidence(arms, plan=replace(PLAIN, n_users=1000)))
    planned = judge(evidence(arms, plan=replace(PLAIN, n_users=200)))
    unplanned = judge(evidence(arms))
    assert watched.interval_kind is unplanned.interval_kind is IntervalKind.ALWAYS_VALID
    assert planned.interval_kind is IntervalKind.FIXED
    assert (planned.ci_low, planned.ci_high, planned.p_value) == planned.fixed == watched.fixed
    assert (watched.ci_low, watched.ci_high, watched.p_value) == watched.always
    assert watched.ci_low < 0 < planned.ci_low
    assert (watched.verdict, planned.verdict) == (Verdict.KEEP_RUNNING, Verdict.SHIP)
    assert "always-valid 95% interval" in watched.sentence
    assert "tuned to 500 users, since nobody planned" in unplanned.interval_sentence


def test_keep_running_says_how_many_users_and_how_many_days_at_the_real_rate():
    card = judge(evidence(two(n=100, treatment=52), plan=replace(PLAIN, n_users=1000), days=4))
    assert (card.verdict, card.more_users, card.users_per_day, card.days_left) == (Verdict.KEEP_RUNNING, 800, 50, 16)
    assert "800 more (16 days at 50 new users a day)" in card.sentence
    assert 0 < card.power_now < 1
    assert 0 < card.conditional_power < 1


def test_a_plan_changed_after_the_start_cannot_buy_an_interval_for_one_look():
    arms = two(n=100, treatment=53.1)
    lowered = judge(evidence(arms, plans=(replace(PLAIN, n_users=1000), replace(PLAIN, n_users=200))))
    named_late = judge(evidence(arms, plans=(PLAIN, replace(PLAIN, n_users=200))))
    raised = judge(evidence(arms, plans=(replace(PLAIN, n_users=200), replace(PLAIN, n_users=1000))))
    assert {card.interval_kind for card in (lowered, named_late, raised)} == {IntervalKind.ALWAYS_VALID}
    assert (lowered.n_planned, named_late.n_planned, raised.n_planned) == (1000, None, 1000)
    assert lowered.plan_version == 2
    assert "planned users" in lowered.plan_changes[1].changes[0]


@pytest.mark.parametrize("planned", [None, 300])
def test_three_treatments_share_one_error_rate_and_the_interval_agrees_with_the_adjusted_p(planned):
    arms = {"base": users(75, 50), **{f"v{n}": users(75, 50 + 1.3 * n, seed=n) for n in (1, 2, 3)}}
    card = judge(evidence(arms, plan=replace(PLAIN, n_users=planned)))
    rows = {row.variant: row for row in card.metrics}
    assert card.treatment == "v3"
    assert all(row.p_adjusted >= row.comparison.p_value for row in rows.values())
    assert (rows["v3"].p_adjusted <= 0.05) == (card.ci_low > 0)
    assert card.fixed[0] > card.ci_low
    assert "3 comparisons decide" in card.adjustment
    assert "Holm" in card.adjustment
    assert [variant.name for variant in card.variants] == ["base", "v1", "v2", "v3"]


def test_over_many_draws_the_counting_interval_excludes_zero_exactly_when_the_adjusted_p_is_at_most_alpha():
    rng = np.random.default_rng(5)
    for n in range(60):
        arms = {name: users(40, rng.normal(50, 4), seed=7 * n + i) for i, name in enumerate("abcd")}
        card = judge(evidence(arms, plan=replace(PLAIN, n_users=None if n % 2 else 160)))
        headline = next(row for row in card.metrics if row.variant == card.treatment)
        assert (card.ci_low > 0 or card.ci_high < 0) == (headline.p_adjusted <= 0.05)


def test_where_less_is_better_a_drop_ships():
    plan = Plan(primary=("latency_ms",), guardrails=(), watched=(), minimum_effect=10.0)
    slower = {"base": users(200, 50_000, 5_000), "new": users(200, 45_000, 5_000, seed=1)}
    card = judge(evidence(slower, plan=plan))
    assert (card.verdict, card.rule) == (Verdict.SHIP, "better")
    assert card.ci_high < 0
    assert judge(evidence({"base": slower["new"], "new": slower["base"]}, plan=plan)).rule == "worse"


def test_guardrails_are_watched_by_sequences_and_read_once_at_the_planned_size():
    watched = judge(evidence(two(treatment=60), plan=LATENCY, metrics=latency(treatment=530)))
    planned = judge(evidence(two(treatment=60), plan=replace(LATENCY, n_users=400), metrics=latency(treatment=530)))
    (sequential,), (fixed,) = watched.guardrails, planned.guardrails
    assert (sequential.is_sequential, fixed.is_sequential) == (True, False)
    assert sequential.worse == pytest.approx(30)
    assert sequential.limit == pytest.approx(50)
    assert fixed.worse_at_most < sequential.worse_at_most
    for guardrail in (sequential, fixed):
        assert (guardrail.state is GuardrailState.HOLDS) == (guardrail.worse_at_most < guardrail.limit)
    assert fixed.state is GuardrailState.HOLDS


def test_an_open_guardrail_says_how_many_users_would_settle_it():
    plan = replace(LATENCY, n_users=400)
    card = judge(evidence(two(treatment=60), plan=plan, metrics=latency(treatment=546)))
    assert card.rule == "guardrail_open"
    assert f"{card.more_users:,} more" in card.sentence
    assert "would settle it" in card.sentence
    found = latency(n=200 + card.more_users // 2 + 2, treatment=546)
    later = judge(evidence(two(n=200 + card.more_users // 2 + 2, treatment=60), plan=plan, metrics=found))
    assert later.rule == "better"


def test_thompson_sampling_withholds_what_holds_for_one_look_and_tests_no_split():
    card = judge(evidence(two(treatment=60), policy="thompson", plan=replace(PLAIN, n_users=400)))
    assert card.interval_kind is IntervalKind.ALWAYS_VALID
    assert card.fixed == (None, None, None)
    assert card.metrics[0].comparison.p_value is None
    assert card.srm_p_value is None
    assert card.srm.sentence.startswith("Not tested")


def test_nobody_served_yet_claims_nothing():
    card = judge(evidence({"base": users(2, 50)._replace(n=0), "new": users(2, 50)._replace(n=0)}))
    assert (card.verdict, card.effect, card.p_value, card.srm_p_value, card.users_per_day) == (
        Verdict.KEEP_RUNNING, None, None, None, 0,
    )  # fmt: skip
    assert card.more_users == 20


def test_users_who_are_all_alike_give_no_p_value_but_a_sentence():
    card = judge(evidence({"base": users(50, 50, 0.0), "new": users(50, 60, 0.0)}))
    assert (card.p_value, card.ci_low) == (None, None)
    assert "do not differ enough to tell" in card.sentence
    assert "same value" in card.metrics[0].note


def test_an_empty_variant_among_three_blocks_and_is_named():
    arms = {"base": users(50, 50), "new": users(50, 60, seed=1), "lost": users(2, 50)._replace(n=0)}
    card = judge(evidence(arms))
    assert card.rule == "sample_ratio_mismatch"
    assert "No user was served by lost." in card.warnings


def test_a_split_that_was_watched_is_blocked_by_the_sequential_p_alone():
    """A chi-square of 0.0008 is to be expected at one of many looks: it blocks where it is the only one."""
    fair = judge(evidence(two(), n_users={"base": 5000, "new": 5340}))
    assert fair.srm.p_value < 0.001 < fair.srm.sequential_p == fair.srm_p_value
    assert not fair.srm.blocked
    assert fair.verdict is not Verdict.BLOCKED
    assert f"p = {fair.srm.sequential_p:.2g} over all looks so far, which decides" in fair.srm.sentence
    once = judge(evidence(two(), n_users={"base": 5000, "new": 5340}, days=0))
    assert (once.srm.blocked, once.srm.sequential_p) == (True, None)
    assert once.sentence.endswith(f"(p = {once.srm.p_value:.1g}); find what lost users first.")
    lost = judge(evidence(two(), n_users={"base": 5000, "new": 5600}))
    assert (lost.srm.blocked, lost.rule) == (True, "sample_ratio_mismatch")
    assert f"(p = {lost.srm.sequential_p:.1g})" in lost.sentence


def test_a_verdict_over_few_users_says_that_a_ratio_finds_too_much():
    few, enough = (judge(evidence(two(n=n))) for n in (20, 50))
    assert next(text for text in few.warnings if "ratio of sums is found to differ" in text).startswith(
        "A variant has 20 users with a known answer, and below 50 an arm"
    )
    assert not any("found to differ" in text for text in enough.warnings)


def test_a_rival_that_is_surely_worse_is_named():
    arms = {"base": users(100, 50), "good": users(100, 60, seed=1), "bad": users(100, 40, seed=2)}
    card = judge(evidence(arms))
    assert (card.treatment, card.verdict) == ("good", Verdict.SHIP)
    assert "bad is surely worse than base: take it out of the experiment." in card.warnings


def test_fifty_variants_are_read_like_two():
    arms = {f"v{n}": users(30, 50, seed=n) for n in range(50)}
    card = judge(evidence(arms))
    assert len(card.variants) == 50
    assert len(card.metrics) == 49
    assert {row.role for row in card.metrics} == {Role.PRIMARY}


def test_a_guardrail_that_few_users_hold_constant_is_open_until_the_planned_users_are_in():
    def state(n: int, planned: int | None, value: float = 0.0) -> GuardrailState:
        plan = Plan(guardrails=(Guard("latency_ms", 0.1, False),), watched=(), n_users=planned)
        arms = {"base": users(n, 0.0, 0.0), "new": users(n, value, 0.0, seed=1)}
        (found,) = judge(evidence(two(), plan=plan, metrics={"latency_ms": arms})).guardrails
        return found.state

    assert state(10, None) is GuardrailState.OPEN  # 3 in 10 may still differ
    assert state(30, None) is GuardrailState.HOLDS
    assert state(30, 200) is GuardrailState.OPEN
    assert state(100, 200) is GuardrailState.HOLDS
    assert state(10, 200, 50.0) is GuardrailState.BROKEN


def test_effects_differ_by_segment_at_the_plans_alpha_and_not_at_a_fixed_one():
    parts = tuple(
        SegmentPart("region", value, variant, 100, users(100, mean, seed=seed))
        for seed, (value, variant, mean) in enumerate(
            [("north", "base", 50.0), ("north", "new", 50.0), ("south", "base", 50.0), ("south", "new", 54.5)]
        )
    )
    told = {}
    for alpha in (0.05, 0.01):
        made = evidence(two(), plan=replace(PLAIN, alpha=alpha))
        (found,) = judge(replace(made, sums=made.sums._replace(segments=parts))).heterogeneity
        assert 0.01 < found.p_value < 0.05
        told[alpha] = found.sentence.startswith("The effect differs by region more than chance")
    assert told == {0.05: True, 0.01: False}
