"""A design tried on the history: the figures, the control, the guardrails, and what a careful colleague would say."""

import json
from datetime import datetime, timedelta

import numpy as np
import pytest

from organism.digest.designs import DEFAULT_DESIGN, check_design, weighted
from organism.digest.designs_flow import find_design, list_designs, presets
from organism.digest.flow import live_design, reward_moments, save_design, what_if
from organism.digest.presets import CANDIDATES
from organism.digest.rewards import reward_difference, rewards_by_variant
from organism.digest.signals_flow import define_signal, remove_signal
from organism.errors import DesignError, InputError
from organism.records import Constraint, RewardDesign, SignalSpec
from organism.wire import plain

NOW = datetime(2026, 10, 1)
KEPT = RewardDesign(
    name="kept",
    signals=(SignalSpec("latency_ms", 1, 2000, 200), SignalSpec("retained_char_rate", 1, 0, 1)),
    note="More of the draft survives",
)


def fill(events, variants=("base", "fast", "rare"), n_users: int = 24, seed: int = 0) -> None:
    """`fast` is quick and worse; `rare` has few users."""
    rng = np.random.default_rng(seed)
    for n in range(n_users):
        for variant in variants:
            for day in range(1 if variant == "rare" else 3):
                if variant == "rare" and n > 2:
                    continue
                fast = variant == "fast"
                events.answered(
                    f"{variant}-{n}",
                    int(rng.integers(10, 50) if fast else rng.integers(50, 100)),
                    NOW - timedelta(days=day + 1, minutes=n),
                    variant_id=variant,
                    latency_ms=float(rng.uniform(200, 400) if fast else rng.uniform(800, 1200)),
                )
    events.write()


def register_base(store, events, name: str = "base") -> None:
    store.execute(
        "INSERT INTO model_versions BY NAME SELECT ? AS model_version_id, ? AS loop_id, ? AS name, 'x' AS base_path, "
        "?::TIMESTAMP AS created_at",
        [name, events.loop_id, name, NOW],
        "model_versions",
    )


def test_the_figures_are_those_of_the_algebra(store, events):
    fill(events)
    register_base(store, events)
    found = what_if(store, events.loop_id, KEPT)
    moments = reward_moments(store, events.loop_id, KEPT.signals)
    assert (found.design_id, found.control) == (KEPT.id, "base")
    for mine, wanted in zip(found.variants, rewards_by_variant(moments, KEPT), strict=True):
        assert (mine.variant, mine.n_users, mine.n_interactions, mine.mean) == wanted[:4]
        assert mine.ci == (wanted.low, wanted.high)
    assert [d.variant for d in found.differences] == ["fast", "rare"]
    wanted = reward_difference(moments, KEPT, control="base", treatment="fast")
    assert found.differences[0][2:] == (wanted.effect, (wanted.ci_low, wanted.ci_high), wanted.p_value)
    assert [(c.signal, c.n_present, c.n_rows, c.share) for c in found.coverage] == [
        ("latency_ms", 147, 147, 1.0),
        ("retained_char_rate", 147, 147, 1.0),
    ]


def test_on_the_wire_an_interval_is_a_pair_and_an_unknown_one_is_null(store, events):
    for day in range(2):
        events.answered("alone", 50, NOW - timedelta(days=day), variant_id="b")
    fill(events, ("a",))
    found = json.loads(json.dumps(plain(what_if(store, events.loop_id, KEPT, control="a"))))
    assert [set(v) for v in found["variants"]] == [{"variant", "n_users", "n_interactions", "mean", "ci"}] * 2
    assert [type(v["ci"]) for v in found["variants"]] == [list, type(None)]
    assert len(found["variants"][0]["ci"]) == 2
    assert set(found["differences"][0]) == {"variant", "control", "effect", "ci", "p_value"}
    assert (found["differences"][0]["ci"], found["differences"][0]["p_value"]) == (None, None)
    assert any(said.startswith("only one user met b") for said in found["warnings"])


def test_the_nearest_flip_really_flips_and_never_leads_to_a_variant_that_breaks_a_guardrail(store, events):
    fill(events, ("base", "fast"))
    flip = what_if(store, events.loop_id, KEPT).nearest_flip
    moved = {flip.name: flip.weight_then * (1.001 if flip.weight_then > flip.weight_now else 0.999)}
    after = RewardDesign(
        name="after", signals=tuple(s._replace(weight=moved.get(s.signal, s.weight)) for s in KEPT.signals)
    )
    best = max(what_if(store, events.loop_id, after).variants, key=lambda v: v.mean)
    assert best.variant == flip.winner_then != flip.winner_now
    guarded = RewardDesign(
        name="guarded",
        signals=KEPT.signals,
        constraints=(Constraint("retained_char_rate", at_least=0.5), Constraint("rating", at_most=3)),
    )
    found = what_if(store, events.loop_id, guarded)
    assert found.nearest_flip is None
    status = {(check.variant, check.signal): str(check.status) for check in found.constraints}
    assert status["fast", "retained_char_rate"] == "broken"
    assert status["base", "retained_char_rate"] == "holds"
    assert "fast breaks the guardrail retained_char_rate at least 0.5" in found.warnings[0]


def test_the_control_is_the_base_or_the_one_with_most_or_the_one_asked_for(store, events):
    fill(events, ("base", "fast", "rare"))
    events.answered("one-more", 50, NOW, variant_id="fast")
    events.write()
    assert what_if(store, events.loop_id, KEPT).control == "fast"
    register_base(store, events, "rare")
    assert what_if(store, events.loop_id, KEPT).control == "rare"
    asked = what_if(store, events.loop_id, KEPT, control="base")
    assert (asked.control, [d.variant for d in asked.differences]) == ("base", ["fast", "rare"])
    with pytest.raises(InputError, match=r"variant 'nobody' .* can be: base, fast, rare"):
        what_if(store, events.loop_id, KEPT, control="nobody")


def test_little_data_is_said_and_never_hidden_in_a_zero(store, events):
    empty = what_if(store, events.loop_id, KEPT)
    assert (empty.variants, empty.differences, empty.control, empty.nearest_flip) == ([], [], None, None)
    assert empty.coverage[0].share is None
    assert "no interactions yet" in empty.warnings[0]
    for n in range(5):
        events.draft(f"u{n}")
    events.write()
    silent = what_if(store, events.loop_id, KEPT)
    assert silent.variants == []
    assert "retained_char_rate is known for 0 of 5" in silent.warnings[0]
    for n in range(2):
        events.answered(f"v{n}", 50, NOW)
    events.write()
    alike = what_if(store, events.loop_id, KEPT)
    assert alike.variants[0].ci is None
    one, same, rare = alike.warnings
    assert one.startswith("only one variant, base, can be scored")
    assert same.startswith("every user of base earned the same reward")
    assert rare.startswith("only 2 of 7 interactions carry every signal: retained_char_rate is known for 2 of 7; say")
    stated = RewardDesign(name="s", signals=tuple(s._replace(missing=0.5) for s in KEPT.signals))
    assert what_if(store, events.loop_id, stated).variants[0].n_interactions == 7


def test_what_cannot_be_tried_is_refused(store, events):
    fill(events, ("base",))
    for signals, said in (
        ((SignalSpec("applause", 1, 0, 1),), "nothing measures"),
        ((SignalSpec("accepted", 0, 0, 1),), "positive weight"),
        ((SignalSpec("accepted", 1, 1, 1),), "two different numbers"),
    ):
        with pytest.raises(DesignError, match=said):
            what_if(store, events.loop_id, RewardDesign(name="bad", signals=signals))


def test_the_presets_stand_on_the_data_and_share_one_scan(store, events):
    fill(events)
    made = presets(store, events.loop_id)
    anchors = {spec.signal: (spec.worst, spec.best) for spec in made["price"].signals}
    low, high = np.quantile(store.frame("SELECT latency_ms FROM signals")["latency_ms"], [0.05, 0.95])
    assert anchors["latency_ms"] == (float(f"{high:.1e}"), float(f"{low:.1e}"))
    assert anchors["cost_usd"] == (0.0004, 0.0001)
    moments = reward_moments(store, events.loop_id, made["price"].signals)
    for design in made.values():
        check_design(design, CANDIDATES)
        assert rewards_by_variant(moments, design) == rewards_by_variant(
            reward_moments(store, events.loop_id, design.signals), design
        )


def test_saved_designs_never_change_and_want_a_note(store, events):
    with pytest.raises(DesignError, match="what should get better"):
        save_design(store, events.loop_id, RewardDesign(name="mute", signals=KEPT.signals, note="  "), now=NOW)
    saved = save_design(store, events.loop_id, KEPT, now=NOW)
    again = save_design(
        store, events.loop_id, RewardDesign(name="other", signals=KEPT.signals[::-1], note="other"), now=NOW
    )
    assert (saved.version, saved.is_new) == (1, True)
    assert again == saved._replace(is_new=False)
    assert live_design(store, events.loop_id) == KEPT


def test_a_design_is_found_by_any_name_people_use(store, events):
    fill(events, ("base",))
    assert find_design(store, events.loop_id, "live") == DEFAULT_DESIGN
    other = weighted(DEFAULT_DESIGN, price=0.8, performance=0.1, quality=0.1)
    for design in (KEPT, other, RewardDesign(name="kept", signals=DEFAULT_DESIGN.signals, note="the newer one")):
        save_design(store, events.loop_id, design, now=NOW)
    for ref, wanted in (
        ("live", DEFAULT_DESIGN.id),
        ("1", KEPT.id),
        (" v1 ", KEPT.id),
        ("V2", other.id),
        ("kept", DEFAULT_DESIGN.id),
        (KEPT.id, KEPT.id),
        (KEPT.id[:6], KEPT.id),
        ("Balanced", presets(store, events.loop_id)["balanced"].id),
    ):
        assert find_design(store, events.loop_id, ref).id == wanted
    for ref in ("nobody", "", "v9", KEPT.id[:2]):
        with pytest.raises(InputError, match=r"there are: live, price, .*v3 \(kept\), v2 \(default\), v1 \(kept\)"):
            find_design(store, events.loop_id, ref)
    listed = list_designs(store, events.loop_id)
    assert (listed.live["version"], [row["version"] for row in listed.saved]) == (3, [3, 2, 1])
    assert listed.saved[1]["parent_id"] == KEPT.id
    assert list(listed.presets) == ["price", "performance", "quality", "balanced"]


def test_a_design_with_a_removed_signal_says_so_wherever_it_is_used(store, events):
    fill(events, ("base", "fast"))
    define_signal(store, events.loop_id, "speed", "1000 / interaction.latency_ms", note="per second", now=NOW)
    quick = RewardDesign(name="quick", signals=(SignalSpec("speed", 1, 0, 5),), note="Quicker")
    save_design(store, events.loop_id, quick, now=NOW)
    assert {v.variant: v.n_interactions for v in what_if(store, events.loop_id, quick).variants} == {
        "base": 72,
        "fast": 72,
    }
    remove_signal(store, events.loop_id, "speed", NOW)
    assert find_design(store, events.loop_id, "quick") == quick
    for use in (what_if, lambda *words: save_design(*words, now=NOW)):
        with pytest.raises(DesignError, match=r"weighs 'speed', which was removed on Oct 1, 2026"):
            use(store, events.loop_id, quick)
