"""Copies while writers go on, and copies put back."""

import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from organism.config import Workspace
from organism.errors import InputError, StoreError
from organism.ingest.flow import ingest
from organism.records import EventKind
from organism.store.backup import backup, restore
from organism.store.database import Store
from organism.store.schema import open_store
from organism.store.signal_table import refresh_signals
from organism.store.sources import count_events

NOW = datetime(2026, 3, 1, 12)


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def held(place: Workspace) -> Iterator[Store]:
    store = open_store(place.database)
    yield store
    store.close()


def put(store: Store, *names: str) -> None:
    ingest(
        store, EventKind.INTERACTIONS, [{"external_id": name} for name in names], now=NOW, loop="l", source="s"
    ).result()


def test_a_copy_made_under_writes_opens_and_holds_whole_batches(held: Store, tmp_path: Path) -> None:
    put(held, "first")
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            put(held, *(f"{n}-{i}" for i in range(10)))
            n += 1

    writer = threading.Thread(target=write)
    writer.start()
    copies = [backup(held, tmp_path / f"copy{n}.duckdb") for n in range(3)]
    stop.set()
    writer.join()
    counts = []
    for copy in copies:
        store = open_store(copy)
        counts.append(count_events(store)["interactions"])
        store.close()
    assert all(count % 10 == 1 for count in counts)
    assert counts == sorted(counts)
    assert not list(tmp_path.glob("copy*.copy_*"))


def test_a_restored_workspace_is_as_it_was_and_the_other_one_is_kept(place: Workspace, tmp_path: Path) -> None:
    store = open_store(place.database)
    put(store, "a")
    backup(store, tmp_path / "copy.duckdb")
    put(store, "b")
    store.close()
    kept = restore(place, tmp_path / "copy.duckdb")
    store = open_store(place.database)
    assert count_events(store)["interactions"] == 1
    put(store, "a", "c")
    assert count_events(store)["interactions"] == 2
    refresh_signals(store)
    assert store.rows("SELECT count(*) FROM signals") == [(2,)]
    store.close()
    assert kept is not None
    old = open_store(kept)
    assert count_events(old)["interactions"] == 2
    old.close()


def test_a_copy_can_start_a_new_workspace(held: Store, tmp_path: Path) -> None:
    put(held, "a")
    copy = backup(held, tmp_path / "copy.duckdb")
    assert restore(Workspace(tmp_path / "new"), copy) is None
    store = open_store(tmp_path / "new" / "organism.duckdb")
    assert count_events(store)["interactions"] == 1
    store.close()


def test_a_workspace_in_use_is_not_replaced(held: Store, place: Workspace, tmp_path: Path) -> None:
    copy = backup(held, tmp_path / "copy.duckdb")
    with pytest.raises(StoreError, match="is in use; stop the app"):
        restore(place, copy)
    put(held, "a")
    assert count_events(held)["interactions"] == 1


def test_a_broken_database_can_be_replaced(held: Store, tmp_path: Path) -> None:
    copy = backup(held, tmp_path / "copy.duckdb")
    broken = Workspace(tmp_path / "broken")
    broken.path.mkdir()
    broken.database.write_bytes(b"rubbish" * 1000)
    assert restore(broken, copy) is not None
    open_store(broken.database).close()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none", None, "there is no file"),
        ("rubbish", b"x" * 9000, "is not a whole backup"),
        ("empty", b"", "is not a whole backup"),
    ],
)
def test_a_file_that_is_no_backup_changes_nothing(
    place: Workspace, tmp_path: Path, name: str, content: bytes | None, sentence: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        restore(place, tmp_path / name)
    assert not place.path.exists()


def test_half_a_backup_is_refused(held: Store, place: Workspace, tmp_path: Path) -> None:
    copy = backup(held, tmp_path / "copy.duckdb")
    half = tmp_path / "half.duckdb"
    half.write_bytes(copy.read_bytes()[: copy.stat().st_size // 2])
    with pytest.raises(InputError, match="is not a whole backup"):
        restore(Workspace(tmp_path / "other"), half)


def test_a_copy_needs_a_place_of_its_own(held: Store, place: Workspace, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is the database itself"):
        backup(held, place.database)
    with pytest.raises(InputError, match="is not a place for a file"):
        backup(held, tmp_path / "nowhere" / "copy")
    with pytest.raises(InputError, match="is not a place for a file"):
        backup(held, tmp_path)
