"""From a draft to a frozen plan and its later versions, sized by what a loop's users really did."""

from collections.abc import Callable
from datetime import datetime, timedelta
from math import ceil

import numpy as np
import pytest

from organism.errors import DesignError, InputError
from organism.experiment.flow import decide, start_experiment
from organism.experiment.plan import Guard, Plan, plan_of
from organism.experiment.plan_flow import (
    Proposal,
    change_plan,
    drop_plan,
    plan_changes,
    plan_experiment,
    proposal_of,
    revise_plan,
    size_plan,
    sized,
    start_planned,
    variants_of,
)
from organism.experiment.sizing_flow import read_loop_traffic
from organism.records import ModelVersion, RewardDesign, SignalSpec, Variant, Verdict
from organism.stats.power import Design, sample_size
from organism.store.experiments import read_experiment
from organism.store.holdouts import put_holdout
from organism.store.loops import ensure_loop
from organism.store.model_versions import insert_version
from organism.store.plans import read_plan_versions
from organism.store.reward_designs import append_design

START = datetime(2026, 9, 7, 8)
NOW = START + timedelta(days=70)


@pytest.fixture
def versions(store, events) -> None:
    """Two versions of the loop, and one of another."""
    other = ensure_loop(store, "mails", START)
    made = [
        ModelVersion(
            model_version_id=f"id-{name}", loop_id=loop, name=name, base_path="bundled:x", adapter_path=None,
            run_id=None, dataset_id=None, reward_design_id=None, created_at=START,
        )
        for name, loop in (("base", events.loop_id), ("tuned", events.loop_id), ("mailer", other))
    ]  # fmt: skip
    store.write(lambda cursor: [insert_version(cursor, version) for version in made], "model_versions")


@pytest.fixture
def history(store, events) -> Callable[..., None]:
    """Ten weeks of users who come once a week, with a habit of their own that stays."""

    def write(n_users: int = 40, weeks: int = 10, newcomers: int = 0, region: str = "north") -> None:
        rng = np.random.default_rng(1)
        for n in range(n_users + newcomers * weeks):
            habit, debut = rng.normal(60, 10), 0 if n < n_users else (n - n_users) // newcomers
            for week in range(debut, weeks):
                at = START + timedelta(weeks=week, days=1, minutes=n)
                kept = int(np.clip(habit + rng.normal(0, 5), 0, 100))
                events.answered(f"user-{n}", kept, at, region=region if n % 4 else "south")
        events.write()

    return write


@pytest.fixture
def proposal(store, events, versions) -> Proposal:
    return Proposal(variants=variants_of(store, events.loop_id, [{"name": "base"}, {"name": "tuned"}]))


def test_the_size_is_that_of_the_loop_s_own_variance_and_traffic(store, events, history, proposal) -> None:
    history()
    found = size_plan(store, events.loop_id, proposal, NOW)
    last = store.rows("SELECT max(occurred_at) FROM signals")[0][0]
    rates = store.rows(
        "SELECT sum(retained_chars) / sum(draft_chars) FROM signals WHERE occurred_at > ?::TIMESTAMP - to_days(56) "
        "GROUP BY user_key",
        [last],
    )
    traffic = read_loop_traffic(store, events.loop_id, proposal, NOW)
    assert traffic.measured_on == "base", "the control served them"
    assert [span.days for span in traffic.spans] == [7, 14, 28, 56]
    assert [span.n_users for span in traffic.spans] == [40] * 4
    assert traffic.users_per_week == 40
    assert traffic.new_users_per_week == 0
    longest = traffic.spans[-1].spreads["retained_char_rate"]
    assert longest.variance == pytest.approx(np.var(rates, ddof=1)), "all drafts are equally long"
    assert longest.n_users == 40
    assert found.n_users == ceil(sample_size(Design(variance=longest.variance), 0.05))
    assert found.days is None, "forty users come back, and nobody else"
    assert "You will not get there: 40 users a week, hardly any of them new" in found.sentence
    assert "CUPED" in found.advice[0].words


def test_covariates_take_out_what_the_users_own_past_explains(store, events, history, proposal) -> None:
    history()
    plan = Plan(covariates=("retained_char_rate",))
    found = size_plan(store, events.loop_id, Proposal(variants=proposal.variants, plan=plan), NOW)
    (primary,) = [one for one in found.metrics if one.role == "primary"]
    assert primary.variance_reduction is not None
    assert primary.variance_reduction > 0.8
    plain = size_plan(store, events.loop_id, proposal, NOW)
    assert plain.n_users is not None
    assert found.n_users is not None
    assert found.n_users < plain.n_users / 3
    assert found.is_reached


def test_new_users_who_keep_coming_bring_the_experiment_home(store, events, history, proposal) -> None:
    history(n_users=4, newcomers=10)
    found = size_plan(store, events.loop_id, proposal, NOW)
    assert found.new_users_per_week == pytest.approx(10, abs=0.1)
    assert found.is_reached


def test_layer_holdout_and_targeting_leave_fewer_users(store, events, history, proposal) -> None:
    history()
    put_holdout(store, events.loop_id, 0.2, "salt", "ana", NOW)
    narrow = Proposal(variants=proposal.variants, layer="drafts", layer_high=0.5, targeting={"region": ["north"]})
    traffic = read_loop_traffic(store, events.loop_id, narrow, NOW)
    assert traffic.share == pytest.approx(0.5 * 0.8 * 0.75)
    assert size_plan(store, events.loop_id, narrow, NOW).users_per_week == pytest.approx(40 * 0.3)


def test_targeting_on_what_no_user_carries_says_which_attributes_are_known(store, events, history, proposal) -> None:
    history()
    adults = Proposal(variants=proposal.variants, targeting={"age": {"at_least": 18}})
    found = size_plan(store, events.loop_id, adults, NOW)
    assert found.is_reached is None
    assert (
        "asks for 'age', which no user of this loop was last seen with; attributes that are known: " in found.sentence
    )
    assert "region" in found.sentence
    nobody = size_plan(store, events.loop_id, Proposal(variants=proposal.variants, targeting={"region": ["west"]}), NOW)
    assert "no user of this loop was last seen with what the targeting asks (region is west)" in nobody.sentence


def test_rewards_quantiles_and_outcomes_can_be_planned_with(store, events, history, proposal) -> None:
    history()
    spec = (SignalSpec("retained_char_rate", 1.0, 0.0, 1.0), SignalSpec("latency_ms", 1.0, 1000.0, 0.0))
    append_design(store, events.loop_id, RewardDesign(name="both", signals=spec), NOW)
    plan = Plan(primary=("reward", "latency_ms.p95"), minimum_effect=0.02)
    found = size_plan(store, events.loop_id, Proposal(variants=proposal.variants, plan=plan), NOW)
    reward, p95 = found.metrics[:2]
    assert reward.mean == pytest.approx(0.5 * 0.6 + 0.5 * 0.5, abs=0.03)
    assert reward.n_users is not None
    assert p95.note == "no two users have a value of latency p95 in the last 56 days", "all latencies are 500"


def test_a_loop_without_interactions_can_be_planned_for_and_started(store, events, proposal) -> None:
    kept = plan_experiment(store, events.loop_id, proposal, now=NOW)
    assert kept.sizing.n_users is None
    start_planned(store, kept.experiment_id, now=NOW)
    assert plan_of(read_experiment(store, kept.experiment_id).plan).n_users is None


def test_a_draft_runs_only_from_its_start_and_is_frozen_with_its_size(store, events, history, proposal) -> None:
    history()
    kept = plan_experiment(store, events.loop_id, proposal, actor="ana", now=NOW)
    draft = read_experiment(store, kept.experiment_id)
    assert (draft.status, draft.started_at, draft.name) == ("planned", None, "tuned against base")
    assert plan_of(draft.plan).n_users is None
    again = Proposal(variants=proposal.variants, name="Short notes", plan=Plan(minimum_effect=0.1))
    revise_plan(store, kept.experiment_id, again, now=NOW)
    started = start_planned(store, kept.experiment_id, actor="ben", now=NOW)
    running = read_experiment(store, kept.experiment_id)
    assert (running.status, running.started_at, running.name) == ("running", NOW, "Short notes")
    assert plan_of(running.plan).n_users == started.sizing.n_users is not None
    (version,) = read_plan_versions(store, kept.experiment_id)
    assert (version.version, version.actor) == (1, "ben")
    assert plan_changes(store, kept.experiment_id) == []
    for work in (
        lambda: start_planned(store, kept.experiment_id, now=NOW),
        lambda: revise_plan(store, kept.experiment_id, again, now=NOW),
        lambda: drop_plan(store, kept.experiment_id),
    ):
        with pytest.raises(DesignError, match="running already, so its plan is frozen"):
            work()


def test_a_change_of_a_running_plan_is_a_version_that_says_who_why_and_what(store, events, history, proposal) -> None:
    history()
    kept = plan_experiment(store, events.loop_id, proposal, now=NOW)
    with pytest.raises(DesignError, match="a draft that nobody has started"):
        change_plan(store, kept.experiment_id, {"watched": []}, actor="ana", why="less", now=NOW)
    start_planned(store, kept.experiment_id, now=NOW)
    made = change_plan(
        store,
        kept.experiment_id,
        {"guardrails": [Guard("latency_ms", 0.3)._asdict()], "primary": ["accepted"]},
        actor=" ana ",
        why="Nobody waits",
        now=NOW + timedelta(days=1),
    )
    assert (made.version, made.actor, made.why) == (2, "ana", "Nobody waits")
    assert made.flagged == ("primary metrics: Retained characters → Drafts used (changed after start)",)
    assert "margin of Latency: 0.5 × the control's value → 0.3 × the control's value" in made.words
    assert plan_changes(store, kept.experiment_id) == [made]
    assert read_experiment(store, kept.experiment_id).plan_version == 2
    assert plan_of(read_plan_versions(store, kept.experiment_id)[0].plan).primary == ("retained_char_rate",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "nothing would change"),
        ({"variants": []}, "no 'variants' to change; it has primary"),
        ({"guardrails": [{"metric": "latency_ms", "margin": -1}]}, "margin -1; give one above 0"),
        ({"watched": ["speed"]}, "no metric of this loop is called 'speed'"),
    ],
)
def test_a_change_that_makes_no_plan_is_refused(store, events, proposal, changes, said) -> None:
    kept = plan_experiment(store, events.loop_id, proposal, now=NOW)
    start_planned(store, kept.experiment_id, now=NOW)
    with pytest.raises(DesignError, match=said):
        change_plan(store, kept.experiment_id, changes, actor="ana", why="to see", now=NOW)
    with pytest.raises(InputError, match="needs the name"):
        change_plan(store, kept.experiment_id, {"watched": []}, actor=" ", why="to see", now=NOW)
    assert len(read_plan_versions(store, kept.experiment_id)) == 1


@pytest.mark.parametrize(
    ("asked", "control", "said"),
    [
        ([{"name": "base"}, {"name": "nope"}], "", "no version 'nope'; it has"),
        ([{"name": "base"}, {"name": "mailer"}], "", "no version 'mailer'"),
        ([{"name": "base"}, {"name": "tuned"}], "old", "'old' is not among the variants; they are base, tuned"),
        ([{"name": "base", "share": 0.5}, {"name": "tuned"}], "", "some variants have a share"),
        ([{"name": "gpt", "is_outside": True, "prompt": "Be brief."}], "", "served outside"),
    ],
)
def test_variants_that_are_not_there_are_named_with_those_that_are(
    store, events, versions, asked, control, said
) -> None:
    with pytest.raises(DesignError, match=said):
        variants_of(store, events.loop_id, asked, control)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"variants": (Variant(name="a", share=0.5), Variant(name="b", share=0.6))}, "shares of 0.5, 0.6"),
        ({"variants": (Variant(name="a", share=0.5),)}, "found 1 variant"),
        (
            {
                "variants": (
                    Variant(name="a", share=0.5),
                    Variant(name="m", share=0.5, model_version_id="id-mailer"),
                )
            },
            "mailer belongs to another loop",
        ),
        ({"plan": Plan(primary=("reward",))}, "save a reward design first"),
        ({"plan": Plan(primary=("speed",))}, "no metric of this loop is called 'speed'; use one of accepted"),
        ({"plan": Plan(covariates=("latency_ms.p95",))}, "is a quantile, which is no covariate"),
        ({"plan": Plan(reward_design_id="abc")}, "no saved reward design has the id 'abc'"),
        ({"layer_high": 0.5}, "a range needs a layer"),
        ({"targeting": {"region": {"near": 1}}}, "the conditions are"),
        ({"policy": "luck"}, "the policies are"),
    ],
)
def test_an_impossible_proposal_is_one_sentence_and_leaves_nothing(store, events, proposal, change, said) -> None:
    fields = {"variants": proposal.variants} | change
    with pytest.raises(DesignError, match=said):
        plan_experiment(store, events.loop_id, Proposal(**fields), now=NOW)
    assert store.rows("SELECT count(*) FROM experiments") == [(0,)]


def test_variants_may_be_versions_instructed_versions_and_systems_of_others(store, events, versions) -> None:
    asked = [
        {"name": "base"},
        {"name": "brief", "version": "tuned", "prompt": " Be brief. "},
        {"name": "gpt", "is_outside": True},
    ]
    found = variants_of(store, events.loop_id, asked, "gpt")
    assert [one.name for one in found] == ["gpt", "base", "brief"], "the control first"
    assert [one.model_version_id for one in found] == [None, "id-base", "id-tuned"]
    assert (found[2].prompt, found[2].share) == ("Be brief.", pytest.approx(1 / 3))


def test_what_a_draft_proposes_can_be_put_anew_as_it_is(store, events, proposal) -> None:
    full = Proposal(
        variants=proposal.variants, name="n", hypothesis="h", policy="hash", layer="l", layer_low=0.0, layer_high=0.5,
        targeting={"region": {"in": ["north"]}}, plan=Plan(watched=()),
    )  # fmt: skip
    kept = plan_experiment(store, events.loop_id, full, now=NOW)
    assert proposal_of(read_experiment(store, kept.experiment_id)) == full


def test_two_experiments_of_the_same_variants_or_place_do_not_start_at_once(store, events, proposal) -> None:
    first, second = (plan_experiment(store, events.loop_id, proposal, now=NOW).experiment_id for _ in range(2))
    start_planned(store, first, now=NOW)
    with pytest.raises(DesignError, match="already compares these variants"):
        start_planned(store, second, now=NOW)
    assert drop_plan(store, second) == "tuned against base"
    assert store.rows("SELECT count(*) FROM variants WHERE experiment_id = ?", [second]) == [(0,)]


def test_a_plan_that_names_its_size_keeps_it(store, events, history, proposal) -> None:
    history(n_users=4, newcomers=10)
    assert sized(store, events.loop_id, Plan(n_users=77), proposal.variants, NOW).plan.n_users == 77
    found = sized(store, events.loop_id, Plan(), proposal.variants, NOW).plan.n_users
    assert found == size_plan(store, events.loop_id, proposal, NOW).n_users is not None


def test_a_quick_start_is_planned_to_the_size_that_its_loop_asks_for(store, events, history, proposal) -> None:
    history(n_users=4, newcomers=10)
    primary_only = Proposal(variants=proposal.variants, plan=Plan(guardrails=()))
    wanted = size_plan(store, events.loop_id, primary_only, NOW)
    quick = start_experiment(store, events.loop_id, "quick", "id-base", "id-tuned", now=NOW)
    (version,) = read_plan_versions(store, quick)
    assert plan_of(version.plan).n_users == wanted.n_users is not None
    assert version.why == f"As it was started. {wanted.sentence}"
    decide(store, quick, Verdict.STOP, "No gain.", "Ana", now=NOW)
    own = start_experiment(store, events.loop_id, "own", "id-base", "id-tuned", plan=Plan(n_users=30), now=NOW)
    assert plan_of(read_experiment(store, own).plan).n_users == 30


def test_a_size_that_the_loop_does_not_reach_within_a_year_stays_out_and_the_plan_says_why(
    store, events, history, proposal
) -> None:
    history()
    quick = start_experiment(store, events.loop_id, "quick", "id-base", "id-tuned", now=NOW)
    decide(store, quick, Verdict.STOP, "No gain.", "Ana", now=NOW)
    kept = plan_experiment(store, events.loop_id, proposal, now=NOW)
    start_planned(store, kept.experiment_id, now=NOW)
    for experiment_id in (quick, kept.experiment_id):
        (version,) = read_plan_versions(store, experiment_id)
        assert plan_of(version.plan).n_users is None
        assert version.why.startswith("As it was started, without a size. You will not get there: 40 users a week")


def test_a_quick_start_by_a_metric_that_nothing_measures_says_so_in_its_plan(store, events, history, proposal) -> None:
    history()
    blind = start_experiment(store, events.loop_id, "b", "id-base", "id-tuned", plan=Plan(primary=("speed",)), now=NOW)
    (version,) = read_plan_versions(store, blind)
    assert "without a size: no metric of this loop is called 'speed'" in version.why


def test_a_draft_may_wait_while_the_same_variants_run_and_starts_after_them(store, events, proposal) -> None:
    running = start_experiment(store, events.loop_id, "now", "id-base", "id-tuned", now=NOW)
    draft = plan_experiment(store, events.loop_id, proposal, now=NOW).experiment_id
    with pytest.raises(DesignError, match="'now' already compares these variants and is still running"):
        start_planned(store, draft, now=NOW)
    assert read_experiment(store, draft).status == "planned"
    decide(store, running, Verdict.STOP, "No gain.", "Ana", now=NOW)
    start_planned(store, draft, now=NOW)
    assert read_experiment(store, draft).status == "running"
