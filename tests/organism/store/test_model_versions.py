"""Model versions: names are given once and counted up, a base is known again, and the alias is its last event."""

from datetime import datetime

import pytest

from organism.errors import InputError
from organism.store.database import Cursor, Store
from organism.store.model_versions import (
    alias_target,
    alias_trail,
    ensure_base,
    insert_alias_event,
    next_name,
    read_version,
    read_versions,
)

NOW = datetime(2026, 9, 7, 8)


def test_a_base_is_registered_once_and_another_base_gets_another_name(store: Store) -> None:
    def work(cursor: Cursor) -> list[str]:
        return [ensure_base(cursor, "loop", path, NOW) for path in ("bundled:a", "bundled:b", "bundled:a")]

    first, second, again = store.write(work, "model_versions")
    assert first == again
    assert read_version(store, first).name == "base"
    assert read_version(store, second).name == "base-1"
    assert len(read_versions(store, "loop")) == 2
    assert read_versions(store, "other").empty


def test_the_next_name_follows_the_highest_number_given(store: Store) -> None:
    names = ["scribe-2", "scribe-10", "scribe-x", "other-99"]

    def work(cursor: Cursor) -> list[str]:
        for number, name in enumerate(names):
            cursor.execute(
                "INSERT INTO model_versions (model_version_id, loop_id, name, base_path, created_at) "
                "VALUES (?, ?, ?, ?, ?)",
                [str(number), "loop", name, "b", NOW],
            )
        return [next_name(cursor, "loop", "scribe"), next_name(cursor, "loop", "new"), next_name(cursor, "x", "scribe")]

    assert store.write(work, "model_versions") == ["scribe-11", "new-1", "scribe-1"]


def test_events_of_the_same_moment_count_in_the_order_written(store: Store) -> None:
    def work(cursor: Cursor) -> list[str | None]:
        return [
            insert_alias_event(cursor, "loop", "live", version, actor="ann", reason="", now=NOW)
            for version in ("a", "b", "c")
        ]

    assert store.write(work, "alias_events") == [None, "a", "b"]
    with store.cursor() as cursor:
        assert alias_target(cursor, "loop", "live") == "c"
        assert alias_trail(cursor, "loop", "live") == ["c", "b", "a"]
        assert alias_target(cursor, "loop", "canary") is None


def test_an_unknown_version_is_said_to_be_unknown(store: Store) -> None:
    with pytest.raises(InputError, match="no model version has the id 'nope'"):
        read_version(store, "nope")
