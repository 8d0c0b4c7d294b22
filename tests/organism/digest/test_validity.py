"""Is this the right reward, on rows with a known truth: signals that predict, that do not, and a spurious one."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from organism.digest.designs import DEFAULT_DESIGN
from organism.digest.predictions import RULES, Word, predictions_table, word_of
from organism.digest.row_rewards import rewards
from organism.digest.scored_rows import Kind, judges, utility_sums
from organism.digest.validity import Answer, Trial, validity
from organism.measures.draft_reward import reward
from organism.records import Interval, RewardDesign, SignalSpec
from organism.stats.rank_correlation import RankCorrelation
from organism.stats.surrogate import NOT_ENOUGH
from tests.organism.digest.simulated_rows import clinic

QUALITY = RewardDesign(
    name="quality",
    signals=(SignalSpec("accepted", 0.3, 0.0, 1.0), SignalSpec("written_share", 0.7, 0.0, 1.0)),
)


def of(rows: pd.DataFrame, design: RewardDesign = QUALITY, **options):
    return validity(rows, design, rng=np.random.default_rng(0), **options)


def with_vendor_score(rows: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """A score that the better version has more of, and that is noise within each version."""
    noise = np.random.default_rng(500 + seed).normal(scale=0.05, size=len(rows))
    return rows.assign(vendor_score=np.where(rows["variant"] == "clean", 0.8, 0.4) + noise)


def test_a_reward_that_orders_drafts_as_the_outcomes_do_is_right():
    found = of(clinic(0))
    assert {rule.split(":")[0] for rule in found.answer_rules} == {str(answer) for answer in Answer}
    assert found.answer is Answer.YES
    assert {p.outcome: p.word for p in found.reward} == {
        "outcome.signed": Word.PREDICTS,
        "answer.quality": Word.PREDICTS,
    }
    assert [p.kind for p in found.reward] == [Kind.OUTCOME, Kind.HUMAN]
    assert all(p.correlation.within.low > 0 for p in found.reward)
    assert "more of signed and quality" in found.sentence


def test_a_reward_that_is_right_within_versions_and_prefers_the_wrong_version_is_right_in_part():
    rows = clinic(0)
    found = of(rows[rows["variant"] != "clean"], DEFAULT_DESIGN)
    signed = found.reward[0]
    assert signed.word is Word.PREDICTS
    assert found.answer is Answer.IN_PART
    assert "But it prefers brief to base, which has more of signed and quality." in found.sentence
    assert {(r.preferred, r.other, r.outcome) for r in found.reversals} == {
        ("brief", "base", "outcome.signed"),
        ("brief", "base", "answer.quality"),
    }
    assert of(rows[rows["variant"] != "brief"], DEFAULT_DESIGN).reversals == []


def test_a_reward_for_what_the_outcome_ignores_is_not_right():
    price = RewardDesign(name="price", signals=(SignalSpec("latency_ms", 1.0, 2000.0, 200.0),))
    rows = clinic(1)
    rows = rows[rows["variant"] == "base"].assign(latency_ms=np.random.default_rng(1).uniform(300, 900, 1500))
    found = of(rows, price)
    signed = found.reward[0]
    assert signed.word is Word.NOT_WITHIN
    assert found.answer in (Answer.NO, Answer.IN_PART)
    assert "There is one version only" in " ".join(found.notes)


def test_a_reward_that_runs_surely_against_the_outcome_is_said_to_predict_the_opposite():
    wrong = RewardDesign(name="wrong", signals=(SignalSpec("written_share", 1.0, worst=1.0, best=0.0),))
    found = of(clinic(0), wrong)
    signed = next(p for p in found.reward if p.outcome == "outcome.signed")
    assert signed.word is Word.OPPOSITE
    assert "Within versions more of the reward goes with less of signed" in signed.sentence
    assert found.answer is Answer.NO
    assert "signed (it predicts the opposite)" in found.sentence


@pytest.mark.parametrize("seed", range(4))
def test_a_spurious_signal_fails_though_it_correlates_over_all(seed):
    rows = with_vendor_score(clinic(seed), seed)
    rows = rows[rows["variant"] != "brief"]
    design = replace(QUALITY, signals=(*QUALITY.signals, SignalSpec("vendor_score", 0.5, 0.2, 1.0)))
    by_signal = {(p.subject, p.outcome): p for p in of(rows, design).signals}
    vendor = by_signal["vendor_score", "outcome.signed"]
    assert vendor.correlation.overall.low > 0.1
    assert vendor.word is Word.SPURIOUS
    assert "only because some versions have more of both" in vendor.sentence
    assert by_signal["written_share", "outcome.signed"].word is Word.PREDICTS


def test_a_candidate_outside_of_the_design_is_judged_as_it_stands():
    rows = with_vendor_score(clinic(0))
    candidates = [
        p for p in of(rows[rows["variant"] != "brief"], candidates=["vendor_score"]).signals if not p.in_design
    ]
    assert {p.subject for p in candidates} == {"vendor_score"}
    assert candidates[0].word is Word.SPURIOUS


def test_a_reward_is_never_held_against_its_own_signal_without_saying_so():
    design = replace(QUALITY, signals=(*QUALITY.signals, SignalSpec("outcome.signed", 5.0, 0.0, 1.0)))
    rows = clinic(0)
    found = of(rows, design)
    signed = next(p for p in found.reward if p.outcome == "outcome.signed")
    plain = next(p for p in of(rows).reward if p.outcome == "outcome.signed")
    assert signed.is_part
    assert signed.correlation.within.estimate == pytest.approx(plain.correlation.within.estimate)
    assert "one of its own signals" in signed.sentence
    assert any("part of this design" in note for note in found.notes)
    assert ("outcome.signed", "outcome.signed") not in {(p.subject, p.outcome) for p in found.signals}
    alone = of(rows, RewardDesign(name="alone", signals=(SignalSpec("outcome.signed", 1.0, 0.0, 1.0),)))
    assert next(p for p in alone.reward if p.outcome == "outcome.signed").word is Word.CANNOT_SAY


def test_rewards_of_rows_equal_those_computed_one_by_one():
    rows = clinic(2).head(200)
    one_by_one = [reward(DEFAULT_DESIGN, row) for row in rows.to_dict("records")]
    wanted = np.array([np.nan if value is None else value for value in one_by_one])
    np.testing.assert_allclose(rewards(rows, DEFAULT_DESIGN), wanted, atol=1e-12)
    sums = utility_sums(rows, DEFAULT_DESIGN)
    assert sums["n_rows"].sum() == np.isfinite(wanted).sum()


def test_components_shares_sum_to_one_and_calibration_covers_each_outcome():
    found = of(clinic(0))
    assert sum(c.weight_share for c in found.components) == pytest.approx(1)
    assert sum(c.variance_share for c in found.components) == pytest.approx(1)
    assert {c.group for c in found.components} == {"quality"}
    by_outcome = found.calibration.groupby("outcome")["n_rows"].sum()
    assert set(by_outcome.index) == {"outcome.signed", "answer.quality"}
    signed = found.calibration[found.calibration["outcome"] == "outcome.signed"]
    assert signed["mean"].iloc[-1] > signed["mean"].iloc[0]


def test_an_experiment_s_effect_is_explained_and_one_experiment_is_not_enough_deployments():
    rows = clinic(0)
    rows = rows[rows["variant"] != "brief"].assign(experiment_id="e1")
    found = of(rows, trials=[Trial("e1", "clean against base", "base", "clean")])
    signed = next(e for e in found.experiments if e.outcome == "outcome.signed")
    assert signed.found.effect_on_outcome.low > 0
    assert signed.found.pte.low < signed.found.pte.estimate < signed.found.pte.high
    assert found.across["outcome.signed"].sentence == NOT_ENOUGH
    absent = of(rows, trials=[Trial("e2", "another", "base", "clean")])
    assert absent.experiments[0].found is None


def test_without_outcomes_or_with_nothing_scored_the_answer_is_a_sentence():
    bare = of(clinic(0).drop(columns=["outcome.signed", "answer.quality"]))
    assert (bare.answer, bare.reward, list(bare.across)) == (Answer.CANNOT_SAY, [], [])
    assert "no outcome and no human judgment has come in" in bare.sentence
    assert "mean" in bare.calibration.columns
    empty = of(clinic(0).iloc[:0])
    assert (empty.answer, empty.n_scored) == (Answer.CANNOT_SAY, 0)
    unscored = of(clinic(0).assign(written_share=np.nan))
    assert any("could be scored" in note for note in unscored.notes)


def test_one_user_gets_no_interval_and_is_told_so():
    found = of(clinic(0, n_users=1))
    assert found.answer is Answer.CANNOT_SAY
    assert found.reward[0].correlation.within.low is None
    assert "of 1 users carry both" in found.reward[0].sentence
    assert any("of one user" in note for note in found.notes)


def correlation(overall: tuple[float, float, float], within: tuple[float, float, float]) -> RankCorrelation:
    return RankCorrelation(Interval(*overall), Interval(*within), {}, 1000, 50)


@pytest.mark.parametrize(
    ("overall", "within", "word"),
    [
        ((0.3, 0.2, 0.4), (0.2, 0.1, 0.3), Word.PREDICTS),
        ((0.0, -0.1, 0.1), (0.05, 0.01, 0.09), Word.PREDICTS),
        ((0.4, 0.3, 0.5), (0.02, -0.04, 0.08), Word.SPURIOUS),
        ((0.4, 0.3, 0.5), (0.3, -0.1, 0.7), Word.CANNOT_SAY),
        ((0.02, -0.04, 0.08), (0.02, -0.04, 0.08), Word.NOT_WITHIN),
        ((-0.3, -0.4, -0.2), (-0.3, -0.4, -0.2), Word.OPPOSITE),
        ((0.4, 0.3, 0.5), (-0.3, -0.4, -0.2), Word.OPPOSITE),
        ((0.0, -0.3, 0.3), (0.0, -0.3, 0.3), Word.CANNOT_SAY),
    ],
)
def test_the_first_rule_that_fits_gives_the_word(overall, within, word):
    assert word_of(correlation(overall, within)) is word


def test_too_few_rows_or_users_say_nothing_whatever_the_figures():
    sure = correlation((0.9, 0.8, 0.99), (0.9, 0.8, 0.99))
    assert word_of(sure._replace(n_rows=99)) is Word.CANNOT_SAY
    assert word_of(sure._replace(n_users=19)) is Word.CANNOT_SAY
    assert {rule.split(": ")[0] for rule in RULES} == {str(word).split(":")[0] for word in Word}


def test_ratings_and_named_answers_are_judges_and_everyday_signals_are_not():
    names = ["accepted", "rating", "answer.tone", "judge.tone", "outcome.sale", "cost_usd", "vendor_score"]
    assert judges(names) == ["outcome.sale", "answer.tone", "rating"]


def test_the_table_of_predictions_has_a_row_each_with_its_figures():
    found = of(clinic(0))
    table = predictions_table(found.reward)
    assert table["within"].tolist() == [p.correlation.within.estimate for p in found.reward]
    assert predictions_table([]).empty
