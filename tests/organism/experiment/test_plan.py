"""What a plan may say, and how two of its versions differ in words."""

from dataclasses import replace

import pytest

from organism.errors import DesignError
from organism.experiment.plan import Guard, Plan, check_plan, differences, margin_words, plan_from, plan_of


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"primary": ()}, "no primary metric"),
        ({"primary": ("accepted", "accepted")}, "accepted is named twice as a primary metric"),
        ({"guardrails": (Guard("latency_ms", 0.0),)}, "guardrail latency_ms has the margin 0"),
        ({"guardrails": (Guard("latency_ms", -0.1),)}, "give one above 0"),
        ({"guardrails": (Guard("latency_ms", float("nan")),)}, "guardrail latency_ms has the margin nan"),
        ({"guardrails": (Guard("error", 0.1), Guard("error", 0.2))}, "error is named twice as a guardrail"),
        ({"minimum_effect": 0}, "minimum effect above 0"),
        ({"minimum_effect": float("nan")}, "minimum effect above 0"),
        ({"covariates": ("accepted", "accepted")}, "accepted is named twice as a covariate"),
        ({"watched": tuple(f"outcome.{n}" for n in range(21))}, "found 21 names, each a watched signal"),
        ({"alpha": 0.6}, "alpha between 0 and 0.5"),
        ({"power": 1.0}, "power from 0.5 to below 1"),
        ({"n_users": 2}, "4 in all"),
        ({"n_users": 10**400}, "at most 10,000,000,000 users"),
        ({"min_users_per_arm": 10**400}, "at most 10,000,000,000 users"),
    ],
)
def test_an_impossible_plan_is_refused_in_one_sentence(fields, said) -> None:
    with pytest.raises(DesignError, match=said):
        check_plan(Plan(**fields))


def test_a_plan_survives_being_kept_as_plain_data() -> None:
    plan = Plan(primary=("reward",), guardrails=(Guard("error", 0.01, False),), covariates=("accepted",), n_users=300)
    assert plan_of(plan.plain()) == plan


def test_a_usual_guardrail_that_becomes_the_primary_metric_is_no_guardrail_any_more() -> None:
    plan = plan_from({"primary": ["written_share"]})
    assert [guard.metric for guard in plan.guardrails] == ["latency_ms", "cost_usd"]
    own = plan_from({"primary": ["written_share"], "guardrails": [Guard("written_share", 0.1)._asdict()]})
    assert [guard.metric for guard in own.guardrails] == ["written_share"]


def test_versions_differ_in_words_and_what_could_bend_a_verdict_is_telling() -> None:
    before = Plan()
    after = replace(
        before,
        primary=("accepted",),
        watched=("output_tokens",),
        guardrails=(Guard("written_share", 0.05, False), Guard("error", 0.01, False)),
        n_users=400,
    )
    found = {one.words: one.is_telling for one in differences(before, after)}
    assert found == {
        "primary metrics: Retained characters → Drafts used": True,
        "signals to watch: Drafts used, Length → Length": False,
        "planned users: none → 400": False,
        "guardrail Latency taken away (margin 0.5 × the control's value)": False,
        "guardrail Cost taken away (margin 0.5 × the control's value)": False,
        "guardrail Errors added, margin 0.01 in its own unit": False,
        "margin of Written share: 0.02 in its own unit → 0.05 in its own unit": False,
    }
    assert differences(before, before) == []


@pytest.mark.parametrize("field", ["alpha", "power", "minimum_effect"])
def test_error_rates_and_the_least_gain_are_telling(field) -> None:
    (found,) = differences(Plan(), replace(Plan(), **{field: 0.6 if field == "power" else 0.01}))
    assert found.is_telling


def test_fewer_planned_users_are_telling_and_more_are_not() -> None:
    (fewer,) = differences(Plan(n_users=400), Plan(n_users=120))
    (more,) = differences(Plan(n_users=400), Plan(n_users=600))
    assert (fewer.is_telling, more.is_telling) == (True, False)


def test_a_margin_says_its_unit() -> None:
    assert margin_words(Guard("latency_ms", 0.5)) == "0.5 × the control's value"
    assert margin_words(Guard("written_share", 0.02, False)) == "0.02 in its own unit"
