import pandas as pd
import pytest

from organism.digest.designs import DEFAULT_DESIGN, weighted
from organism.digest.flow import reward_moments
from organism.digest.rank_changes import rank_changes
from organism.digest.rewards import component_shares
from organism.digest.weight_flow import map_weights
from organism.digest.weight_space import flips
from organism.errors import DesignError
from organism.records import Constraint, RewardDesign
from organism.store.signals import read_signal_rows


def fill(events) -> None:
    """Tuned keeps more and costs more; twelve users a version."""
    for n in range(12):
        events.answered(f"a{n}", 40 + n, variant_id="base", latency_ms=900.0 + n, cost_usd=0.0002 + n / 1e6)
        events.answered(f"b{n}", 70 + n, variant_id="tuned", latency_ms=900.0 + n, cost_usd=0.0003 + n / 1e6)
    events.write()


def test_the_map_of_a_design_is_that_of_its_moments(store, events):
    fill(events)
    found = map_weights(store, events.loop_id, DEFAULT_DESIGN, steps=6)
    users = reward_moments(store, events.loop_id, DEFAULT_DESIGN.signals)
    assert (found.design_id, found.winner, found.barred) == (DEFAULT_DESIGN.id, "tuned", [])
    assert found.component_shares == component_shares(users, DEFAULT_DESIGN)
    assert found.flips == flips(users, DEFAULT_DESIGN)
    assert {"cost_usd", "price"} <= {flip.name for flip in found.flips}
    assert len(found.mixes) == 28
    assert set(found.mixes["winner"].dropna()) == {"base", "tuned"}


def test_the_map_says_who_is_beaten_in_everything_and_which_drafts_move(store, events):
    fill(events)
    for n in range(12):
        events.answered(f"c{n}", 30 + n, variant_id="worse", latency_ms=950.0 + n, cost_usd=0.0004 + n / 1e6)
    events.write()
    live = map_weights(store, events.loop_id, DEFAULT_DESIGN, steps=1)
    assert dict(zip(live.front["variant"], live.front["on_front"], strict=True)) == {
        "base": True,
        "tuned": True,
        "worse": False,
    }
    assert (live.moves, live.n_placed) == (None, 0)
    cheap = weighted(DEFAULT_DESIGN, price=1, performance=0, quality=0)
    found = map_weights(store, events.loop_id, cheap, steps=1)
    named = sorted({spec.signal for spec in DEFAULT_DESIGN.signals})
    rows = read_signal_rows(store, events.loop_id, named)
    pd.testing.assert_frame_equal(found.moves, rank_changes(rows, DEFAULT_DESIGN, cheap))
    assert (found.n_placed, len(found.moves)) == (36, 8)


def test_a_variant_that_breaks_a_guardrail_wins_nowhere(store, events):
    fill(events)
    guarded = RewardDesign(
        name="guarded", signals=DEFAULT_DESIGN.signals, constraints=(Constraint("cost_usd", at_most=0.00025),)
    )
    found = map_weights(store, events.loop_id, guarded, steps=3)
    assert (found.winner, found.barred, found.flips, found.clear_edges) == ("base", ["tuned"], [], [])
    assert set(found.mixes["winner"].dropna()) == {"base"}


def test_an_empty_history_has_no_winner_and_no_weights_are_a_sentence(store, events):
    found = map_weights(store, events.loop_id, DEFAULT_DESIGN)
    assert (found.winner, found.effective_signals, found.component_shares, len(found.mixes)) == (None, None, {}, 0)
    with pytest.raises(DesignError, match="positive weight"):
        map_weights(store, events.loop_id, weighted(DEFAULT_DESIGN, price=0, performance=0, quality=0))


@pytest.mark.parametrize("change", [{"weight": 1e300}, {"missing": float("nan")}, {"missing": 2.0}])
def test_an_impossible_design_has_no_map(store, events, change):
    fill(events)
    first, *others = DEFAULT_DESIGN.signals
    impossible = RewardDesign(name="impossible", signals=(first._replace(**change), *others))
    with pytest.raises(DesignError, match="design 'impossible'"):
        map_weights(store, events.loop_id, impossible)
