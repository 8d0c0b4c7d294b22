"""Choices from the store and back: hidden pairs, durable answers, weights that chose."""

from datetime import datetime, timedelta

import numpy as np
import pytest

from organism.digest.choices import Answer, ChoiceKind, design_from
from organism.digest.choices_flow import fit_choices, pair_for, record_choice, variant_strengths
from organism.digest.flow import live_design
from organism.errors import DesignError, InputError
from organism.records import RewardDesign, SignalSpec
from organism.store.choices import read_choices

NOW = datetime(2026, 10, 1)
DESIGN = RewardDesign(
    name="two", signals=(SignalSpec("retained_char_rate", 0.5, 0.0, 1.0), SignalSpec("latency_ms", 0.5, 2000.0, 0.0))
)


@pytest.fixture
def drafts(store, events) -> list[str]:
    """120 answered drafts of two versions, scribe-1 better kept and slower; and some that nobody answered."""
    rng = np.random.default_rng(1)
    ids = []
    for number in range(120):
        tuned = number % 2
        ids.append(
            events.answered(
                f"user-{number % 20}",
                retained=int(rng.integers(40, 100) if tuned else rng.integers(0, 70)),
                at=NOW - timedelta(days=1, minutes=number),
                variant_id="scribe-1" if tuned else "base",
                latency_ms=float(rng.uniform(600, 2000) if tuned else rng.uniform(50, 1500)),
                prompt="p" * int(rng.integers(10, 400)),
            )
        )
    for number in range(10):
        events.draft("silent", NOW - timedelta(hours=1, minutes=number), latency_ms=100.0)
    events.write()
    return ids


def choose(store, loop_id: str, n: int, weights=(6.0, 2.0), actor: str = "Ana", seed: int = 0, **more) -> None:
    """Answer the n pairs that are asked next as somebody with these weights would."""
    rng = np.random.default_rng(seed)
    for number in range(n):
        pair = pair_for(store, loop_id, DESIGN, actor=actor)
        score = sum(
            w * (pair.left.signals[spec.signal] - pair.right.signals[spec.signal]) / (spec.best - spec.worst)
            for w, spec in zip(weights, DESIGN.signals, strict=True)
        )
        chosen = Answer.LEFT if rng.random() < 1 / (1 + np.exp(-score)) else Answer.RIGHT
        record_choice(
            store,
            loop_id,
            left=pair.left.id,
            right=pair.right.id,
            chosen=chosen,
            actor=actor,
            now=NOW + timedelta(seconds=number),
            **more,
        )


def test_the_next_pair_has_every_signal_one_kind_of_prompt_and_is_repeatable(store, events, drafts):
    pair = pair_for(store, events.loop_id, DESIGN, actor="Ana")
    assert pair == pair_for(store, events.loop_id, DESIGN, actor="Ana")
    assert {pair.left.id, pair.right.id} <= set(drafts)
    assert set(pair.left.signals) == {"retained_char_rate", "latency_ms"}
    assert None not in pair.left.signals.values()
    assert (pair.left.prompt, pair.left.output) != (None, None)
    assert pair.n_candidates > 100


def test_a_person_never_sees_a_pair_twice_and_a_skip_counts_as_seen(store, events, drafts):
    seen = set()
    for number in range(12):
        pair = pair_for(store, events.loop_id, DESIGN, actor="Ana")
        both = frozenset((pair.left.id, pair.right.id))
        assert both not in seen
        seen.add(both)
        kept = record_choice(
            store,
            events.loop_id,
            left=pair.left.id,
            right=pair.right.id,
            chosen="skip",
            actor=" Ana ",
            now=NOW + timedelta(seconds=number),
        )
        assert kept.n_by_actor == number + 1
    assert set(read_choices(store, events.loop_id)["actor"]) == {"Ana"}
    with pytest.raises(DesignError, match="no choice to learn weights from"):
        fit_choices(store, events.loop_id, DESIGN)


def test_the_asked_pairs_bring_the_weights_back(store, events, drafts):
    choose(store, events.loop_id, 40)
    fit = fit_choices(store, events.loop_id, DESIGN)
    assert fit.n_pairs == 40
    found = {weight.signal: weight for weight in fit.weights}
    assert found["retained_char_rate"].low > 0
    assert found["retained_char_rate"].low < 6 < (found["retained_char_rate"].high or np.inf)
    assert found["retained_char_rate"].share > found["latency_ms"].share
    draft = design_from(fit_choices(store, events.loop_id, DESIGN), DESIGN)
    assert sum(spec.weight for spec in draft.signals) == pytest.approx(1, abs=1e-3)
    assert live_design(store, events.loop_id).name != draft.name, "nothing was saved"


def test_the_pair_that_is_asked_teaches_more_than_a_drawn_one(store, events, drafts):
    """Same number of choices, more information about the weights."""
    choose(store, events.loop_id, 30, actor="asked")
    rng = np.random.default_rng(3)
    for number in range(30):
        left, right = rng.choice(drafts, 2, replace=False).tolist()
        record_choice(
            store,
            events.loop_id,
            left=left,
            right=right,
            chosen=str(rng.choice(["left", "right"])),
            actor="drawn",
            now=NOW + timedelta(seconds=number),
        )
    known = {}
    rows = store.frame(
        "SELECT interaction_id::VARCHAR AS id, retained_char_rate AS r, latency_ms / 2000 AS t FROM signals"
    )
    table = rows.set_index("id")
    for actor, choices in read_choices(store, events.loop_id).groupby("actor"):
        apart = table.loc[choices["left_id"]].to_numpy() - table.loc[choices["right_id"]].to_numpy()
        known[actor] = np.linalg.det(apart.T @ apart)
    assert known["asked"] > 1.5 * known["drawn"]


def test_only_the_named_peoples_choices_count_and_strangers_are_named(store, events, drafts):
    choose(store, events.loop_id, 6, actor="Ana")
    choose(store, events.loop_id, 4, actor="simulated-pm", is_synthetic=True, seed=5)
    assert fit_choices(store, events.loop_id, DESIGN, actors=["Ana"]).n_pairs == 6
    assert fit_choices(store, events.loop_id, DESIGN).n_pairs == 10
    with pytest.raises(InputError, match="'Bob' has not chosen anything; who has: Ana, simulated-pm"):
        fit_choices(store, events.loop_id, DESIGN, actors=["Bob"])


def test_a_choice_about_something_unknown_is_refused(store, events, drafts):
    with pytest.raises(InputError, match="no interaction of this loop has the id 'ghost'"):
        record_choice(store, events.loop_id, left=drafts[0], right="ghost", chosen="left", actor="Ana", now=NOW)
    with pytest.raises(InputError, match="no variant of this loop is called 'ghost'"):
        record_choice(
            store,
            events.loop_id,
            left="base",
            right="ghost",
            chosen="left",
            actor="Ana",
            kind=ChoiceKind.VARIANTS,
            now=NOW,
        )
    assert read_choices(store, events.loop_id).empty


def test_profiles_of_variants_are_means_over_their_drafts(store, events, drafts):
    pair = pair_for(store, events.loop_id, DESIGN, actor="Ana", kind=ChoiceKind.VARIANTS)
    assert {pair.left.id, pair.right.id} == {"base", "scribe-1"}
    by_name = {side.id: side.signals["retained_char_rate"] for side in (pair.left, pair.right)}
    assert by_name["scribe-1"] > by_name["base"]
    record_choice(
        store,
        events.loop_id,
        left="scribe-1",
        right="base",
        chosen="left",
        actor="Ana",
        kind=ChoiceKind.VARIANTS,
        now=NOW,
    )
    assert pair_for(store, events.loop_id, DESIGN, actor="Ana", kind=ChoiceKind.VARIANTS) is None
    fit = fit_choices(store, events.loop_id, DESIGN, kind=ChoiceKind.VARIANTS)
    assert (fit.n_pairs, fit.l2 > 0) == (1, True)


def test_versions_are_ranked_by_both_kinds_of_choice(store, events, drafts):
    base, tuned = drafts[0::2], drafts[1::2]
    for number, (left, right, chosen) in enumerate(
        [
            (tuned[0], base[0], "left"),
            (base[1], tuned[1], "right"),
            (base[2], tuned[2], "left"),
            (base[3], base[4], "left"),
        ]
    ):
        record_choice(
            store,
            events.loop_id,
            left=left,
            right=right,
            chosen=chosen,
            actor="Ana",
            now=NOW + timedelta(seconds=number),
        )
    record_choice(
        store,
        events.loop_id,
        left="base",
        right="scribe-1",
        chosen="right",
        actor="Ana",
        kind=ChoiceKind.VARIANTS,
        now=NOW,
    )
    found = variant_strengths(store, events.loop_id)
    assert [(row.variant, row.n_won, row.n_lost) for row in found.variants] == [("scribe-1", 3, 1), ("base", 1, 3)]
    assert found.penalty == 0


def test_a_loop_without_drafts_has_no_pair(store, events):
    assert pair_for(store, events.loop_id, DESIGN, actor="Ana") is None
    assert pair_for(store, events.loop_id, DESIGN, actor="Ana", kind=ChoiceKind.VARIANTS) is None
    assert variant_strengths(store, events.loop_id).variants == []
