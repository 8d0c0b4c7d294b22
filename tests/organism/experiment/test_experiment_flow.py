import json
from datetime import datetime, timedelta

import numpy as np
import pytest
from scipy.stats import ttest_ind

from organism.errors import DesignError, InputError
from organism.experiment.flow import analyze, assign_user, decide, effect_track, read_experiment, start_experiment
from organism.experiment.plan import Plan
from organism.experiment.rules import RULES
from organism.experiment.scorecard import GuardrailState
from organism.experiment.sentences import request as request_words
from organism.records import Verdict
from organism.store.decisions import read_decisions
from organism.store.experiments import read_experiments

NOW = datetime(2026, 9, 7, 8)


def guardrails(card) -> dict[str, GuardrailState]:
    return {guardrail.metric: guardrail.state for guardrail in card.guardrails}


def test_a_real_gain_ships_with_every_figure_beside_it(store, traffic, experiment_id):
    traffic()
    card = analyze(store, experiment_id)
    assert (card.verdict, card.rule, card.more_users) == (Verdict.SHIP, "better", None)
    assert 0.15 < card.ci_low < 0.25 < card.ci_high < 0.35
    assert card.n_users["base"] + card.n_users["scribe-2"] == 60
    assert card.n_interactions == 480
    assert set(guardrails(card).values()) == {GuardrailState.HOLDS}
    assert {row.metric for row in card.metrics} == {
        "retained_char_rate", "written_share", "accepted", "latency_ms", "cost_usd", "output_tokens",
    }  # fmt: skip
    assert card.sentence.startswith("Ship scribe-2: it is better and every guardrail holds. Of what scribe-2 wrote, 7")
    assert "simulated users" in card.sentence


def test_the_primary_effect_equals_welch_when_all_drafts_are_equally_long(store, traffic, experiment_id):
    traffic(n_users=40)
    card = analyze(store, experiment_id)
    rates = store.frame("SELECT user_key, variant_id, avg(retained_chars / 100) AS rate FROM signals GROUP BY ALL")
    control, treatment = (rates.loc[rates["variant_id"] == name, "rate"] for name in ("base", "scribe-2"))
    wanted = ttest_ind(treatment, control, equal_var=False)
    interval = wanted.confidence_interval()
    assert card.fixed == pytest.approx((interval.low, interval.high, wanted.pvalue), rel=1e-9)


def test_drafts_of_one_user_resemble_each_other_and_the_page_can_say_how_much(store, traffic, experiment_id):
    traffic(per_user=12, retained=(50, 53))
    card = analyze(store, experiment_id)
    assert card.request_level.n_requests == 720
    assert card.request_level.design_effect > 3
    assert card.request_level.p_value < card.p_value
    assert "so users are the units" in card.request_sentence


def test_where_users_are_alike_the_words_claim_no_resemblance(store, traffic, experiment_id):
    traffic()
    card = analyze(store, experiment_id)
    alike = card.request_level._replace(design_effect=0.9)
    assert "nearly agree" in request_words(alike, card.fixed[2])
    assert request_words(alike._replace(p_value=None), card.fixed[2]) == ""


def test_too_few_users_never_win(store, traffic, experiment_id):
    traffic(n_users=12, retained=(20, 90))
    card = analyze(store, experiment_id)
    assert (card.verdict, card.rule) == (Verdict.KEEP_RUNNING, "too_few_users")
    assert card.more_users >= 8
    assert f"{card.more_users} more are needed" in card.sentence


def test_no_traffic_at_all_keeps_running_and_says_nothing_else(store, experiment_id):
    card = analyze(store, experiment_id)
    assert (card.verdict, card.effect, card.p_value, card.more_users) == (Verdict.KEEP_RUNNING, None, None, 20)
    assert effect_track(store, experiment_id).empty


def test_noise_asks_for_more_users_until_the_plan_is_met_and_then_keeps_the_control(store, traffic, experiment_id):
    traffic(n_users=30, retained=(50, 51))
    early = analyze(store, experiment_id)
    assert (early.verdict, early.rule) == (Verdict.KEEP_RUNNING, "not_settled")
    assert early.more_users > 0
    assert f"{early.more_users} more simulated users" in early.sentence
    traffic(n_users=240, per_user=4, retained=(50, 50), seed=5, prefix="later")
    late = analyze(store, experiment_id)
    assert (late.verdict, late.rule, late.more_users) == (Verdict.STOP, "no_worthwhile_gain", None)


def test_a_worse_version_rolls_back(store, traffic, experiment_id):
    traffic(retained=(70, 50))
    card = analyze(store, experiment_id)
    assert (card.verdict, card.rule) == (Verdict.ROLL_BACK, "worse")


@pytest.mark.parametrize(
    ("change", "broken"),
    [({"latency": (500, 1200)}, "latency_ms"), ({"retained": (50, 65), "final": (60, 110)}, "written_share")],
)
def test_a_better_version_that_breaks_a_guardrail_rolls_back(store, traffic, experiment_id, change, broken):
    traffic(**change)
    card = analyze(store, experiment_id)
    assert (card.verdict, card.rule) == (Verdict.ROLL_BACK, "guardrail_broken")
    assert guardrails(card)[broken] is GuardrailState.BROKEN
    assert f"breaks the guardrail on {broken.removesuffix('_ms').replace('_', ' ')}" in card.sentence


def test_a_guardrail_that_is_not_settled_keeps_it_running(store, traffic, experiment_id):
    traffic(n_users=40, per_user=3, latency=(500, 745))
    card = analyze(store, experiment_id)
    assert guardrails(card)["latency_ms"] is GuardrailState.OPEN
    assert (card.verdict, card.rule) == (Verdict.KEEP_RUNNING, "guardrail_open")


def test_a_metric_that_nobody_sends_does_not_hold_a_version_back_but_is_named(store, traffic, experiment_id):
    traffic(latency_sent=False)
    card = analyze(store, experiment_id)
    assert guardrails(card)["latency_ms"] is GuardrailState.UNMEASURED
    assert card.verdict is Verdict.SHIP
    assert "every guardrail but latency, which nothing measures, holds" in card.sentence


def test_a_lost_arm_blocks_the_scorecard(store, events, traffic, experiment_id):
    traffic(n_users=40)
    n = 0
    while len(events.interactions) < 40:
        n += 1
        if assign_user(store, experiment_id, f"extra-{n}", NOW).variant == "scribe-2":
            events.answered(f"extra-{n}", 75, NOW, experiment_id=experiment_id, variant_id="scribe-2")
    events.write()
    card = analyze(store, experiment_id)
    assert (card.verdict, card.rule) == (Verdict.BLOCKED, "sample_ratio_mismatch")
    assert card.srm_p_value < 0.001
    assert card.sentence.startswith("Do not read this experiment")


def test_users_of_both_arms_are_counted_and_excluded(store, events, traffic, experiment_id):
    traffic(n_users=40)
    before = analyze(store, experiment_id)
    for variant in ("base", "scribe-2"):
        events.answered("wanderer", 100, NOW, experiment_id=experiment_id, variant_id=variant)
    given = assign_user(store, experiment_id, "misled", NOW).variant
    wrong = "base" if given == "scribe-2" else "scribe-2"
    events.answered("misled", 100, NOW, experiment_id=experiment_id, variant_id=wrong)
    events.write()
    card = analyze(store, experiment_id)
    assert (card.verdict, card.rule, card.n_in_both) == (Verdict.BLOCKED, "users_in_both", 2)
    assert (card.effect, card.n_interactions) == (before.effect, before.n_interactions)


def test_the_track_ends_where_the_scorecard_stands(store, traffic, experiment_id):
    traffic(per_user=6)
    track, card = effect_track(store, experiment_id), analyze(store, experiment_id)
    assert list(track.columns) == [
        "day", "effect", "low", "high", "always_low", "always_high", "n_users", "n_interactions",
    ]  # fmt: skip
    assert len(track) == 6
    last = track.iloc[-1]
    assert (last["low"], last["high"]) == pytest.approx(card.fixed[:2])
    assert (last["effect"], last["always_low"], last["always_high"]) == pytest.approx((card.effect, *card.always[:2]))
    assert last["n_interactions"] == card.n_interactions
    assert track["n_interactions"].is_monotonic_increasing


def test_an_assignment_sticks_and_is_logged_with_its_probability(store, experiment_id):
    first = assign_user(store, experiment_id, "user-1", NOW)
    again = assign_user(store, experiment_id, "user-1", NOW + timedelta(days=1))
    assert (again.variant, again.probability, again.reason) == (first.variant, first.probability, "kept")
    assert first.probability == 0.5
    assert first.model_version_id == {"base": "id-base", "scribe-2": "id-scribe-2"}[first.variant]
    assert store.rows("SELECT count(*) FROM assignments") == [(1,)]
    with pytest.raises(InputError, match="no user was named"):
        assign_user(store, experiment_id, "", NOW)


def test_one_pair_runs_once_at_a_time_and_the_next_one_deals_anew(store, events, versions, experiment_id):
    again = (store, events.loop_id, "first", versions["base"], versions["scribe-2"])
    with pytest.raises(DesignError, match="'first' already compares these variants"):
        start_experiment(*again, now=NOW)
    decide(store, experiment_id, Verdict.ROLL_BACK, "not now", "Ann", now=NOW)
    salts = [read_experiment(store, e).salt for e in (experiment_id, start_experiment(*again, now=NOW))]
    assert salts == ["first", "first #2"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"treatment_version_id": "id-base"}, "on both sides"),
        ({"treatment_share": 1.0}, "between 0 and 1"),
        ({"treatment_version_id": "nobody"}, "nobody"),
        ({"plan": Plan(minimum_effect=0)}, "minimum effect"),
    ],
)
def test_an_impossible_experiment_is_a_sentence(store, events, versions, change, said):
    asked = {"control_version_id": versions["base"], "treatment_version_id": versions["scribe-2"], "name": "x"} | change
    with pytest.raises((DesignError, InputError), match=said):
        start_experiment(store, events.loop_id, now=NOW, **asked)


def test_a_decision_keeps_the_scorecard_and_closes_the_experiment(store, events, traffic, experiment_id):
    traffic()
    card = analyze(store, experiment_id)
    decide(store, experiment_id, Verdict.KEEP_RUNNING, "wait for Monday", "Ann", now=NOW)
    assert read_experiment(store, experiment_id).status == "running"
    decide(store, experiment_id, Verdict.SHIP, "it keeps more", "Ann", now=NOW + timedelta(days=1))
    kept = read_decisions(store, experiment_id)
    assert kept["verdict"].tolist() == ["ship", "keep_running"]
    scorecard = json.loads(kept["scorecard"][0])
    assert scorecard["effect"] == card.effect
    assert scorecard["metrics"][0]["comparison"]["p_value"] == card.fixed[2]
    assert (scorecard["verdict"], scorecard["rule"]) == ("ship", "better")
    row = read_experiments(store, events.loop_id).iloc[0]
    assert (row["status"], row["verdict"], row["rule"], row["actor"]) == ("decided", "ship", "better", "Ann")
    with pytest.raises(DesignError, match="the record stands"):
        decide(store, experiment_id, Verdict.ROLL_BACK, "changed my mind", "Bob", now=NOW)
    with pytest.raises(DesignError, match="has ended"):
        assign_user(store, experiment_id, "a newcomer", NOW)


def test_a_second_decision_is_refused_before_anything_is_computed(store, traffic, experiment_id):
    traffic()
    decide(store, experiment_id, Verdict.SHIP, "it keeps more", "Ann", now=NOW)
    store.execute("UPDATE experiments SET started_at = NULL", [], "experiments")
    with pytest.raises(DesignError, match="has not started"):
        analyze(store, experiment_id)
    with pytest.raises(DesignError, match=r"was decided at .* and the record stands"):
        decide(store, experiment_id, Verdict.SHIP, "again", "Bob", now=NOW)


def test_an_unknown_id_names_the_five_newest_and_how_many_more(store, experiment_id):
    for n in range(7):
        store.execute(
            "INSERT INTO experiments BY NAME SELECT * REPLACE (? AS experiment_id) FROM experiments "
            "WHERE experiment_id = ?",
            [f"f{n}", experiment_id],
            "experiments",
        )
    with pytest.raises(InputError, match=r"known: f6, f5, f4, f3, f2 and 3 more$"):
        analyze(store, "nothing")


def test_a_decision_needs_a_reason_and_a_name_and_an_experiment(store, experiment_id):
    with pytest.raises(InputError, match="one sentence that says why"):
        decide(store, experiment_id, Verdict.SHIP, " ", "Ann", now=NOW)
    with pytest.raises(InputError, match="no experiment has the id 'nothing'"):
        analyze(store, "nothing")


def test_every_rule_is_written_once_and_the_last_one_always_fits():
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert RULES[-1].verdict is Verdict.SHIP
    assert np.all([rule.when for rule in RULES])
