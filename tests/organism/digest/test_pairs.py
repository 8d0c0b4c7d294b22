"""Which drafts become rows of each kind, on a real store: what is dropped has its reason, and every draft one."""

from datetime import datetime, timedelta

import pytest

from organism.digest.signals_flow import define_signal, remove_signal
from organism.digest.training_set_flow import freeze, preview
from organism.digest.training_sets import is_heldout, rows_hash
from organism.digest.training_settings import Basis, SetSettings
from organism.errors import DesignError, InputError
from organism.records import Constraint, DatasetKind, RewardDesign, SignalSpec
from organism.store.datasets import read_dataset_rows

NOW = datetime(2026, 10, 1)
USERS = [f"user-{n:02d}" for n in range(40)]
TRAINERS = [user for user in USERS if not is_heldout(user, 0.25)]
HELDOUT = [user for user in USERS if is_heldout(user, 0.25)]
FAST = RewardDesign(name="fast", signals=(SignalSpec("latency_ms", 1, worst=1000, best=0),))
PAIRS = {"kind": DatasetKind.PREFERENCE, "basis": Basis.REWARD}


def drafted(events, user: str, prompt: str, latency: float | None, **columns) -> str:
    """A draft without an answer whose reward under FAST is 1 - latency / 1000; the later, the newer."""
    at = NOW - timedelta(days=30) + timedelta(minutes=events.n_drafts)
    columns = {"output": f"draft {events.n_drafts}"} | columns
    return events.draft(user, at, prompt=prompt, latency_ms=latency, **columns)


def answered(events, user: str, prompt: str, kind: str = "edit", **columns) -> str:
    draft = drafted(events, user, prompt, 500.0, **columns)
    events.answer(draft, kind, at=NOW - timedelta(days=29) + timedelta(minutes=events.n_drafts))
    return draft


def enough(events, one) -> None:
    """Twenty-five prompts to train on and five to judge by, each made by `one(user, prompt)`."""
    for n in range(25):
        one(TRAINERS[n % len(TRAINERS)], f"trained {n}")
    for n in range(5):
        one(HELDOUT[n % len(HELDOUT)], f"judged {n}")


def rows_of(store, loop_id, design=FAST, **settings):
    built = freeze(store, loop_id, SetSettings(**settings), design=design, now=NOW)
    return built, read_dataset_rows(store, built.dataset_id).set_index("prompt", drop=False)


def test_an_edit_is_chosen_over_the_draft_that_it_replaced(store, events):
    enough(events, lambda user, prompt: answered(events, user, prompt))
    answered(events, TRAINERS[0], "as it was", "accept")
    answered(events, TRAINERS[0], "not used", "reject")
    spaced = drafted(events, TRAINERS[0], "spaces only", 500.0, output="Same words")
    events.answer(spaced, at=NOW, final_text="same  words ")
    anew = drafted(events, TRAINERS[0], "written anew", 500.0)
    events.answer(anew, "reject", at=NOW, final_text="my own words")
    events.write()
    built, rows = rows_of(store, events.loop_id, kind=DatasetKind.PREFERENCE)
    assert built.dropped == {
        "accepted as it was, so nothing to compare": 1,
        "edited in case or spaces only": 1,
        "no final text": 1,
    }
    assert (rows.loc["written anew", "chosen"], rows.loc["written anew", "rejected"]) == ("my own words", "draft 33")
    row = rows.loc["trained 3"]
    assert (row["chosen"], row["rejected"]) == (f"final {row['interaction_id']}", "draft 3")
    assert (row["rejected_interaction_id"], row["rejected_feedback_id"]) == (row["interaction_id"], row["feedback_id"])
    assert row["completion"] is None
    assert len(rows) == 31


def test_pairs_by_reward_are_the_best_over_the_worst_of_a_prompt_with_a_margin(store, events):
    def three(user, prompt):
        for latency in (500.0, 100.0, 900.0):
            drafted(events, user, prompt, latency)

    enough(events, three)
    for latency in (500.0, 450.0):
        drafted(events, TRAINERS[0], "too close", latency)
    drafted(events, TRAINERS[0], "alone", 100.0)
    for latency in (100.0, 900.0):
        drafted(events, TRAINERS[0], "word for word", latency, output="the same")
    drafted(events, TRAINERS[0], "never timed", None)
    events.write()
    built, rows = rows_of(store, events.loop_id, **PAIRS, margin=0.2)
    assert built.dropped == {
        "best and worst draft read the same": 2,
        "neither the best nor the worst of its prompt": 30,
        "no reward under this design": 1,
        "rewards closer than the margin": 2,
        "the only draft of its prompt": 1,
    }
    row = rows.loc["trained 4"]
    assert (row["chosen"], row["rejected"]) == ("draft 13", "draft 14")
    assert (row["reward"], row["rejected_reward"]) == pytest.approx((0.9, 0.1))
    assert row["interaction_id"] != row["rejected_interaction_id"]


def test_the_two_drafts_of_a_pair_stand_on_one_side_whoever_wrote_them(store, events):
    def two(user, prompt):
        drafted(events, user, prompt, 100.0)
        drafted(events, user, prompt, 900.0)

    enough(events, two)
    drafted(events, HELDOUT[0], "asked by all", 100.0)
    drafted(events, TRAINERS[0], "Asked  by all", 900.0)
    drafted(events, TRAINERS[1], "asked by ALL", 200.0)
    events.write()
    built, rows = rows_of(store, events.loop_id, **PAIRS)
    assert built.dropped == {"prompt is on the other side of the split": 1}
    assert rows.loc["asked by ALL", "split"] == "train"
    sides = rows.groupby(rows["prompt"].str.lower().str.replace(" ", ""))["split"].nunique()
    assert sides.max() == 1


def test_labels_by_experts_are_what_they_stood_behind_and_what_they_rejected(store, events):
    enough(events, lambda user, prompt: answered(events, user, prompt, "reject" if prompt[-1] in "02468" else "edit"))
    taken = drafted(events, TRAINERS[0], "taken", 500.0, output="a good draft")
    events.answer(taken, "accept", at=NOW, final_text=None)
    again = drafted(events, TRAINERS[0], "TAKEN", 500.0, output="A good draft")
    events.answer(again, "reject", at=NOW - timedelta(days=60))
    events.write()
    built, rows = rows_of(store, events.loop_id, kind=DatasetKind.UNPAIRED)
    assert built.dropped == {"prompt and completion already taken": 1}
    assert (rows.loc["taken", "completion"], rows.loc["taken", "label"]) == ("a good draft", True)
    assert (rows.loc["trained 4", "completion"], rows.loc["trained 4", "label"]) == ("draft 4", False)
    assert rows.loc["trained 5", "completion"].startswith("final ")


def test_labels_by_reward_leave_the_dead_band_out(store, events):
    rewards = iter([0.9, 0.1, 0.52, 0.48, 0.7] * 6)
    enough(events, lambda user, prompt: drafted(events, user, prompt, 1000 * (1 - next(rewards))))
    for n in range(10):
        drafted(events, TRAINERS[n], f"more {n}", 300.0)
    events.write()
    asked = {"kind": DatasetKind.UNPAIRED, "basis": Basis.REWARD}
    built, rows = rows_of(store, events.loop_id, **asked, threshold=0.5, dead_band=0.1)
    assert built.dropped == {"reward within the dead band": 12}
    assert all(label == (reward > 0.5) for label, reward in zip(rows["label"], rows["reward"], strict=True))
    with pytest.raises(DesignError, match="25 rows to train on are desirable"):
        freeze(
            store, events.loop_id, SetSettings(**asked, threshold=0.05, dead_band=0, max_rows=25), design=FAST, now=NOW
        )


def test_the_best_rewarded_completion_of_a_prompt_is_taken_and_the_least_reward_holds(store, events):
    def two(user, prompt):
        drafted(events, user, prompt, 200.0)
        drafted(events, user, prompt, 400.0)

    enough(events, two)
    drafted(events, TRAINERS[0], "slow", 900.0)
    events.write()
    built, rows = rows_of(store, events.loop_id, basis=Basis.REWARD, min_reward=0.5)
    assert built.dropped == {"another draft of the prompt earned more": 30, "reward under the least one": 1}
    assert (rows.loc["trained 2", "completion"], rows.loc["trained 2", "reward"]) == ("draft 4", 0.8)


def test_a_rejected_draft_is_never_imitated_however_much_it_earned(store, events):
    enough(events, lambda user, prompt: drafted(events, user, prompt, 500.0))
    rejected = drafted(events, TRAINERS[0], "rejected but fast", 10.0)
    events.answer(rejected, "reject", at=NOW)
    events.write()
    built, rows = rows_of(store, events.loop_id, basis=Basis.REWARD)
    assert built.dropped == {"rejected, so not to imitate": 1}
    assert rejected not in set(rows["interaction_id"])


CHEAP = RewardDesign(name="cheap", signals=FAST.signals, constraints=(Constraint("cost_usd", at_most=0.001),))


def test_variants_that_break_a_guardrail_are_not_imitated(store, events):
    for n, user in enumerate(USERS):
        drafted(events, user, f"good {n}", 500.0)
        drafted(events, user, f"dear {n}", 10.0, variant_id="dear", cost_usd=0.01)
    for n in range(3):
        drafted(events, TRAINERS[n], f"few {n}", 10.0, variant_id="unsure", cost_usd=0.01)
    refused = drafted(events, TRAINERS[0], "refused too", 10.0, variant_id="dear", cost_usd=0.01)
    events.answer(refused, "reject", at=NOW)
    events.write()
    built, rows = rows_of(store, events.loop_id, CHEAP, basis=Basis.REWARD, min_reward=0.0)
    assert built.dropped == {"dear breaks a guardrail": 40, "rejected, so not to imitate": 1}
    assert sum(rows.index.str.startswith("few")) == 3, "unsure is not broken"
    labels = {"kind": DatasetKind.UNPAIRED, "basis": Basis.REWARD, "threshold": 0.3}
    seen = preview(store, events.loop_id, SetSettings(**labels), design=CHEAP)
    assert seen.dropped == built.dropped
    free, _ = rows_of(store, events.loop_id, FAST, basis=Basis.REWARD, min_reward=0.0)
    assert free.dropped == {"rejected, so not to imitate": 1}, "a design without guardrails bars nobody"


def test_a_draft_that_may_not_be_imitated_can_lose_a_pair_but_not_win_it(store, events):
    def dear(user, prompt, latency):
        drafted(events, user, prompt, latency, variant_id="dear", cost_usd=0.01)

    def three(user, prompt):
        dear(user, prompt, 100.0)
        drafted(events, user, prompt, 300.0)
        dear(user, prompt, 900.0)

    enough(events, three)
    for n, user in enumerate(USERS):
        dear(user, f"alone {n}", 500.0)
    dear(TRAINERS[0], "best may not win", 100.0)
    drafted(events, TRAINERS[0], "best may not win", 900.0)
    dear(TRAINERS[0], "both dear", 100.0)
    dear(TRAINERS[0], "both dear", 900.0)
    events.write()
    built, rows = rows_of(store, events.loop_id, CHEAP, **PAIRS)
    assert built.dropped == {
        "dear breaks a guardrail": 33,
        "no other draft of its prompt may be chosen over it": 1,
        "the only draft of its prompt": 40,
    }
    assert rows["reward"].to_numpy() == pytest.approx(0.7)
    assert rows["rejected_reward"].to_numpy() == pytest.approx(0.1)


def test_without_a_least_reward_drafts_under_the_median_are_not_imitated(store, events):
    latencies = iter([100.0, 300.0, 700.0] * 30)
    for n in range(90):
        drafted(events, USERS[n % 40], f"prompt {n}", next(latencies))
    events.write()
    built, rows = rows_of(store, events.loop_id, basis=Basis.REWARD)
    assert built.least_reward == pytest.approx(0.7)
    assert built.dropped == {"reward under the median of the drafts scored": 30}
    assert rows["reward"].min() == pytest.approx(0.7)
    assert store.rows("SELECT (settings->>'least_reward')::DOUBLE FROM datasets") == [(pytest.approx(0.7),)]
    everything = freeze(store, events.loop_id, SetSettings(basis=Basis.REWARD, min_reward=0.0), design=FAST, now=NOW)
    assert (everything.dropped, everything.least_reward) == ({}, 0.0)
    assert preview(store, events.loop_id, SetSettings(), design=FAST).least_reward is None


def test_over_the_limit_the_best_rewarded_are_trained_on_and_the_newest_judged_by(store, events):
    for n in range(40):
        drafted(events, TRAINERS[n % len(TRAINERS)], f"trained {n}", 10.0 + n)
        drafted(events, HELDOUT[n % len(HELDOUT)], f"judged {n}", 10.0 + n)
    events.write()
    asked = {"basis": Basis.REWARD, "min_reward": 0.0, "max_rows": 25, "max_heldout_rows": 5}
    built, rows = rows_of(store, events.loop_id, **asked)
    assert built.dropped == {
        "over the limit, best rewarded first": 15,
        "over the limit of held-out rows, newest first": 35,
    }
    assert set(rows[rows["split"] == "train"].index) == {f"trained {n}" for n in range(25)}
    assert set(rows[rows["split"] == "heldout"].index) == {f"judged {n}" for n in range(35, 40)}
    twice, rows = rows_of(store, events.loop_id, **asked | {"max_rows_per_user": 1})
    assert twice.dropped["over the limit for one user"] > 0
    assert {f"trained {n}" for n in range(25)} == set(rows[rows["split"] == "train"].index)


def test_every_draft_that_was_looked_at_is_in_a_row_or_has_one_reason(store, events):
    for n in range(240):
        user = None if n % 31 == 0 else USERS[n % 40]
        answered(
            events,
            user,
            f"prompt {n % 97}",
            ("edit", "accept", "reject")[n % 3],
            consent=n % 7 != 0,
            variant_id=f"v{n % 2}",
            region=("north", "south", None)[n % 5 % 3],
            output=f"draft {n % 50}",
        )
    events.write()
    filters = {"regions": ("north", "south"), "answers": ("edit", "reject"), "since": NOW - timedelta(days=29)}
    for kind in DatasetKind:
        for basis in (Basis.EXPERT, Basis.REWARD):
            settings = SetSettings(kind=kind, basis=basis, max_rows=9, max_rows_per_user=2, **filters)
            seen = preview(store, events.loop_id, settings, design=FAST)
            drafts = 2 if (kind, basis) == (DatasetKind.PREFERENCE, Basis.REWARD) else 1
            assert sum(seen.dropped.values()) + drafts * (seen.n_train + seen.n_heldout) == seen.n_candidates == 240


def test_filters_and_the_limit_of_one_user_hold(store, events):
    for n in range(120):
        user = USERS[n % 40] if n < 80 else TRAINERS[0]
        answered(events, user, f"prompt {n}", variant_id=f"v{n % 2}", region="north" if n % 4 else None)
    events.write()
    built, rows = rows_of(store, events.loop_id, variants=("v1",), regions=("north",), max_rows_per_user=3)
    origins = store.frame("SELECT interaction_id::VARCHAR AS i, variant_id, region FROM interactions").set_index("i")
    assert set(origins.loc[rows["interaction_id"], "variant_id"]) == {"v1"}
    assert set(origins.loc[rows["interaction_id"], "region"]) == {"north"}
    assert rows["user_key"].value_counts().max() == 3
    assert built.dropped["another variant"] == 60
    assert built.dropped["over the limit for one user"] > 0


def test_a_near_duplicate_of_a_held_out_prompt_is_not_trained_on_and_is_shown(store, events):
    story = " ".join(f"the patient said thing {n} about the pain in the arm" for n in range(30))
    enough(events, lambda user, prompt: answered(events, user, prompt))
    leaking = answered(events, TRAINERS[2], f"{story} today")
    answered(events, HELDOUT[1], f"{story} yesterday")
    events.write()
    built, rows = rows_of(store, events.loop_id)
    assert built.n_leaking == 1
    assert built.dropped == {"nearly the same prompt is held out": 1}
    assert leaking not in set(rows["interaction_id"])
    assert f"{story} yesterday" in rows.index
    [leakage] = store.rows(
        "SELECT leakage->>'n_compared', leakage->'examples'->0->>'train_interaction_id' FROM datasets"
    )
    assert leakage == ("26", leaking)
    assert freeze(store, events.loop_id, SetSettings(near=1.0), now=NOW).n_leaking == 0


def test_the_same_settings_and_design_give_the_same_set_and_another_design_another(store, events):
    enough(events, lambda user, prompt: drafted(events, user, prompt, 100.0))
    events.write()
    settings = SetSettings(basis=Basis.REWARD)
    first = freeze(store, events.loop_id, settings, design=FAST, now=NOW)
    assert freeze(store, events.loop_id, settings, design=FAST, now=NOW + timedelta(days=1)) == first
    slack = RewardDesign(name="slack", signals=(SignalSpec("latency_ms", 1, worst=5000, best=0),))
    other = freeze(store, events.loop_id, settings, design=slack, now=NOW)
    assert (other.content_hash, other.dataset_id == first.dataset_id) == (first.content_hash, False)
    earned = [read_dataset_rows(store, made.dataset_id)["reward"].iloc[0] for made in (first, other)]
    assert earned == pytest.approx([0.9, 0.98]), "each keeps its own rewards"


@pytest.mark.parametrize("kind", list(DatasetKind))
def test_the_hash_is_of_what_is_trained_on_and_rewards_are_notes_beside_it(kind):
    texts = {DatasetKind.PREFERENCE: ("chosen", "rejected")}.get(kind, ("completion",))
    also = {DatasetKind.SFT: {"facts": "[]"}, DatasetKind.UNPAIRED: {"label": True}}.get(kind, {})
    row = {"split": "train", "user_key": "u", "prompt": "p"} | dict.fromkeys(texts, "text") | also
    notes = {"reward": 0.5, "rejected_reward": 0.1, "interaction_id": "i", "feedback_id": "f"}
    bare = rows_hash([row], kind)
    assert rows_hash([row | notes], kind) == bare
    for name in row:
        assert rows_hash([row | {name: "other"}], kind) != bare, name
    assert rows_hash([row, row | {"prompt": "q"}], kind) != rows_hash([row | {"prompt": "q"}, row], kind)


def test_bad_input_is_a_sentence_with_what_to_do(store, events):
    enough(events, lambda user, prompt: answered(events, user, prompt))
    events.write()

    def refused(error, match, design=FAST, **settings):
        with pytest.raises(error, match=match):
            freeze(store, events.loop_id, SetSettings(**settings), design=design, now=NOW)

    refused(InputError, "no draft here has the variant 'nobody'; there are: base", variants=("nobody",))
    refused(InputError, "no draft here has the region 'moon'; there are: none", regions=("moon",))
    refused(DesignError, "a margin of 0 is out of range", **PAIRS, margin=0.0)
    refused(DesignError, "a margin of nan is out of range", **PAIRS, margin=float("nan"))
    refused(DesignError, "leaves no room on both sides", threshold=0.9, dead_band=0.4)
    refused(DesignError, "a least reward of 2 is out of range", min_reward=2.0)
    refused(DesignError, "wanted at least 20 prompts that were drafted at least twice", **PAIRS)
    refused(
        DesignError, "30 here are the only draft of theirs. Send several interactions with the same prompt", **PAIRS
    )
    assert "or build the pairs from what experts did (basis expert)" in (
        preview(store, events.loop_id, SetSettings(**PAIRS), design=FAST).objection
    )
    refused(DesignError, "no user is held out", heldout_share=0.0001)
    gone = RewardDesign(name="gone", signals=(SignalSpec("vendor_score", 1, 0, 1),))
    refused(DesignError, "vendor_score", design=gone, basis=Basis.REWARD)
    assert freeze(store, events.loop_id, SetSettings(), design=gone, now=NOW).n_train == 25, "no reward is needed"
    define_signal(store, events.loop_id, "vendor_score", "interaction.cost_usd", note="theirs", author="ana", now=NOW)
    assert freeze(store, events.loop_id, SetSettings(basis=Basis.REWARD), design=gone, now=NOW).n_train == 25
    remove_signal(store, events.loop_id, "vendor_score", NOW)
    refused(DesignError, "vendor_score.* removed", design=gone, basis=Basis.REWARD)
    bound = RewardDesign(name="bound", signals=FAST.signals, constraints=(Constraint("accepted", at_least=0.5),))
    assert freeze(store, events.loop_id, SetSettings(basis=Basis.REWARD), design=bound, now=NOW).n_train == 25
