import json
from datetime import datetime, timedelta

import numpy as np
import pytest

from organism.digest.designs import DEFAULT_DESIGN, ordered, weighted
from organism.digest.flow import live_design, reward_moments, save_design, signal_moments
from organism.digest.rewards import rewards_by_variant
from organism.digest.training_set_flow import build_training_set
from organism.digest.training_sets import is_heldout
from organism.errors import DesignError
from organism.measures.draft_reward import reward
from organism.records import SignalSpec
from organism.store.datasets import read_dataset_rows, read_datasets
from organism.store.reward_designs import read_saved

NOW = datetime(2026, 10, 1)
USERS = [f"user-{n:02d}" for n in range(24)]


def fill(events, per_user: int = 3, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    for day in range(per_user):
        for user in USERS:
            at = NOW - timedelta(days=20 - day, minutes=int(rng.integers(0, 600)))
            events.answered(
                user,
                int(rng.integers(20, 100)),
                at,
                kind=str(rng.choice(["accept", "edit", "reject"], p=[0.3, 0.5, 0.2])),
                variant_id=str(rng.choice(["base", "scribe-1"])),
                latency_ms=float(rng.uniform(100, 3000)),
                cost_usd=float(rng.uniform(0, 0.0006)),
            )


def test_mean_rewards_from_one_scan_equal_the_rewards_of_the_rows(store, events):
    fill(events)
    events.draft("silent-user")
    events.write()
    design = weighted(DEFAULT_DESIGN, price=0.3, performance=0.1, quality=0.6)
    found = rewards_by_variant(reward_moments(store, events.loop_id, DEFAULT_DESIGN.signals), design)
    rows = store.frame("SELECT * FROM signals").replace({np.nan: None})
    for variant in found:
        mine = rows[rows["variant_id"] == variant.variant]
        values = [reward(design, row) for row in mine.to_dict("records")]
        heard = [value for value in values if value is not None]
        assert variant.mean == pytest.approx(np.mean(heard), abs=1e-9)
        assert (variant.n_interactions, variant.n_users) == (
            len(heard),
            mine[[v is not None for v in values]]["user_key"].nunique(),
        )
        assert variant.low < variant.mean < variant.high


def test_silence_is_left_out_unless_the_design_says_what_it_means(store, events):
    for user in USERS:
        events.draft(user, latency_ms=200.0)
    events.answered("loud", retained=100, latency_ms=float("nan"))
    events.write()
    signals = (SignalSpec("latency_ms", 1, 2000, 200), SignalSpec("retained_char_rate", 1, 0, 1))
    assert reward_moments(store, events.loop_id, signals).variants == {}
    stated = (signals[0]._replace(missing=0.0), signals[1]._replace(missing=0.25))
    users = reward_moments(store, events.loop_id, stated).variants["base"]
    assert users.n == len(USERS) + 1
    totals = np.array(users.mean) * users.n
    assert totals == pytest.approx([len(USERS), 0.25 * len(USERS) + 1, len(USERS) + 1])


def test_the_columns_of_the_moments_are_the_signals_by_name(store, events):
    events.answered("a", retained=40, latency_ms=200.0)
    events.write()
    signals = (SignalSpec("retained_char_rate", 1, 0, 1), SignalSpec("latency_ms", 1, 2000, 200))
    found = reward_moments(store, events.loop_id, signals)
    assert found.variants["base"].mean == pytest.approx((1.0, 0.4, 1.0))
    assert found.signals == ("latency_ms", "retained_char_rate")
    assert [s.signal for s in ordered(signals)] == ["latency_ms", "retained_char_rate"]


def test_an_unknown_signal_or_bad_anchor_is_refused_before_the_scan(store, events):
    with pytest.raises(DesignError, match="nothing measures"):
        reward_moments(store, events.loop_id, (SignalSpec("1; DROP TABLE loops", 1, 0, 1),))
    with pytest.raises(DesignError, match="two different numbers"):
        reward_moments(store, events.loop_id, (SignalSpec("accepted", 1, 1, 1),))


def test_saved_designs_are_versions_and_the_live_recipe_again_is_none(store, events):
    assert live_design(store, events.loop_id) == DEFAULT_DESIGN
    first = save_design(store, events.loop_id, DEFAULT_DESIGN, now=NOW)
    again = save_design(store, events.loop_id, DEFAULT_DESIGN, now=NOW)
    assert (first.version, first.is_new, again.version, again.is_new) == (1, True, 1, False)
    cheap = weighted(DEFAULT_DESIGN, price=0.8, performance=0.1, quality=0.1)
    second = save_design(store, events.loop_id, cheap, now=NOW)
    assert (second.version, live_design(store, events.loop_id).id) == (2, cheap.id)
    assert save_design(store, events.loop_id, DEFAULT_DESIGN, now=NOW).version == 3
    kept = read_saved(store, events.loop_id)
    assert [(saved.version, saved.parent_id) for saved in kept] == [(3, cheap.id), (2, DEFAULT_DESIGN.id), (1, None)]
    with pytest.raises(DesignError, match="positive weight"):
        save_design(store, events.loop_id, weighted(cheap, price=0, performance=0, quality=0), now=NOW)


def test_a_training_set_is_frozen_split_by_user_and_the_same_twice(store, events):
    fill(events)
    events.write()
    built = build_training_set(store, events.loop_id, now=NOW)
    again = build_training_set(store, events.loop_id, now=NOW + timedelta(days=1))
    assert again == built
    assert len(read_datasets(store, events.loop_id)) == 1
    train = read_dataset_rows(store, built.dataset_id, "train")
    heldout = read_dataset_rows(store, built.dataset_id, "heldout")
    assert (len(train), len(heldout)) == (built.n_train, built.n_heldout)
    assert not set(train["user_key"]) & set(heldout["user_key"])
    assert all(is_heldout(user, 0.25) for user in heldout["user_key"])
    assert (train["completion"] == "final " + train["interaction_id"]).all()
    assert built.dropped["no final text"] > 0


def test_another_seed_is_another_order_of_the_same_rows(store, events):
    fill(events)
    events.write()
    one = build_training_set(store, events.loop_id, now=NOW)
    other = build_training_set(store, events.loop_id, seed=1, now=NOW)
    rows = [read_dataset_rows(store, s.dataset_id, "train")["prompt"].tolist() for s in (one, other)]
    assert rows[0] != rows[1]
    assert sorted(rows[0]) == sorted(rows[1])


def test_what_is_dropped_is_counted_with_its_reason_and_never_trained_on(store, events):
    trainers = [user for user in USERS if not is_heldout(user, 0.25)]
    heldout = next(user for user in USERS if is_heldout(user, 0.25))
    events.answered(heldout)
    for n in range(30):
        events.answered(trainers[n % len(trainers)], at=NOW - timedelta(days=n))
    events.answered(trainers[0], consent=False, prompt="kept private")
    events.answered(trainers[0], consent=None, prompt="never asked")
    events.answered(trainers[0], kind="reject", prompt="rejected")
    events.answered(trainers[0], prompt="prompt 1", at=NOW - timedelta(days=40))
    accepted = events.draft(trainers[1], prompt="taken as it was", output="a good draft")
    events.answer(accepted, "accept", at=NOW, final_text=None)
    nobody = events.draft(None)
    events.answer(nobody, at=NOW)
    events.write()
    built = build_training_set(store, events.loop_id, max_rows=25, now=NOW)
    assert built.dropped == {
        "no consent": 2,
        "no final text": 1,
        "no user named": 1,
        "over the limit, newest first": 6,
        "prompt already taken": 1,
    }
    rows = read_dataset_rows(store, built.dataset_id)
    assert not set(rows["prompt"]) & {"kept private", "never asked", "rejected"}
    assert rows.set_index("prompt").loc["taken as it was", "completion"] == "a good draft"
    assert "prompt 1" in set(rows["prompt"])
    assert "prompt 30" not in set(rows["prompt"])


def test_a_superseded_answer_is_not_learned_from(store, events):
    fill(events)
    first = events.draft(USERS[0], prompt="answered twice")
    wrong = events.answer(first, at=NOW, final_text="a slip")
    events.answer(first, at=NOW - timedelta(hours=1), final_text="what was meant", supersedes_id=wrong)
    events.write()
    rows = read_dataset_rows(store, build_training_set(store, events.loop_id, now=NOW).dataset_id)
    assert rows.set_index("prompt").loc["answered twice", "completion"] == "what was meant"


def test_facts_and_the_second_draw_travel_with_the_row(store, events):
    fill(events)
    facts = [{"kind": "dose", "any_of": ["5 mg", "5mg"]}]
    events.answered(
        next(u for u in USERS if is_heldout(u, 0.25)),
        at=NOW,
        prompt="with facts",
        attributes=json.dumps({"facts": facts, "second_final": "said again"}),
    )
    events.write()
    rows = read_dataset_rows(store, build_training_set(store, events.loop_id, now=NOW).dataset_id, "heldout")
    row = rows.set_index("prompt").loc["with facts"]
    assert (row["facts"], row["second_final"]) == (facts, "said again")
    others = rows[rows["prompt"] != "with facts"]
    assert all(f == [] for f in others["facts"])
    assert others["second_final"].isna().all()


def test_too_little_to_learn_from_or_nobody_held_out_is_a_sentence(store, events):
    trainer = next(user for user in USERS if not is_heldout(user, 0.25))
    for n in range(3):
        events.answered(trainer, at=NOW - timedelta(days=n))
    events.write()
    with pytest.raises(DesignError, match=r"^3 answers can be trained on \(held out: 0; dropped: none\); wanted"):
        build_training_set(store, events.loop_id, now=NOW)
    for n in range(30):
        events.answered(trainer, at=NOW - timedelta(days=n), external_id=f"more {n}", prompt=f"more {n}")
    events.write()
    with pytest.raises(DesignError, match="no user is held out"):
        build_training_set(store, events.loop_id, now=NOW)
    with pytest.raises(DesignError, match="share between 0 and 1"):
        build_training_set(store, events.loop_id, heldout_share=1.5, now=NOW)


def test_users_who_saw_two_versions_are_kept_as_such(store, events):
    for user, variants in (("a", "base tuned"), ("b", "tuned base base"), ("c", "base"), ("d", "tuned")):
        for n, variant in enumerate(variants.split()):
            events.answered(user, 20 * n + 40, variant_id=variant, at=NOW - timedelta(hours=n))
    events.write()
    found = reward_moments(store, events.loop_id, (SignalSpec("retained_char_rate", 1, 0, 1),))
    assert {variant: users.n for variant, users in found.variants.items()} == {"base": 3, "tuned": 3}
    both = found.shared["base", "tuned"]
    # Users a and b: base's utilities and rows, then tuned's.
    assert np.array(both.mean) * both.n == pytest.approx([0.4 + 0.6 + 0.8, 3, 0.6 + 0.4, 2])


def test_the_sums_of_a_signal_are_over_the_users_that_carry_it(store, events):
    for user, rating in (("a", 4.0), ("a", 2.0), ("b", None), ("c", 5.0)):
        answered = events.draft(user, variant_id="tuned" if user == "c" else "base", latency_ms=float("nan"))
        if rating is not None:
            events.answer(answered, "rating", value=rating)
    events.write()
    found = signal_moments(store, events.loop_id, ["rating", "latency_ms", "error"])
    assert (found["rating"]["base"].n, found["rating"]["base"].mean) == (1, (6.0, 2.0))
    assert (found["rating"]["tuned"].n, found["latency_ms"]) == (1, {})
    assert (found["error"]["base"].n, found["error"]["base"].mean) == (2, (0.0, 1.5))
    assert signal_moments(store, events.loop_id, []) == {}


def test_an_empty_workspace_gives_empty_tables_with_their_columns(store, events):
    nobody = reward_moments(store, events.loop_id, DEFAULT_DESIGN.signals)
    assert (nobody.variants, nobody.shared) == ({}, {})
    assert rewards_by_variant(nobody, DEFAULT_DESIGN) == []
    assert "content_hash" in read_datasets(store, events.loop_id).columns
    assert list(read_dataset_rows(store, "none").columns)[-3:] == ["facts", "second_final", "segments"]
    assert read_saved(store, events.loop_id) == []
