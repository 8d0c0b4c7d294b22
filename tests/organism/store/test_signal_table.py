"""The table of signals equals what a scan of all events gives, however the events came."""

import random
import subprocess
import sys
from collections import defaultdict
from datetime import datetime, timedelta

import pandas as pd
import pytest

from organism.config import Workspace
from organism.digest.signals_flow import define_signal
from organism.records import EventKind, event_id
from organism.store.backup import backup, restore
from organism.store.events import append_events
from organism.store.loops import ensure_loop
from organism.store.schema import migrate, open_store
from organism.store.signal_table import refresh_signals
from organism.store.signals import known_signals, read_coverage, read_signal_values

START = datetime(2026, 9, 7, 8)
BY_VIEW = """
    WITH answer AS (
        SELECT interaction_id,
            arg_max(rowid, occurred_at) FILTER (kind IN ('accept', 'edit', 'reject')) AS last,
            arg_max(value, occurred_at)
                FILTER (kind = 'rating' AND name IS NULL AND actor_kind IS DISTINCT FROM 'model') AS rating,
            min(occurred_at) AS first_feedback_at
        FROM feedback_events
        WHERE feedback_id NOT IN (SELECT supersedes_id FROM feedback_events WHERE supersedes_id IS NOT NULL)
        GROUP BY interaction_id
    )
    SELECT i.interaction_id, i.loop_id, i.user_key, i.variant_id, i.experiment_id, i.model_version_id, i.region,
        i.occurred_at, i.source, f.feedback_id, f.kind AS answer, a.first_feedback_at,
        CASE f.kind WHEN 'reject' THEN 0.0 WHEN 'accept' THEN 1.0 WHEN 'edit' THEN 1.0 END::DOUBLE AS accepted,
        a.rating, i.latency_ms, i.ttft_ms, i.cost_usd, i.output_tokens::DOUBLE AS output_tokens,
        (i.error IS NOT NULL)::DOUBLE AS error,
        CASE WHEN f.retained_chars IS NOT NULL THEN length(i.output) END AS draft_chars,
        f.retained_chars, f.final_chars,
        f.retained_chars / nullif(length(i.output), 0) AS retained_char_rate,
        CASE WHEN f.final_chars IS NOT NULL THEN f.retained_chars / nullif(f.final_chars, 0) END AS written_share
    FROM interactions i
    LEFT JOIN answer a USING (interaction_id) LEFT JOIN feedback_events f ON f.rowid = a.last
    ORDER BY i.interaction_id
"""
"""What the view of before m005 computed, but that a rating with a name is an answer of its own."""
ID_COLUMNS = ["interaction_id", "feedback_id"]


class History:
    """A random stream of events: late interactions, corrections of other answers, outcomes of users and orders."""

    def __init__(self, seed: int, loop_ids: list[str]) -> None:
        self.rng = random.Random(seed)
        self.loop_ids = loop_ids
        self.events: dict[EventKind, list[dict]] = {kind: [] for kind in EventKind}
        self.known: list[str] = []

    def some(self, n: int) -> dict[EventKind, list[dict]]:
        """The next n events by kind."""
        new: dict[EventKind, list[dict]] = {kind: [] for kind in EventKind}
        for _ in range(n):
            kind, row = self.rng.choice([self._interaction, self._feedback, self._feedback, self._outcome])()
            new[kind].append(row)
            self.events[kind].append(row)
        return new

    def _row(self, kind: EventKind) -> dict:
        at = START + timedelta(microseconds=self.rng.randrange(3 * 86_400_000_000))
        return {"occurred_at": at, "created_at": at, "source": "s", "external_id": f"{kind} {len(self.events[kind])}"}

    def _id_of_interaction(self) -> str:
        """Of one that is known, or of one that may come later."""
        if not self.known or self.rng.random() < 0.3:
            self.known.append(event_id(START, "s", f"to come {len(self.known)}"))
        return self.rng.choice(self.known)

    def _interaction(self) -> tuple[EventKind, dict]:
        there = {row["interaction_id"] for row in self.events[EventKind.INTERACTIONS]}
        missing = [identity for identity in self.known if identity not in there]
        identity = self.rng.choice(missing) if missing else event_id(START, "s", f"new {len(self.known)}")
        self.known = list(dict.fromkeys([*self.known, identity]))
        maybe = self.rng.choice
        return EventKind.INTERACTIONS, {
            **self._row(EventKind.INTERACTIONS),
            "interaction_id": identity,
            "loop_id": maybe(self.loop_ids),
            "user_key": maybe(["ann", "bob", None]),
            "business_key": maybe(["order 1", "order 2", "ann", None]),
            "variant_id": maybe(["base", "scribe-1", None]),
            "region": maybe(["north", None]),
            "output": maybe(["x" * 100, "", None]),
            "latency_ms": maybe([200.0, float("nan"), None]),
            "error": maybe(["timeout", None]),
            "output_tokens": maybe([10, None]),
        }

    def _feedback(self) -> tuple[EventKind, dict]:
        maybe = self.rng.choice
        kind = maybe(["accept", "edit", "reject", "rating", "rating", "comment"])
        row = {
            **self._row(EventKind.FEEDBACK),
            "interaction_id": self._id_of_interaction(),
            "kind": kind,
            "name": maybe(["quality", "it's", None]) if kind == "rating" else None,
            "value": maybe([1.0, 2.0, 5.0]) if kind == "rating" else None,
            "actor_kind": maybe(["human", "model", None]),
            "actor_key": maybe(["r1", "r2", None]),
            "retained_chars": maybe([0, 40, None]),
            "final_chars": maybe([0, 80, None]),
        }
        row["feedback_id"] = event_id(row["occurred_at"], "s", row["external_id"])
        others = [other["feedback_id"] for other in self.events[EventKind.FEEDBACK]]
        row["supersedes_id"] = maybe(others) if others and self.rng.random() < 0.3 else None
        return EventKind.FEEDBACK, row

    def _outcome(self) -> tuple[EventKind, dict]:
        maybe, row = self.rng.choice, self._row(EventKind.OUTCOMES)
        return EventKind.OUTCOMES, {
            **row,
            "outcome_id": event_id(row["occurred_at"], "s", row["external_id"]),
            "loop_id": maybe(self.loop_ids),
            "business_key": maybe(["order 1", "order 2", "ann", "bob"]),
            "name": maybe(["sale", "Sale", 'odd "name']),
            "value": float(self.rng.randrange(9)),
            "attribution_window_s": maybe([None, 0, 3600, 86_400, 2**53]),
        }

    def late(self, interaction: dict) -> dict[str, float]:
        """By brute force: the latest outcome of each name within its window."""
        reached = [
            row
            for row in self.events[EventKind.OUTCOMES]
            if row["loop_id"] == interaction["loop_id"]
            and row["business_key"] in (interaction["business_key"], interaction["user_key"])
            and row["occurred_at"] >= interaction["occurred_at"]
            and (row["occurred_at"] - interaction["occurred_at"]).total_seconds()
            <= (row["attribution_window_s"] if row["attribution_window_s"] is not None else 10**18)
        ]
        return {f"outcome.{row['name']}": row["value"] for row in sorted(reached, key=lambda row: row["occurred_at"])}

    def labeled(self, interaction: dict) -> dict[str, float]:
        """By brute force: the mean over actors of each one's last answer that was not superseded."""
        dead = {row["supersedes_id"] for row in self.events[EventKind.FEEDBACK]}
        last: dict[str, dict] = defaultdict(dict)
        for row in sorted(self.events[EventKind.FEEDBACK], key=lambda row: row["occurred_at"]):
            judged = row["actor_kind"] == "model"
            name = f"judge.{row['name'] or 'rating'}" if judged else f"answer.{row['name']}"
            named = row["kind"] == "rating" and (row["name"] or judged) and row["feedback_id"] not in dead
            if named and row["interaction_id"] == interaction["interaction_id"]:
                last[name][row["actor_kind"], row["actor_key"]] = row["value"]
        return {name: sum(values.values()) / len(values) for name, values in last.items()}


def put(store, new: dict[EventKind, list[dict]]) -> None:
    store.write(
        lambda cursor: [append_events(cursor, kind, rows) for kind, rows in new.items()],
        "interactions", "feedback_events", "outcomes",
    )  # fmt: skip


def assert_as_from_scratch(store, history: History) -> None:
    refresh_signals(store)
    wanted = store.frame(BY_VIEW)
    found = store.frame(f"SELECT {', '.join(wanted.columns)} FROM signals ORDER BY interaction_id")
    pd.testing.assert_frame_equal(
        found.astype(dict.fromkeys(ID_COLUMNS, str)), wanted.astype(dict.fromkeys(ID_COLUMNS, str))
    )
    for loop_id in history.loop_ids:
        named = ("outcome", "answer", "judge")
        known = [name for name, info in known_signals(store, loop_id).items() if info.kind in named]
        table = read_signal_values(store, loop_id, known).set_index("interaction_id")
        mine = [row for row in history.events[EventKind.INTERACTIONS] if row["loop_id"] == loop_id]
        assert len(table) == len(mine)
        for row in mine:
            seen = table.loc[row["interaction_id"]].dropna().to_dict()
            assert seen == pytest.approx({**history.late(row), **history.labeled(row)})


@pytest.mark.parametrize("seed", range(12))
def test_after_any_sequence_of_events_it_equals_a_scan_of_them_all(store, seed):
    history = History(seed, [ensure_loop(store, name, START) for name in ("notes", "other")])
    for _ in range(history.rng.randrange(4, 12)):
        put(store, history.some(history.rng.randrange(1, 15)))
        if history.rng.random() < 0.8:
            assert_as_from_scratch(store, history)
    assert_as_from_scratch(store, history)


def test_reading_again_without_new_events_asks_nothing(store, events):
    events.answered("a")
    events.write()
    refresh_signals(store)
    asked = []
    store.submit_shared = lambda *args: asked.append(args)
    refresh_signals(store)
    assert asked == []


def test_only_touched_interactions_are_written(store, events):
    """Marks put on other rows by hand stay: nobody computed those again."""
    first, second = events.answered("a"), events.draft("b")
    events.write()
    refresh_signals(store)
    store.execute("UPDATE signals SET rating = 77", [])
    events.answer(second, "accept")
    events.write()
    refresh_signals(store)
    rated = dict(store.rows("SELECT interaction_id::VARCHAR, rating FROM signals"))
    assert rated == {first: 77, second: None}


def test_events_written_in_the_same_transaction_are_taken_next_time(store, events):
    """The writer groups what waits: a refresh may share its transaction with rows that have no number yet."""
    one, two = events.answered("a"), events.answered("b")
    late = [row for row in events.interactions if row["interaction_id"] == two]
    events.interactions.remove(late[0])

    def first(cursor):
        from organism.store.signal_table import _refresh

        append_events(cursor, EventKind.INTERACTIONS, events.interactions)
        _refresh(cursor, [None])
        append_events(cursor, EventKind.FEEDBACK, events.feedback)
        _refresh(cursor, [None])

    store.write(first, "interactions", "feedback_events")
    store.write(lambda cursor: append_events(cursor, EventKind.INTERACTIONS, late), "interactions")
    refresh_signals(store)
    assert store.rows("SELECT count(*), count(accepted) FROM signals") == [(2, 2)]
    assert one != two


def test_of_events_of_one_moment_the_last_to_come_counts_however_they_are_scanned(store, events):
    """Files give days, not moments: which of two wins must not hang on the order in which a join meets them."""
    drafts = [events.draft(f"user {n}", business_key=f"order {n}") for n in range(300)]
    events.write()
    for word, value in (("accept", 1.0), ("reject", 2.0)):
        for n, draft in enumerate(drafts):
            events.answer(draft, word)
            events.answer(draft, "rating", value=value)
            events.answer(draft, "rating", name="tone", actor_key="ann", value=value)
            identity = event_id(START, "s", f"{word} {n}")
            row = {"outcome_id": identity, "loop_id": events.loop_id, "business_key": f"order {n}", "name": "sale"}
            row |= {"value": value, "occurred_at": START, "created_at": START, "source": "s", "external_id": identity}
            store.write(lambda cursor, row=row: append_events(cursor, EventKind.OUTCOMES, [row]), "outcomes")
        events.write()
        refresh_signals(store)
    names = ["accepted", "rating", "answer.tone", "outcome.sale"]
    for _ in range(2):
        found = read_signal_values(store, events.loop_id, names)
        assert found[names].drop_duplicates().to_numpy().tolist() == [[0.0, 2.0, 2.0, 2.0]]
        store.execute("DELETE FROM signals", [], "interactions")


@pytest.mark.parametrize(
    "harm", ["DELETE FROM signals WHERE user_key = 'a'", "DELETE FROM interactions WHERE user_key = 'a'"]
)
def test_where_rows_are_gone_it_is_computed_anew(store, events, harm):
    for user in "abc":
        events.answered(user)
    events.write()
    refresh_signals(store)
    store.execute(harm, [], "interactions")
    refresh_signals(store)
    assert store.rows("SELECT count(*) FROM signals") == store.rows("SELECT count(*) FROM interactions")
    events.answered("d")
    events.write()
    refresh_signals(store)
    assert store.rows("SELECT count(*) FROM signals") == store.rows("SELECT count(*) FROM interactions")


def test_another_event_in_the_last_ones_place_is_noticed(store, events):
    events.answered("a")
    events.write()
    refresh_signals(store)
    other = event_id(START, "s", "another")
    store.write(
        lambda cursor: [
            cursor.execute("UPDATE interactions SET interaction_id = ?, user_key = 'z'", [other]),
            cursor.execute("UPDATE feedback_events SET interaction_id = ?", [other]),
        ],
        "interactions",
    )
    refresh_signals(store)
    assert store.rows("SELECT user_key, accepted FROM signals") == [("z", 1.0)]


def test_a_restored_copy_goes_on_from_where_it_was(tmp_path):
    place = Workspace(tmp_path / "w")
    store = open_store(place.database)
    history = History(3, [ensure_loop(store, "notes", START)])
    put(store, history.some(60))
    assert_as_from_scratch(store, history)
    define_signal(store, history.loop_ids[0], "short", "length(interaction.output) < 50", now=START)
    backup(store, tmp_path / "copy.duckdb")
    put(store, History(4, history.loop_ids).some(30))
    refresh_signals(store)
    store.close()
    restore(place, tmp_path / "copy.duckdb")
    store = open_store(place.database)
    assert_as_from_scratch(store, history)
    put(store, history.some(40))
    assert_as_from_scratch(store, history)
    rows = store.rows("SELECT count(*) FROM interactions WHERE output IS NOT NULL AND loop_id = ?", history.loop_ids)
    assert read_coverage(store, history.loop_ids[0], ["short"])["n_present"].tolist() == [rows[0][0]]
    store.close()


def test_what_was_refreshed_survives_a_kill(tmp_path):
    code = f"""
import os, sys
sys.path.insert(0, {str(sys.path[0])!r})
from tests.organism.store.test_signal_table import *
store = open_store(Workspace(__import__("pathlib").Path({str(tmp_path / "w")!r})).database)
history = History(5, [ensure_loop(store, "notes", START)])
for _ in range(4):
    put(store, history.some(25))
    refresh_signals(store)
define_signal(store, history.loop_ids[0], "short", "length(interaction.output) < 50", now=START)
put(store, history.some(25))
refresh_signals(store)
put(store, history.some(25))
print(history.loop_ids[0], flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    history = History(5, [done.stdout.strip()])
    for _ in range(6):
        history.some(25)
    store = open_store(Workspace(tmp_path / "w").database)
    assert store.rows("SELECT count(*) > 0 FROM signals") == [(True,)]
    assert_as_from_scratch(store, history)
    store.close()


def test_a_workspace_of_before_keeps_its_signals(tmp_path):
    """Back to the view of m004, events in, and forward again."""
    file = tmp_path / "organism.duckdb"
    store = open_store(file)
    history = History(6, [ensure_loop(store, "notes", START)])
    put(store, history.some(80))
    view = BY_VIEW.replace(" AND name IS NULL", "").replace("ORDER BY i.interaction_id", "")
    store.write(lambda cursor: [cursor.execute(f"DROP TABLE {name}") for name in
                                ("signals", "signals_seen", "signal_definitions")])  # fmt: skip
    store.execute(f"CREATE VIEW signals AS {view}", [])
    store.execute("DELETE FROM schema_steps WHERE name = 'm005_signals_are_a_table'", [])
    store.close()
    store = open_store(file)
    assert migrate(store) == []
    assert_as_from_scratch(store, history)
    store.close()


def test_outcomes_beyond_the_limit_get_no_column(store, events):
    one = events.draft("a", business_key="order")
    events.write()
    rows = [
        {
            "outcome_id": event_id(START, "s", str(n)), "loop_id": events.loop_id, "business_key": "order",
            "name": f"n{n:03d}", "value": 1.0, "occurred_at": START, "created_at": START + timedelta(seconds=n),
            "source": "s", "external_id": str(n),
        }
        for n in range(103)
    ]  # fmt: skip
    store.write(lambda cursor: append_events(cursor, EventKind.OUTCOMES, rows), "outcomes")
    known = [name for name in known_signals(store, events.loop_id) if name.startswith("outcome.")]
    assert known == [f"outcome.n{n:03d}" for n in range(100)]
    assert read_signal_values(store, events.loop_id, ["outcome.n099"])["outcome.n099"].tolist() == [1.0]
    assert one
