"""Evidence read from a store, kept as JSON, and judged again: the same bytes."""

import json
from datetime import timedelta

import pytest

from organism.digest.flow import save_design
from organism.errors import DesignError, InputError
from organism.experiment.evidence import from_json, to_json
from organism.experiment.flow import analyze, evidence_of, start_variants, track_of
from organism.experiment.plan import Guard, Plan
from organism.experiment.reading import measure
from organism.experiment.rules import judge
from organism.records import RewardDesign, SignalSpec, Variant, Verdict
from organism.store.decisions import read_decisions
from organism.wire import as_json
from tests.organism.experiment.conftest import NOW

LATER = NOW + timedelta(days=9)
FULL = Plan(
    primary=("retained_char_rate", "reward"),
    guardrails=(Guard("latency_ms.p95", 0.2), Guard("cost_usd", 0.5)),
    watched=("accepted", "output_tokens", "error"),
    covariates=("retained_char_rate",),
    segments=("region", "plan"),
)


@pytest.fixture
def full(store, events) -> str:
    """Three variants under a plan that asks for everything, lived through; returns the experiment's id."""
    design = RewardDesign(
        name="mine",
        signals=(SignalSpec("retained_char_rate", 2.0, 0.0, 1.0), SignalSpec("latency_ms", 1.0, 1000.0, 0.0, 0.5)),
        note="more kept",
    )
    save_design(store, events.loop_id, design, now=NOW - timedelta(days=30))
    variants = [Variant(name=name, share=share) for name, share in (("base", 0.5), ("a", 0.25), ("b", 0.25))]
    experiment_id = start_variants(store, events.loop_id, "three", variants, plan=FULL, now=NOW)
    for n in range(120):
        name = ("base", "a", "base", "b")[n % 4]
        habit = n * 7 % 23
        events.answered(f"u{n}", 40 + habit, NOW - timedelta(days=2), variant_id="old")
        for day in range(4):
            at = NOW + timedelta(days=day + n % 3, minutes=n)
            kept = 40 + habit + (n + day * 5) % 7 + {"base": 0, "a": 2, "b": 12}[name]
            sent = {
                "region": ("north", "south")[n % 2],
                "attributes": f'{{"plan": "{("gold", "silver")[n // 8 % 2]}"}}',
            }
            latency = 400.0 + (n * 13 + day * 31) % 97
            events.answered(f"u{n}", kept, at, experiment_id=experiment_id, variant_id=name, latency_ms=latency, **sent)
    events.write()
    return experiment_id


def test_what_is_kept_is_judged_again_to_the_same_bytes(store, full):
    evidence = evidence_of(store, full, LATER)
    kept = to_json(evidence)
    again = from_json(kept)
    assert again == evidence
    assert to_json(again) == kept
    assert as_json(judge(again)) == as_json(judge(evidence))
    assert track_of(again).equals(track_of(evidence))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"experiment_id": 3}', "null"])
def test_what_is_no_evidence_is_a_sentence(text):
    with pytest.raises(InputError, match="no evidence of an experiment"):
        from_json(text)


def test_everything_the_plan_asks_for_is_on_the_card(store, full):
    card = analyze(store, full, LATER)
    assert (card.treatment, card.verdict, card.rule) == ("b", Verdict.SHIP, "better")
    assert {row.metric for row in card.metrics} == {
        "retained_char_rate", "written_share", "reward", "latency_ms.p95", "cost_usd", "accepted", "output_tokens",
        "error",
    }  # fmt: skip
    assert {row.kind for row in card.metrics if row.metric == "latency_ms.p95"} == {"quantile"}
    assert {(row.segment, row.value) for row in card.segments} == {
        ("region", "north"), ("region", "south"), ("plan", "gold"), ("plan", "silver"),
    }  # fmt: skip
    known = [row for row in card.segments if row.segment == "plan"]
    assert all(row.p_adjusted >= row.p_value for row in known)
    assert {row.note for row in card.segments if row not in known} == {
        "Too few users of a variant with a value for an interval."
    }
    assert "Benjamini–Hochberg adjusted over 4 comparisons" in card.segment_adjustment
    assert {one.segment for one in card.heterogeneity} == {"region", "plan"}
    assert card.weights_flip.design == "mine"
    assert {flip.signal for flip in card.weights_flip.flips} == {"retained_char_rate", "latency_ms"}
    assert card.novelty.slope_p is not None
    assert "4 comparisons decide (2 primary metrics, 2 treatments)" in card.adjustment
    assert "CREATE TEMP TABLE experiment_units" in card.sql
    assert card.users_per_day == pytest.approx(40 / 7)


def test_the_past_takes_out_of_the_noise_what_users_always_did(store, full):
    card = analyze(store, full, LATER)
    assert card.cuped.is_headline
    assert card.cuped.variance_reduction > 0.8
    assert card.cuped.worth_more_users == pytest.approx(1 / (1 - card.cuped.variance_reduction) - 1)
    assert f"as if {card.cuped.worth_more_users:.0%} more users had come" in card.cuped.sentence
    assert "users have retained characters from the 28 days" in card.cuped.sentence, "a label, no column's name"
    assert card.cuped.unadjusted_high - card.cuped.unadjusted_low > 2 * (card.ci_high - card.ci_low)
    last = track_of(evidence_of(store, full, LATER)).iloc[-1]
    assert (last["effect"], last["always_low"]) == pytest.approx((card.effect, card.always[0]))


def test_each_treatment_has_its_own_track(store, full):
    evidence = evidence_of(store, full, LATER)
    assert track_of(evidence).equals(track_of(evidence, "b"))
    assert track_of(evidence, "a")["effect"].iloc[-1] < track_of(evidence, "b")["effect"].iloc[-1]
    with pytest.raises(InputError, match="'c' is no treatment of this experiment; it has a, b"):
        track_of(evidence, "c")


@pytest.mark.parametrize("primary", ["nothing_of_the_kind", "outcome.sale", "reward", "nothing.p95"])
def test_a_metric_that_nobody_measures_is_a_sentence(store, events, primary):
    variants = [Variant(name="base", share=0.5), Variant(name="new", share=0.5)]
    plan = Plan(primary=(primary,), guardrails=(Guard("ttft_ms.p50", 0.1),), watched=("gone",))
    experiment_id = start_variants(store, events.loop_id, "x", variants, plan=plan, now=NOW)
    for n in range(40):
        events.answered(f"u{n}", 60, NOW, experiment_id=experiment_id, variant_id=("base", "new")[n % 2])
    events.write()
    card = analyze(store, experiment_id, LATER)
    assert (card.verdict, card.effect, card.p_value) == (Verdict.KEEP_RUNNING, None, None)
    assert card.sentence == f"Nothing can be told: no signal of this loop measures {primary}; name another in the plan."
    assert f"Nothing measures {primary}: no signal has that name." in card.warnings
    assert card.guardrails[0].state == "unmeasured"
    assert track_of(evidence_of(store, experiment_id, LATER)).empty


def test_a_quantile_can_be_the_primary_metric(store, events):
    variants = [Variant(name="base", share=0.5), Variant(name="new", share=0.5)]
    plan = Plan(primary=("latency_ms.p95",), guardrails=(), watched=(), minimum_effect=20.0)
    experiment_id = start_variants(store, events.loop_id, "x", variants, plan=plan, now=NOW)
    for n in range(400):
        latency = float(300 + (n * 37) % 101 + 150 * (n // 8 % 2))
        events.draft(
            f"u{n // 4}",
            NOW + timedelta(minutes=n),
            experiment_id=experiment_id,
            variant_id=("base", "new")[n // 4 % 2],
            latency_ms=latency - 100 * (n // 4 % 2),
        )
    events.write()
    card = analyze(store, experiment_id, LATER)
    assert card.verdict is Verdict.SHIP
    assert card.effect == pytest.approx(-100, abs=5)
    assert card.primary_label == "Latency p95, ms"
    assert card.request_sentence == ""
    assert card.cuped is None


def test_an_experiment_that_is_only_planned_has_no_scorecard(store, experiment_id):
    store.execute("UPDATE experiments SET started_at = NULL, status = 'planned'", [], "experiments")
    with pytest.raises(DesignError, match="is planned and has not started"):
        analyze(store, experiment_id)
    assert read_decisions(store, experiment_id).empty


def test_the_card_is_json_without_a_hole(store, full):
    said = json.loads(as_json(analyze(store, full, LATER)))
    assert said["novelty"]["days"][0]["n_control"] > 0
    assert said["srm"]["counts"] == {"base": 60, "a": 30, "b": 30}
    assert said["plan"]["covariates"] == ["retained_char_rate"]


def test_which_way_an_outcome_is_better_is_as_the_reward_design_says():
    specs = (SignalSpec("outcome.refund", 1.0, 1.0, 0.0), SignalSpec("accepted", 1.0, 1.0, 0.0))
    design = RewardDesign(name="mine", signals=specs)
    assert (measure("outcome.refund", None).better, measure("outcome.refund", design).better) == (1, -1)
    assert measure("accepted", design).better == 1, "what a usual signal means, no design turns round"
    assert measure("complaints", None).better == 0, "nobody says"
