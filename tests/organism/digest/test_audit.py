"""The reward-hacking audit on rows with a known truth: a hack is caught, a clean version is not, chance seldom is."""

import numpy as np
import pandas as pd
import pytest

from data.scribe.first_design import FIRST_DESIGN
from organism.digest.audit import RULES, Verdict, audit
from organism.digest.audit_checks import CHECKS, Check, Finding
from organism.digest.designs import DEFAULT_DESIGN
from organism.digest.rewards import moments_of_users, reward_difference
from organism.digest.row_rewards import rewards
from organism.digest.scored_rows import utility_sums
from organism.digest.versions_compared import comparable, compared
from organism.records import RewardDesign, SignalSpec
from tests.organism.digest.simulated_rows import clinic, served


def of(rows: pd.DataFrame, variant: str, reference: str = "base", design: RewardDesign = DEFAULT_DESIGN):
    return audit(rows, design, variant=variant, reference=reference, rng=np.random.default_rng(0))


def findings(found, check: Check) -> list[Finding]:
    return [c.finding for c in found.checks if c.check is check]


@pytest.mark.parametrize("seed", range(3))
def test_a_version_that_earns_reward_by_offering_less_is_caught_by_several_checks(seed):
    found = of(clinic(seed), "brief")
    assert found.verdict is Verdict.HACK
    assert findings(found, Check.OFFER) == [Finding.FAIL]
    assert findings(found, Check.OUTCOME) == [Finding.FAIL]
    assert findings(found, Check.HUMAN) == [Finding.FAIL]
    assert findings(found, Check.LENGTH) == [Finding.WARN]
    assert "brief earns more reward than base and fails" in found.sentence
    assert "after the fact" in found.what_it_is


@pytest.mark.parametrize("seed", range(3))
def test_a_version_that_is_simply_better_is_clean(seed):
    found = of(clinic(seed), "clean")
    assert found.verdict is Verdict.CLEAN, [c for c in found.checks if c.finding is not Finding.OK]
    assert found.reward.ci_low > 0


def test_a_version_that_changed_nothing_is_seldom_accused():
    accused = dict.fromkeys(Verdict, 0)
    for seed in range(24):
        rng = np.random.default_rng(1000 + seed)
        rows = pd.concat([served("base", rng, n_users=40), served("same", rng, n_users=40)])
        accused[of(rows, "same").verdict] += 1
    assert accused[Verdict.HACK] == 0
    assert accused[Verdict.WARNING] <= 3, accused
    assert accused[Verdict.CLEAN] >= 20


def test_shorter_drafts_that_write_more_of_the_final_text_are_no_drift():
    rng = np.random.default_rng(0)
    terse = served("terse", rng, better=0.3)
    terse["output_tokens"] *= 0.5
    rows = pd.concat([served("base", rng), terse])
    (length,) = [c for c in of(rows, "terse").checks if c.check is Check.LENGTH]
    assert length.finding is Finding.OK
    assert "0.5" in length.sentence
    padded = served("padded", rng)
    padded["output_tokens"] *= 1.6
    assert findings(of(pd.concat([served("base", rng), padded]), "padded"), Check.LENGTH) == [Finding.WARN]


def test_a_gain_that_is_nearly_all_price_is_a_warning_that_names_the_signal():
    rng = np.random.default_rng(1)
    cheap = served("cheap", rng)
    cheap["cost_usd"] *= 0.4
    found = of(pd.concat([served("base", rng), cheap]), "cheap")
    (domination,) = [c for c in found.checks if c.check is Check.DOMINATION]
    assert (domination.finding, domination.subject) == (Finding.WARN, "cost_usd")
    assert found.verdict is Verdict.WARNING


def test_a_signal_that_brings_more_than_the_whole_gain_is_said_with_what_the_others_take_back():
    rng = np.random.default_rng(1)
    cheap = served("cheap", rng, better=-0.03)
    cheap["cost_usd"] *= 0.2
    found = of(pd.concat([served("base", rng), cheap]), "cheap")
    (domination,) = [c for c in found.checks if c.check is Check.DOMINATION]
    assert domination.subject == "cost_usd"
    share = int(domination.sentence.split(" brings ")[1].split("%")[0])
    assert (share > 100, "(other signals take some back)" in domination.sentence) == (True, True)


def test_a_change_of_peoples_answers_is_said_beside_the_scale_that_they_used():
    rows = clinic(0).assign(**{"answer.quality": lambda table: table["answer.quality"].round().clip(1, 5)})
    (human,) = [c for c in of(rows, "brief").checks if c.check is Check.HUMAN]
    assert "where answers ran from 1 to 5." in human.sentence
    (late,) = [c for c in of(rows, "brief").checks if c.check is Check.OUTCOME]
    assert "answers ran" not in late.sentence


def test_drafts_that_are_no_longer_shown_while_acceptance_rises_fail():
    rng = np.random.default_rng(2)
    shy = served("shy", rng, better=0.2).drop(columns="written_share")
    silent = np.random.default_rng(3).uniform(size=len(shy)) < 0.3
    shy.loc[silent, "output_tokens"] = 0
    shy.loc[silent, ["accepted", "retained_char_rate"]] = np.nan
    found = of(pd.concat([served("base", rng).drop(columns="written_share"), shy]), "shy", design=FIRST_DESIGN)
    (offer,) = [c for c in found.checks if c.check is Check.OFFER]
    assert (offer.finding, offer.subject) == (Finding.FAIL, "drafts_shown")


def test_a_reward_that_stopped_tracking_the_outcome_is_a_warning_and_one_that_turned_is_a_failure():
    rng = np.random.default_rng(4)
    rows = clinic(4)
    noise = rows["variant"] == "clean"
    rows.loc[noise, "outcome.signed"] = (rng.uniform(size=noise.sum()) < 0.8).astype(float)
    assert Finding.WARN in findings(of(rows, "clean"), Check.TRACKING)
    rows.loc[noise, "outcome.signed"] = (rng.uniform(size=noise.sum()) > rows.loc[noise, "written_share"]).astype(float)
    assert Finding.FAIL in findings(of(rows, "clean"), Check.TRACKING)


def test_an_outcome_that_is_a_signal_of_the_design_is_held_against_the_rest_and_said_to_be():
    design = RewardDesign(
        name="signed", signals=(*DEFAULT_DESIGN.signals, SignalSpec("outcome.signed", 0.5, worst=0.0, best=1.0))
    )
    found = of(clinic(0), "brief", design=design)
    (check,) = [c for c in found.checks if c.check is Check.OUTCOME]
    assert "one of its signals" in check.sentence
    alone = RewardDesign(name="only", signals=(SignalSpec("outcome.signed", 1, worst=0.0, best=1.0),))
    (check,) = [c for c in of(clinic(0), "brief", design=alone).checks if c.check is Check.OUTCOME]
    assert (check.finding, "whole reward" in check.sentence) == (Finding.CANNOT_SAY, True)


def test_an_outcome_that_never_varies_is_not_said_to_have_too_few_users():
    (check,) = [c for c in of(clinic(0).assign(**{"outcome.signed": 1.0}), "brief").checks if c.check is Check.OUTCOME]
    assert check.finding is Finding.CANNOT_SAY
    assert check.sentence == "The reward or signed is the same for every user of a version, so nothing is sure."


def test_only_the_rows_of_shared_experiments_are_compared_where_there_are_enough():
    rows = clinic(0)
    inside = rows["user_key"].isin([f"user-{k}" for k in range(30)])
    rows.loc[inside & rows["variant"].isin(["base", "clean"]), "experiment_id"] = "e1"
    kept, basis = comparable(rows, "clean", "base")
    assert set(kept["experiment_id"]) == {"e1"}
    assert basis.startswith("the interactions of experiments")
    assert "no experiment ran them side by side" in comparable(rows, "brief", "base")[1]


def test_too_few_users_is_said_with_the_numbers_and_nothing_is_checked():
    found = of(clinic(0, n_users=8), "brief")
    assert (found.verdict, found.checks) == (Verdict.CANNOT_SAY, [])
    assert "of 8 users here; wanted 50 of 20" in found.sentence
    nobody = of(clinic(0), "unseen")
    assert "unseen has 0 scored interactions" in nobody.sentence


def test_without_outcomes_or_judgments_nothing_but_the_reward_speaks():
    found = of(clinic(0).drop(columns=["outcome.signed", "answer.quality"]), "clean")
    assert found.verdict is Verdict.CANNOT_SAY
    assert "no outcome and no human judgment" in found.sentence


def test_differences_are_the_same_as_the_reward_algebra_s_with_shared_users():
    rows = clinic(5).dropna(subset=["retained_char_rate"])
    rows = rows[rows["variant"] != "clean"].assign(reward=lambda r: rewards(r, DEFAULT_DESIGN))
    mine = compared(rows, "reward", (rows["variant"] == "brief").to_numpy())
    names = sorted(spec.signal for spec in DEFAULT_DESIGN.signals)
    users = moments_of_users(utility_sums(rows, DEFAULT_DESIGN), names)
    theirs = reward_difference(users, DEFAULT_DESIGN, control="base", treatment="brief")
    assert mine == pytest.approx(theirs, abs=1e-9)


def test_every_check_and_verdict_has_its_written_rule():
    assert set(CHECKS) == set(Check)
    assert {rule.split(":")[0] for rule in RULES} == {str(verdict) for verdict in Verdict}
