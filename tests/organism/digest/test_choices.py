import numpy as np
import pandas as pd
import pytest

from organism.digest.choices import (
    Answer,
    candidate_pairs,
    check_choice,
    design_from,
    fit_weights,
)
from organism.digest.prompt_kinds import prompt_kinds
from organism.digest.row_rewards import utility_table
from organism.digest.strengths import strengths
from organism.errors import DesignError, InputError
from organism.measures.draft_reward import utility
from organism.records import Constraint, RewardDesign, SignalSpec

DESIGN = RewardDesign(
    name="quality first",
    signals=(
        SignalSpec("retained_char_rate", 0.5, 0.0, 1.0),
        SignalSpec("latency_ms", 0.25, 2000.0, 200.0),
        SignalSpec("cost_usd", 0.25, 0.0004, 0.0001, missing=0.5),
    ),
    constraints=(Constraint("written_share", at_least=0.5),),
)


def answers(weights: list[float], n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Both sides' utilities, and what somebody with these weights chose."""
    rng = np.random.default_rng(seed)
    left, right = rng.random((2, n, len(weights)))
    took_left = rng.random(n) < 1 / (1 + np.exp(-(left - right) @ weights))
    return left, right, [Answer.LEFT if took else Answer.RIGHT for took in took_left]


def test_utilities_by_columns_are_those_of_single_values_and_missing_stays_missing():
    rows = pd.DataFrame(
        {
            "retained_char_rate": [0.3, 1.2, np.nan],
            "latency_ms": [100.0, 1100.0, np.inf],
            "cost_usd": [0.0002, np.nan, 1.0],
        }
    )
    found = utility_table(rows, DESIGN.signals, fill=False)
    for i, row in rows.iterrows():
        for j, spec in enumerate(DESIGN.signals):
            wanted = utility(spec._replace(missing=None), row[spec.signal])
            assert np.isnan(found[i, j]) if wanted is None else found[i, j] == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("left", "right", "chosen", "actor", "said"),
    [
        ("a", "b", "both", "Ana", "left, right, or skip"),
        ("a", "a", "left", "Ana", "on both sides"),
        ("a", "b", "left", "  ", "the name of who chose"),
        ("a", "b", "left", "x" * 81, "80 characters"),
    ],
)
def test_a_choice_that_says_nothing_is_refused_in_a_sentence(left, right, chosen, actor, said):
    with pytest.raises(InputError, match=said):
        check_choice(left, right, chosen, actor)


def test_prompts_are_short_medium_or_long_by_terciles_and_unknown_without_a_text():
    found = prompt_kinds(pd.Series([10, 20, 30, 40, 50, 60, None], index=list("abcdefg")))
    assert found.tolist() == ["short", "short", "medium", "medium", "long", "long", None]


def test_pairs_are_of_one_kind_of_prompt_and_never_asked_twice():
    ids = [f"i{n}" for n in range(12)]
    kinds = ["short", "long"] * 6
    asked = {frozenset(("i0", "i2"))}
    found = candidate_pairs(ids, kinds, asked, rng=np.random.default_rng(0), n=500)
    assert all(kinds[left] == kinds[right] and left != right for left, right in found)
    unordered = [frozenset((ids[left], ids[right])) for left, right in found]
    assert len(set(unordered)) == len(unordered) == 2 * 15 - 1
    assert found == candidate_pairs(ids, kinds, asked, rng=np.random.default_rng(0), n=500)
    assert candidate_pairs(["i0"], [None], set(), rng=np.random.default_rng(0), n=5) == []


def test_the_fit_finds_the_weights_that_chose_and_its_shares_hold_them():
    fit = fit_weights(DESIGN, *answers([6.0, 3.0, 1.0], n=1500), 7)
    found = {weight.signal: weight for weight in fit.weights}
    for name, true in (("retained_char_rate", 6.0), ("latency_ms", 3.0), ("cost_usd", 1.0)):
        assert found[name].low < true < found[name].high
        assert found[name].share_low < true / 10 < found[name].share_high
    assert [weight.hand_share for weight in fit.weights] == [0.5, 0.25, 0.25]
    assert (fit.n_pairs, fit.n_left_out, fit.l2) == (1500, 7, 0.0)
    assert fit.foreseen_by_fit >= fit.foreseen_by_hand > 0.7
    assert any("7 more were left out" in sentence for sentence in fit.sentences)


def test_sixty_choices_leave_weights_loose_and_the_sentence_says_about_how_many_more():
    fit = fit_weights(DESIGN, *answers([2.0, 1.0, 0.5], n=60), 0)
    loose = [weight for weight in fit.weights if weight.holds_zero or weight.is_wide]
    assert len(loose) >= 2
    said = next(sentence for sentence in fit.sentences if "loose" in sentence)
    assert "more" in said
    assert all(weight.signal in said for weight in loose)


def test_a_negative_weight_is_shown_as_such_and_is_zero_only_in_the_design():
    fit = fit_weights(DESIGN, *answers([6.0, -4.0, 2.0], n=900), 0)
    latency = fit.weights[1]
    assert latency.weight < 0
    assert latency.share < 0
    assert latency.saved_share == 0
    assert any("latency_ms came out negative" in sentence for sentence in fit.sentences)
    made = design_from(fit, DESIGN)
    assert [spec.weight for spec in made.signals][1] == 0
    assert sum(spec.weight for spec in made.signals) == pytest.approx(1, abs=1e-3)
    assert made.constraints == DESIGN.constraints
    assert [spec[2:] for spec in made.signals] == [spec[2:] for spec in DESIGN.signals]
    assert made.note == "Weights from 900 choices; set to 0: latency_ms"


def test_choices_without_a_contradiction_say_which_signal_and_take_a_penalty():
    left, right, chosen = answers([50.0, 0.0, 0.0], n=40)
    fit = fit_weights(DESIGN, left, right, chosen, 0)
    assert fit.l2 > 0
    assert any("speaks against" in sentence and "retained_char_rate" in sentence for sentence in fit.sentences)


def test_no_choice_and_no_positive_weight_are_sentences():
    with pytest.raises(DesignError, match="no choice to learn weights from"):
        fit_weights(DESIGN, np.zeros((0, 3)), np.zeros((0, 3)), [], 0)
    against = fit_weights(DESIGN, *answers([-5.0, -5.0, -5.0]), 0)
    with pytest.raises(DesignError, match="no signal a positive weight"):
        design_from(against, DESIGN)


def test_strengths_order_the_variants_and_name_the_one_that_never_lost():
    linked = strengths({("b", "a"): 8, ("a", "b"): 4, ("c", "b"): 6, ("b", "c"): 5, ("c", "a"): 7, ("a", "c"): 2})
    assert [row.variant for row in linked.variants] == ["c", "b", "a"]
    assert linked.penalty == 0
    assert (linked.variants[0].n_won, linked.variants[0].n_lost) == (13, 7)
    assert all(row.low < row.log_strength < row.high for row in linked.variants)
    unbeaten = strengths({("scribe-1", "base"): 5})
    assert unbeaten.penalty > 0
    assert "scribe-1 never lost" in unbeaten.sentence
    assert "base never won" in unbeaten.sentence
    assert strengths({}).variants == []


def test_two_signals_that_move_together_are_named():
    left, right, chosen = answers([2.0, 2.0, 1.0])
    apart = fit_weights(DESIGN, left, right, chosen, 0)
    assert not any("moved" in sentence for sentence in apart.sentences)
    for side in (left, right):
        side[:, 2] = 0.9 * side[:, 1] + 0.1 * side[:, 2]
    told = [sentence for sentence in fit_weights(DESIGN, left, right, chosen, 0).sentences if "moved" in sentence]
    assert len(told) == 1
    assert "latency_ms and cost_usd moved together" in told[0]
