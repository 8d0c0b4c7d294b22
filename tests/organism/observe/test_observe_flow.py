import json
import re
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from organism.observe.flow import cycles, flow_counts, needs_you, vitals, weekly_retained
from organism.observe.metabolism import lift_per_cycle, two_weeks
from organism.records import ModelVersion
from organism.stats.compare import interval, ratio_of_sums
from organism.stats.moments import moments
from organism.store.model_versions import insert_version

NOW = datetime(2026, 11, 2)
DAY = timedelta(days=1)


def insert(store, table: str, **columns: object) -> None:
    values = [json.dumps(v) if isinstance(v, dict) else v for v in columns.values()]
    store.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(values))})", values, table)


class Story:
    """A loop that lived: answers, a frozen set, a run, a version, its experiment, a decision, and going live."""

    def __init__(self, store, events):
        self.store, self.events, self.loop_id = store, events, events.loop_id

    def freeze(self, rows: list[tuple[str, str]], at: datetime, dataset_id: str = "d1", split: str = "train") -> None:
        insert(
            self.store,
            "datasets",
            dataset_id=dataset_id,
            loop_id=self.loop_id,
            name=dataset_id,
            content_hash="h",
            n_train=len(rows),
            n_heldout=0,
            n_users_train=1,
            n_users_heldout=0,
            dropped={},
            latest_signal_at=at - DAY,
            created_at=at,
        )
        for number, (interaction, feedback) in enumerate(rows):
            insert(
                self.store,
                "dataset_rows",
                dataset_id=dataset_id,
                row_number=number,
                split=split,
                interaction_id=interaction,
                feedback_id=feedback,
                user_key="u",
                prompt="p",
                completion="c",
            )

    def run(
        self, at: datetime, status: str = "done", run_id: str = "r1", dataset_id: str = "d1", recipe: str = "sft"
    ) -> None:
        insert(
            self.store,
            "training_runs",
            run_id=run_id,
            loop_id=self.loop_id,
            dataset_id=dataset_id,
            recipe=recipe,
            config={},
            status=status,
            message=f"it is {status}",
            started_at=at,
            finished_at=at,
            created_at=at,
        )

    def version(self, name: str, at: datetime, run_id: str | None = "r1", dataset_id: str | None = "d1") -> None:
        made = ModelVersion(
            model_version_id=f"id-{name}",
            loop_id=self.loop_id,
            name=name,
            base_path="b",
            adapter_path=None,
            run_id=run_id,
            dataset_id=dataset_id,
            reward_design_id=None,
            created_at=at,
        )
        self.store.write(lambda cursor: insert_version(cursor, made), "model_versions")

    def test(self, at: datetime, experiment_id: str = "e1") -> None:
        insert(
            self.store,
            "experiments",
            experiment_id=experiment_id,
            loop_id=self.loop_id,
            name=experiment_id,
            hypothesis="",
            salt="s",
            status="running",
            created_at=at,
            started_at=at,
            is_synthetic=True,
        )
        for position, version in enumerate(("base", "scribe-1")):
            insert(
                self.store,
                "variants",
                experiment_id=experiment_id,
                position=position,
                name=version,
                share=0.5,
                model_version_id=f"id-{version}",
            )
        insert(self.store, "plans", experiment_id=experiment_id, version=1, plan={}, actor="", why="", created_at=at)

    def decide(self, verdict: str, at: datetime, effect: float = 0.2, experiment_id: str = "e1") -> None:
        card = {"effect": effect, "ci_low": effect - 0.1, "ci_high": effect + 0.1}
        insert(
            self.store,
            "decisions",
            decision_id=f"{experiment_id} {at}",
            experiment_id=experiment_id,
            verdict=verdict,
            rule="better",
            note="n",
            actor="a",
            scorecard=card,
            created_at=at,
        )
        self.store.execute(
            "UPDATE experiments SET status = 'decided', ended_at = ? WHERE experiment_id = ?", [at, experiment_id]
        )

    def go_live(self, name: str, at: datetime) -> None:
        insert(
            self.store,
            "alias_events",
            alias_event_id=f"{name} {at}",
            loop_id=self.loop_id,
            alias="live",
            model_version_id=f"id-{name}",
            actor="a",
            created_at=at,
        )


@pytest.fixture
def story(store, events) -> Story:
    made = Story(store, events)
    made.version("base", NOW - 60 * DAY, run_id=None, dataset_id=None)
    return made


def answered(events, user: str, at: datetime, **columns: object) -> tuple[str, str]:
    draft = events.draft(user, at, **columns)
    return draft, events.answer(draft, at=at)


def test_only_drafts_that_had_their_time_count_as_never_answered(store, events):
    for n in range(4):
        old = NOW - (10 + n) * DAY
        draft = events.draft(f"old-{n}", old)
        if n < 3:
            events.answer(draft, at=old + timedelta(seconds=100 * (n + 1)))
        events.draft(f"young-{n}", NOW - DAY)
    events.write()
    found = vitals(store, events.loop_id, NOW)
    assert (found.n_interactions, found.n_settled, found.usable_signal_share) == (8, 4, 0.75)
    assert (found.feedback_p50_s, found.feedback_p90_s) == (200, pytest.approx(280))
    assert found.is_synthetic


def test_an_empty_loop_knows_nothing_and_says_no_zeros(store, events):
    found = vitals(store, events.loop_id, NOW)
    assert (found.n_interactions, found.n_cycles, found.cycles_per_30_days, found.n_open_signals) == (0, 0, 0, 0)
    counted = {"n_interactions", "n_settled", "n_shipped_signals", "n_open_signals", "n_untrained_signals"}
    counted |= {"cycles_per_30_days", "n_cycles", "is_synthetic"}
    assert {value for name, value in found._asdict().items() if name not in counted} == {None}
    assert weekly_retained(store, events.loop_id).empty
    assert list(weekly_retained(store, events.loop_id).columns)[:3] == ["week", "variant", "retained_char_rate"]
    assert list(cycles(store, events.loop_id, now=NOW).columns)[-4:] == ["stage", "stage_since", "is_open", "open_days"]
    assert list(flow_counts(store, events.loop_id, NOW).columns) == ["source", "target", "n", "tone"]
    assert needs_you(store, events.loop_id, NOW) == []


def test_signal_to_ship_ends_at_the_first_live_version_and_open_signals_age(store, events, story):
    rows = [answered(events, f"u{n}", NOW - (40 + n) * DAY) for n in range(3)]
    late = [answered(events, f"v{n}", NOW - (8 + n) * DAY) for n in range(2)]
    answered(events, "w", NOW - 30 * DAY, consent=False)
    events.write()
    story.freeze(rows, NOW - 30 * DAY)
    story.run(NOW - 30 * DAY)
    story.version("scribe-1", NOW - 29 * DAY)
    before = vitals(store, events.loop_id, NOW)
    assert (before.n_shipped_signals, before.signal_to_ship_p50_days, before.n_open_signals) == (0, None, 5)
    assert (before.oldest_open_signal_days, before.n_untrained_signals) == (pytest.approx(42), 2)
    story.go_live("scribe-1", NOW - 20 * DAY)
    story.go_live("scribe-1", NOW - 2 * DAY)
    after = vitals(store, events.loop_id, NOW)
    assert (after.n_shipped_signals, after.signal_to_ship_p50_days) == (3, pytest.approx(21))
    assert (after.n_open_signals, after.open_signal_p50_days) == (2, pytest.approx(8.5))
    assert len(late) == after.n_untrained_signals


def test_the_answers_of_heldout_users_do_not_wait_to_be_trained_on(store, events, story):
    rows = [answered(events, "u", NOW - 40 * DAY)]
    events.write()
    story.freeze(rows, NOW - 30 * DAY, split="heldout")
    assert vitals(store, events.loop_id, NOW).n_open_signals == 0


def test_a_cycle_is_followed_from_its_signals_to_going_live(store, events, story):
    def stage() -> tuple:
        row = cycles(store, events.loop_id, now=NOW).iloc[0]
        return row["stage"], bool(row["is_open"]), None if pd.isna(row["open_days"]) else row["open_days"]

    rows = [answered(events, "u", NOW - 40 * DAY)]
    events.write()
    story.freeze(rows, NOW - 30 * DAY)
    story.run(NOW - 30 * DAY)
    assert stage() == ("training", True, 31)
    story.version("scribe-1", NOW - 29 * DAY)
    assert stage() == ("trained", True, 31)
    story.test(NOW - 28 * DAY)
    assert stage() == ("testing", True, 31)
    story.decide("ship", NOW - 20 * DAY)
    assert stage() == ("decided", True, 31)
    story.go_live("scribe-1", NOW - 19 * DAY)
    assert stage() == ("live", False, None)
    row = cycles(store, events.loop_id, now=NOW).iloc[0]
    assert row["first_signal_at"] == pd.Timestamp(NOW - 40 * DAY)
    assert (row["version"], row["verdict"], row["run_status"]) == ("scribe-1", "ship", "done")


def test_a_set_that_no_run_learned_from_is_no_cycle(store, story):
    story.freeze([], NOW - 30 * DAY)
    story.freeze([], NOW - 20 * DAY, dataset_id="d2")
    story.freeze([], NOW - 10 * DAY, dataset_id="d3")
    story.run(NOW - 30 * DAY)
    story.run(NOW - 9 * DAY, run_id="r2", dataset_id="d2", recipe="evaluate")
    found = cycles(store, story.loop_id, now=NOW)
    assert list(zip(found["run_id"], found["stage"], strict=True)) == [("r1", "training")]


def test_a_rolled_back_or_failed_cycle_is_closed(store, story):
    story.freeze([], NOW - 30 * DAY)
    story.run(NOW - 30 * DAY, status="failed")
    assert cycles(store, story.loop_id, now=NOW)["stage"].tolist() == ["failed"]
    story.run(NOW - 29 * DAY, run_id="r2")
    story.version("scribe-1", NOW - 29 * DAY, run_id="r2")
    story.test(NOW - 28 * DAY)
    story.decide("roll_back", NOW - 20 * DAY, effect=-0.1)
    found = cycles(store, story.loop_id, now=NOW)
    assert found["stage"].tolist() == ["decided", "failed"]
    assert not found["is_open"].any()


def test_lift_cycles_and_failures_come_from_the_decisions(store, story):
    story.version("scribe-1", NOW - 29 * DAY)
    for number, (verdict, effect, days) in enumerate([("ship", 0.3, 40), ("roll_back", -0.1, 10), ("ship", 0.1, 5)]):
        story.test(NOW - (days + 5) * DAY, experiment_id=f"e{number}")
        story.decide("keep_running", NOW - (days + 1) * DAY, effect=9, experiment_id=f"e{number}")
        story.decide(verdict, NOW - days * DAY, effect, experiment_id=f"e{number}")
    found = vitals(store, story.loop_id, NOW)
    assert (found.n_cycles, found.cycles_per_30_days, found.failed_cycle_share) == (3, 2, pytest.approx(1 / 3))
    assert found.lift_per_cycle == pytest.approx(0.1)
    assert found.lift_high - found.lift_per_cycle == pytest.approx(0.1 / np.sqrt(3))


def test_one_cycles_lift_has_the_interval_of_its_experiment():
    one = pd.DataFrame({"effect": [0.2], "ci_low": [0.1], "ci_high": [0.3]})
    assert lift_per_cycle(one) == pytest.approx((0.2, 0.1, 0.3))
    assert lift_per_cycle(one.iloc[:0]) == (None, None, None)


def test_weeks_carry_intervals_over_users_and_versions_apart(store, events):
    rng = np.random.default_rng(0)
    monday = datetime(2026, 10, 5)
    for n in range(120):
        at = monday + timedelta(days=int(rng.integers(0, 14)), hours=1)
        variant = "scribe-1" if n % 2 else "base"
        events.answered(f"user-{n % 9}", int(rng.integers(20, 100)), at, variant_id=variant)
    events.draft("silent", monday)
    events.write()
    found = weekly_retained(store, events.loop_id)
    assert set(found["week"]) == {pd.Timestamp(monday), pd.Timestamp(monday + 7 * DAY)}
    assert found["n_interactions"].sum() == 120
    rows = store.frame(
        "SELECT *, date_trunc('week', occurred_at) AS week FROM signals WHERE retained_chars IS NOT NULL"
    )
    for row in found.itertuples():
        mine = rows[(rows["week"] == row.week) & (rows["variant_id"] == row.variant)]
        sums = mine.groupby("user_key")[["retained_chars", "draft_chars"]].sum().to_numpy(dtype=float)
        wanted = interval(ratio_of_sums(moments(sums)))
        assert (row.retained_char_rate, row.low, row.high) == pytest.approx(tuple(wanted), abs=1e-9)
        assert row.written_share == pytest.approx(mine["retained_chars"].sum() / mine["final_chars"].sum())


def test_the_weeks_change_uses_each_users_own_change():
    rng = np.random.default_rng(1)
    habit = rng.uniform(0.2, 0.8, 40)
    users = pd.DataFrame(
        {"drafted_0": 1000.0, "kept_0": 1000 * habit, "drafted_1": 800.0, "kept_1": 800 * (habit + 0.1)}
    )
    found = two_weeks(users)
    assert found.change == pytest.approx((0.1, 0.1, 0.1))
    assert found.now.high - found.now.low > 0.05
    assert two_weeks(users.assign(drafted_0=0.0, kept_0=0.0)).change == (None, None, None)


def test_this_weeks_retained_share_stands_beside_its_change(store, events):
    for n in range(12):
        events.answered(f"u{n}", 40 + n, NOW - 10 * DAY)
        events.answered(f"u{n}", 60 + n, NOW - 3 * DAY)
    events.write()
    found = vitals(store, events.loop_id, NOW)
    assert (found.retained_this_week, found.retained_change) == (pytest.approx(0.655), pytest.approx(0.2))


def test_every_draft_flows_somewhere_and_nothing_is_counted_twice(store, events, story):
    rows = [answered(events, f"u{n}", NOW - 40 * DAY) for n in range(5)]
    for n in range(3):
        answered(events, f"v{n}", NOW - 9 * DAY)
    answered(events, "x", NOW - 9 * DAY, consent=False)
    events.draft("y", NOW - 9 * DAY)
    events.draft("z", NOW - DAY)
    events.write()
    story.freeze(rows, NOW - 30 * DAY)
    story.freeze(rows[:2], NOW - 20 * DAY, dataset_id="d2")
    story.run(NOW - 30 * DAY)
    story.version("scribe-1", NOW - 29 * DAY)
    story.version("scribe-2", NOW - 19 * DAY, dataset_id="d2")
    story.go_live("scribe-1", NOW - 20 * DAY)
    found = flow_counts(store, events.loop_id, NOW)
    n = {(source, target): n for source, target, n, _ in found.itertuples(index=False)}
    assert n == {
        ("Drafts", "Answered"): 9,
        ("Drafts", "Never answered"): 1,
        ("Drafts", "Answer may still come"): 1,
        ("Answered", "Training rows"): 5,
        ("Answered", "Not trained on yet"): 3,
        ("Answered", "No consent or no text"): 1,
        ("Training rows", "scribe-1"): 5,
        ("scribe-1", "Went live"): 5,
    }


def needed(store, loop_id: str) -> dict[str, str]:
    return {need.title: need.page for need in needs_you(store, loop_id, NOW)}


def test_what_needs_a_person_is_named_with_its_page_and_goes_when_it_is_done(store, events, story):
    for n in range(25):
        answered(events, f"u{n}", NOW - (9 + n) * DAY)
    events.write()
    assert needed(store, events.loop_id) == {"25 answers wait to be trained on": "fine_tunes"}
    need = needs_you(store, events.loop_id, NOW)[0]
    assert need.detail.startswith("The oldest for 33 days.")
    story.freeze([], NOW - 4 * DAY)
    story.run(NOW - 4 * DAY, status="interrupted")
    assert "The run of October 29 was interrupted" in needed(store, events.loop_id)
    story.run(NOW - 3 * DAY, run_id="r2")
    story.version("scribe-1", NOW - 3 * DAY, run_id="r2")
    assert next(iter(needed(store, events.loop_id))) == "scribe-1 is trained and untested"
    story.test(NOW - 2 * DAY)
    assert list(needed(store, events.loop_id)) == ["25 answers wait to be trained on"]
    insert(store, "quarantine", quarantine_id="q", kind="feedback", reason="no kind", row={}, created_at=NOW)
    assert needed(store, events.loop_id)["1 row in quarantine"] == "sources"
    store.execute("UPDATE quarantine SET mended_at = ?", [NOW])
    assert "1 row in quarantine" not in needed(store, events.loop_id)


def test_a_clear_experiment_waits_for_a_decision_and_a_dull_one_for_traffic(store, events, story):
    story.version("scribe-1", NOW - 29 * DAY)
    story.test(NOW - 20 * DAY)
    assert needed(store, events.loop_id) == {"e1 has run for 20 days": "experiments"}
    rng = np.random.default_rng(3)
    for n in range(40):
        arm = n % 2
        kept = int(50 + 20 * arm + rng.normal(0, 5))
        events.answered(
            f"u{n}", kept, NOW - 5 * DAY, experiment_id="e1", variant_id=("base", "scribe-1")[arm], consent=False
        )
    events.write()
    found = needs_you(store, events.loop_id, NOW)
    assert [(need.title, need.page) for need in found] == [("e1 waits for a decision", "experiments")]
    assert found[0].detail.startswith("Retained characters of scribe-1: ")
    assert "points higher than of base (+" in found[0].detail
    assert "which is better, and nobody has decided" in found[0].detail
    story.decide("ship", NOW)
    assert needed(store, events.loop_id) == {}


@pytest.mark.parametrize("metric", ["latency_ms", "latency_ms.p50"])
def test_what_waits_for_a_decision_speaks_of_the_plan_s_own_metric(store, events, story, metric):
    story.version("scribe-1", NOW - 29 * DAY)
    story.test(NOW - 5 * DAY)
    store.execute("UPDATE plans SET plan = ?", [json.dumps({"primary": [metric]})], "experiments")
    rng = np.random.default_rng(3)
    for n in range(60):
        arm = n % 2
        told = {"experiment_id": "e1", "variant_id": ("base", "scribe-1")[arm], "consent": False}
        events.answered(f"u{n}", 50, NOW - 4 * DAY, latency_ms=500 - 100 * arm + rng.normal(0, 20), **told)
    events.write()
    (need,) = needs_you(store, events.loop_id, NOW)
    assert need.title == "e1 waits for a decision"
    label = "Latency p50" if metric.endswith("p50") else "Latency"
    wanted = rf"{label} of scribe-1: \d+ ms lower than of base \(-[\d.]+ to -[\d.]+\), which is better"
    assert re.match(wanted, need.detail)
