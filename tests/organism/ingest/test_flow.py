"""Strangers' rows: the good ones once, the bad ones kept, each with its reason."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from organism.ingest.flow import Ingested, ingest, ingest_json, retry_quarantined, retry_waiting
from organism.records import EventKind
from organism.store.database import Store
from organism.store.quarantine import read_quarantine
from organism.store.schema import open_store
from organism.store.sources import count_events, source_summary

NOW = datetime(2026, 3, 1, 12)
LONG_AGO = "2026-02-01T10:00:00"


def send(store: Store, kind: EventKind, *rows: dict[str, Any], now: datetime = NOW) -> Ingested:
    return ingest(store, kind, rows, now=now, loop="scribe", source="app").result()


def draft(external_id: str, output: str = "Cough for three days.", **more: Any) -> dict[str, Any]:
    return {"external_id": external_id, "output": output, "occurred_at": LONG_AGO, **more}


def answer(external_id: str, to: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"external_id": external_id, "interaction_external_id": to, "kind": kind, **more}


def measured(store: Store, external_id: str) -> tuple[Any, ...]:
    return store.rows(
        "SELECT draft_chars, retained_chars, final_chars FROM feedback_events WHERE external_id = ?", [external_id]
    )[0]


def test_sending_an_event_twice_is_sending_it_once(store: Store) -> None:
    first = send(store, EventKind.INTERACTIONS, draft("a"), draft("b"))
    again = send(store, EventKind.INTERACTIONS, draft("b"), draft("c"))
    assert (first.accepted, again.accepted, again.duplicates) == (2, 1, 1)
    assert again.ids[0] == first.ids[1]
    assert count_events(store)["interactions"] == 3


def test_doubles_inside_one_batch_are_one_event(store: Store) -> None:
    sent = send(store, EventKind.INTERACTIONS, draft("a"), draft("a"))
    assert (sent.accepted, sent.duplicates) == (1, 1)
    assert sent.ids[0] == sent.ids[1]


def test_the_same_event_is_known_again_by_its_id_whatever_time_it_carries(store: Store) -> None:
    untimed = {"external_id": "a", "output": "x"}
    first = send(store, EventKind.INTERACTIONS, untimed)
    later = send(store, EventKind.INTERACTIONS, untimed, now=NOW + timedelta(hours=1))
    other = send(store, EventKind.INTERACTIONS, draft("a"))
    assert (later.duplicates, other.duplicates) == (1, 1)
    assert first.ids == later.ids == other.ids


def test_a_double_is_known_after_the_store_was_closed(tmp_path: Path) -> None:
    store = open_store(tmp_path / "organism.duckdb")
    send(store, EventKind.INTERACTIONS, draft("a"), {"external_id": "b", "output": "é"})
    store.close()
    store = open_store(tmp_path / "organism.duckdb")
    assert send(store, EventKind.INTERACTIONS, draft("a"), {"external_id": "b"}).duplicates == 2
    store.close()


def test_the_same_id_from_another_source_is_another_event(store: Store) -> None:
    send(store, EventKind.INTERACTIONS, draft("a"))
    assert send(store, EventKind.INTERACTIONS, draft("a", source="other")).accepted == 1


def test_a_bad_row_costs_the_others_nothing_and_is_kept_with_its_reason(store: Store) -> None:
    sent = send(store, EventKind.INTERACTIONS, draft("a"), draft("b", latency_ms=-3), draft("c"))
    assert (sent.accepted, sent.quarantined) == (2, 1)
    assert sent.ids[1] is None
    assert sent.reasons == ["row 2: latency_ms is -3; wanted greater than or equal to 0"]
    kept = read_quarantine(store).iloc[0]
    assert json.loads(kept["row"]) == draft("b", latency_ms=-3) | {"loop": "scribe", "source": "app"}


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        ("interactions", {"output": "x"}, "external_id is missing"),
        ("interactions", {"external_id": "  "}, "external_id is missing"),
        ("interactions", draft("a", cost_usd=float("nan")), "cost_usd is nan; wanted a finite number"),
        ("interactions", draft("a", ttft_ms=float("inf")), "ttft_ms is inf; wanted a finite number"),
        ("interactions", draft("a", input_tokens=-1), "input_tokens is -1"),
        ("interactions", draft("a", input_tokens=2**40), "input_tokens is 1099511627776"),
        ("interactions", draft("a", output="x" * 1_000_001), "output is 1,000,001 characters long"),
        ("interactions", draft("a", occurred_at="1970-01-01"), "occurred_at is 1970-01-01"),
        ("interactions", draft("a", occurred_at="2027-01-01"), "occurred_at is 2027-01-01"),
        ("interactions", draft("a", occurred_at="soon"), "occurred_at is 'soon'"),
        ("interactions", draft("a", attributes={"x": float("nan")}), "attributes holds NaN"),
        ("interactions", draft("a", attributes={"x": "y" * 1_000_000}), "attributes is larger than"),
        ("interactions", draft("a", consent="perhaps"), "consent is 'perhaps'"),
        ("feedback", answer("f", "nobody", "accept"), "no interaction with external_id 'nobody'"),
        ("feedback", {"external_id": "f", "kind": "accept"}, "the interaction is not named"),
        ("feedback", answer("f", "a", "applause"), "kind is 'applause'; wanted 'accept'"),
        ("feedback", {"external_id": "f", "interaction_external_id": "a"}, "kind is missing"),
        ("feedback", answer("f", "a", "rating"), "a rating came without value"),
        ("feedback", answer("f", "a", "comment"), "a comment came without comment"),
        ("feedback", answer("f", "a", "rating", value=1, stars=5), "unknown field stars"),
        ("outcomes", {"external_id": "o", "name": "sale", "value": 1}, "business_key is missing"),
        ("outcomes", {"external_id": "o", "name": "sale", "business_key": "k", "value": "high"}, "value is 'high'"),
    ],
)
def test_every_kind_of_bad_row_has_its_sentence(store: Store, kind: str, row: dict[str, Any], reason: str) -> None:
    sent = send(store, EventKind(kind), row)
    assert (sent.accepted, sent.quarantined) == (0, 1)
    assert sent.reasons[0].startswith(reason)
    assert len(read_quarantine(store)) == 1


def test_a_row_that_is_no_object_and_a_row_without_a_source_are_kept(store: Store) -> None:
    sent = ingest(store, EventKind.INTERACTIONS, ["text", {"external_id": "a", "loop": "l"}], now=NOW).result()  # type: ignore[list-item]
    assert sent.quarantined == 2
    assert "the row is 'text'" in sent.reasons[0]
    assert "source is missing" in sent.reasons[1]


def test_the_same_bad_row_is_kept_once(store: Store) -> None:
    send(store, EventKind.INTERACTIONS, draft("b", latency_ms=-3))
    send(store, EventKind.INTERACTIONS, draft("b", latency_ms=-3))
    assert len(read_quarantine(store)) == 1


def test_text_that_no_store_can_hold_is_kept_readable(store: Store) -> None:
    sent = ingest_json(
        store, EventKind.INTERACTIONS, rb'[{"external_id": "a", "output": "\ud800"}]', now=NOW, loop="l", source="s"
    ).result()
    assert sent.quarantined == 1
    assert json.loads(read_quarantine(store).iloc[0]["row"])["output"] == "?"


def test_times_with_a_zone_are_stored_as_naive_utc(store: Store) -> None:
    send(store, EventKind.INTERACTIONS, draft("a", occurred_at="2026-02-01T10:00:00+02:00"))
    assert store.rows("SELECT occurred_at FROM interactions") == [(datetime(2026, 2, 1, 8),)]


def test_an_event_without_a_time_happened_when_it_came(store: Store) -> None:
    send(store, EventKind.INTERACTIONS, {"external_id": "a"})
    assert store.rows("SELECT occurred_at FROM interactions") == [(NOW,)]


def test_fields_of_their_own_stay_with_an_interaction_as_attributes(store: Store) -> None:
    send(store, EventKind.INTERACTIONS, draft("a", variant="base", ward="7", attributes={"facts": [1]}))
    variant, attributes = store.rows("SELECT variant_id, attributes FROM interactions")[0]
    assert variant == "base"
    assert json.loads(attributes) == {"ward": "7", "facts": [1]}


def test_a_loop_is_made_on_first_sight_and_only_once(store: Store) -> None:
    for external_id in "abc":
        send(store, EventKind.INTERACTIONS, draft(external_id))
    assert store.rows("SELECT name FROM loops") == [("scribe",)]


@pytest.mark.parametrize(
    ("row", "counts"),
    [
        (answer("f", "a", "accept"), (21, None, None)),
        (answer("f", "a", "accept", final_text="Cough for three days."), (21, 21, 21)),
        (answer("f", "a", "edit", final_text="Dry cough for three days."), (21, 20, 25)),
        (answer("f", "a", "edit"), (21, None, None)),
        (answer("f", "a", "reject"), (21, 0, None)),
        (answer("f", "a", "reject", final_text="Sprained wrist."), (21, 0, 15)),
        (answer("f", "a", "rating", value=4), (None, None, None)),
    ],
)
def test_acceptance_is_counted_when_feedback_comes(store: Store, row: dict[str, Any], counts: tuple[Any, ...]) -> None:
    send(store, EventKind.INTERACTIONS, draft("a"))
    assert send(store, EventKind.FEEDBACK, row).accepted == 1
    assert measured(store, "f") == counts


def test_feedback_on_an_interaction_of_an_earlier_process_is_measured_too(tmp_path: Path) -> None:
    store = open_store(tmp_path / "organism.duckdb")
    sent = send(store, EventKind.INTERACTIONS, draft("a"))
    store.close()
    store = open_store(tmp_path / "organism.duckdb")
    by_id = {"external_id": "g", "interaction_id": sent.ids[0], "kind": "accept", "final_text": "Cough for three days."}
    assert send(store, EventKind.FEEDBACK, by_id, answer("f", "a", "reject")).accepted == 2
    assert measured(store, "g") == (21, 21, 21)
    assert measured(store, "f") == (21, 0, None)
    store.close()


def test_feedback_sent_before_the_interaction_is_durable_finds_it_in_the_same_group(store: Store) -> None:
    done = [ingest(store, EventKind.INTERACTIONS, [draft(f"a{n}")], now=NOW, loop="l", source="app") for n in range(50)]
    answers = ingest(store, EventKind.FEEDBACK, [answer("f", "a49", "reject")], now=NOW, source="app")
    assert sum(future.result().accepted for future in done) == 50
    assert answers.result().accepted == 1


def test_feedback_finds_its_interaction_in_another_source_only_when_one_has_it(store: Store) -> None:
    send(store, EventKind.INTERACTIONS, draft("a", source="web"), draft("b", source="web"), draft("b", source="ios"))
    assert send(store, EventKind.FEEDBACK, answer("f", "a", "accept")).accepted == 1
    assert send(store, EventKind.FEEDBACK, answer("g", "b", "accept")).quarantined == 1
    assert send(store, EventKind.FEEDBACK, answer("h", "b", "accept", interaction_source="ios")).accepted == 1


def test_a_late_interaction_and_a_retry_mend_feedback_that_came_too_early(store: Store) -> None:
    send(store, EventKind.FEEDBACK, answer("f", "a", "reject"))
    assert retry_waiting(store, now=NOW).quarantined == 1
    send(store, EventKind.INTERACTIONS, draft("a"))
    assert retry_waiting(store, now=NOW + timedelta(hours=1)).accepted == 1
    assert read_quarantine(store).empty
    assert read_quarantine(store, open_only=False)["mended_at"].notna().all()
    assert store.rows("SELECT occurred_at FROM feedback_events") == [(NOW,)]


def test_a_patch_mends_a_row_and_what_is_still_bad_stays(store: Store) -> None:
    send(store, EventKind.INTERACTIONS, draft("b", latency_ms=-3, cost_usd=-1))
    quarantine_id = read_quarantine(store).iloc[0]["quarantine_id"]
    still = retry_quarantined(store, quarantine_id, {"latency_ms": 3}, now=NOW)
    assert still.reasons == ["cost_usd is -1; wanted greater than or equal to 0"]
    assert retry_quarantined(store, quarantine_id, {"latency_ms": 3, "cost_usd": None}, now=NOW).accepted == 1
    assert store.rows("SELECT latency_ms, cost_usd FROM interactions") == [(3.0, None)]
    with pytest.raises(ValueError, match="nothing to retry"):
        retry_quarantined(store, quarantine_id, {}, now=NOW)
    with pytest.raises(ValueError, match="no quarantined row has the id 'none'"):
        retry_quarantined(store, "none", {}, now=NOW)


def test_versions_move_for_the_tables_that_changed_and_for_no_other(store: Store) -> None:
    send(store, EventKind.INTERACTIONS, draft("a"))
    before = {table: store.version(table) for table in ("interactions", "feedback_events", "loops", "quarantine")}
    send(store, EventKind.INTERACTIONS, draft("b"))
    assert store.version("interactions") == before["interactions"] + 1
    assert all(store.version(table) == before[table] for table in ("feedback_events", "loops", "quarantine"))


def test_sources_say_who_sent_how_much_and_what_waits(store: Store) -> None:
    send(store, EventKind.INTERACTIONS, draft("a"), draft("b"), draft("c", latency_ms=-1))
    send(store, EventKind.OUTCOMES, {"external_id": "o", "business_key": "k", "name": "sale", "value": True})
    rows = source_summary(store, NOW + timedelta(minutes=1)).set_index("kind")
    assert rows.loc["interactions", ["n_rows", "n_last_day", "n_quarantined"]].tolist() == [2, 2, 1]
    assert rows.loc["interactions", "fresh_s"] == 60
    assert rows.loc["outcomes", "n_rows"] == 1
    assert source_summary(store, NOW + timedelta(days=2))["n_last_day"].sum() == 0
