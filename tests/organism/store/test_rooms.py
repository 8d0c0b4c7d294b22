"""Loops, latest events and counts are read back as they were written."""

from datetime import datetime

import pytest

from organism.errors import InputError
from organism.ingest.flow import ingest
from organism.records import EventKind
from organism.store.database import Store
from organism.store.feedback import count_feedback, read_feedback
from organism.store.interactions import count_interactions, read_interactions
from organism.store.loops import describe_loop, ensure_loop, loop_id_of, read_loops
from organism.store.outcomes import count_outcomes, read_outcomes

NOW = datetime(2026, 3, 1, 12)


def test_an_unknown_loop_is_answered_with_the_known_ones(store: Store) -> None:
    with pytest.raises(InputError, match="no loop is named 'x'; known loops: none yet"):
        loop_id_of(store, "x")
    made = ensure_loop(store, "scribe", NOW)
    assert ensure_loop(store, "scribe", NOW) == made == loop_id_of(store, "scribe")
    with pytest.raises(InputError, match="known loops: scribe"):
        loop_id_of(store, "x")


def test_loops_say_what_they_are_for_and_how_much_they_have(store: Store) -> None:
    loop_id = ensure_loop(store, "scribe", NOW)
    describe_loop(store, loop_id, job_to_be_done="draft the note", unit_of_value="a signed note")
    ingest(store, EventKind.INTERACTIONS, [{"external_id": "a"}], now=NOW, loop="scribe", source="s").result()
    row = read_loops(store).iloc[0]
    assert (row["name"], row["job_to_be_done"], row["n_interactions"], row["last_at"]) == (
        "scribe",
        "draft the note",
        1,
        NOW,
    )


def test_events_of_a_loop_are_listed_latest_first_and_other_loops_are_left_out(store: Store) -> None:
    for loop in ("scribe", "other"):
        drafts = [{"external_id": f"{loop}{n}", "output": "x", "occurred_at": f"2026-02-0{n}"} for n in (1, 2)]
        ingest(store, EventKind.INTERACTIONS, drafts, now=NOW, loop=loop, source="s").result()
    answer = {"external_id": "f", "interaction_external_id": "scribe1", "kind": "accept"}
    ingest(store, EventKind.FEEDBACK, [answer], now=NOW, source="s").result()
    sale = {"external_id": "o", "business_key": "k", "name": "sale", "value": 2}
    ingest(store, EventKind.OUTCOMES, [sale], now=NOW, loop="scribe", source="s").result()
    scribe, other = loop_id_of(store, "scribe"), loop_id_of(store, "other")
    assert read_interactions(store, scribe)["external_id"].tolist() == ["scribe2", "scribe1"]
    assert read_interactions(store, scribe, limit=1)["external_id"].tolist() == ["scribe2"]
    assert read_feedback(store, scribe)["kind"].tolist() == ["accept"]
    assert read_outcomes(store, scribe)["value"].tolist() == [2.0]
    assert read_feedback(store, other).empty
    assert read_outcomes(store, other).empty
    assert (count_interactions(store), count_interactions(store, scribe)) == (4, 2)
    assert (count_feedback(store), count_outcomes(store)) == (1, 1)
