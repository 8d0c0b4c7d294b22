"""The store: one owner, one writer, durable groups, and versions that move."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pytest

from organism.errors import StoreError
from organism.store.database import Cursor, Store, leave_card
from organism.store.schema import STEPS, migrate, open_store


def insert_loop(name: str) -> Any:
    def work(cursor: Cursor) -> str:
        cursor.execute("INSERT INTO loops (loop_id, name, created_at) VALUES (?, ?, now()::TIMESTAMP)", [name, name])
        return name

    return work


def insert_many(cursor: Cursor, payloads: list[str]) -> list[tuple[str, int]]:
    for name in payloads:
        insert_loop(name)(cursor)
    return [(name, len(payloads)) for name in payloads]


def held_writer(store: Store) -> Any:
    """Hold the writer until the returned function is called, so that what follows waits as one group."""
    from threading import Event

    go, started = Event(), Event()

    def wait(_cursor: Cursor) -> None:
        started.set()
        go.wait(10)

    store.submit(wait)
    started.wait(10)
    return go.set


def test_a_poisoned_write_hurts_nobody_else_in_its_group(store: Store) -> None:
    release = held_writer(store)
    good = [store.submit(insert_loop(f"good {n}"), "loops") for n in range(3)]
    bad = store.submit(insert_loop("good 0"), "loops")
    also_good = store.submit(insert_loop("last"), "loops")
    release()
    assert [future.result() for future in [*good, also_good]] == ["good 0", "good 1", "good 2", "last"]
    with pytest.raises(duckdb.ConstraintException):
        bad.result()
    assert store.rows("SELECT count(*) FROM loops") == [(4,)]


def test_payloads_that_wait_together_are_written_by_one_call(store: Store) -> None:
    release = held_writer(store)
    done = [store.submit_shared(insert_many, f"loop {n}", "loops") for n in range(4)]
    release()
    assert [future.result() for future in done] == [(f"loop {n}", 4) for n in range(4)]


def test_a_poisoned_payload_is_tried_alone_so_that_the_others_go_in(store: Store) -> None:
    release = held_writer(store)
    done = [store.submit_shared(insert_many, name, "loops") for name in ("a", "b", "a", "c")]
    release()
    assert [done[n].result() for n in (0, 1, 3)] == [("a", 1), ("b", 1), ("c", 1)]
    assert isinstance(done[2].exception(), duckdb.ConstraintException)


def test_a_waiting_write_cannot_be_canceled_by_a_client_that_hangs_up(store: Store) -> None:
    release = held_writer(store)
    waiting = store.submit(insert_loop("a"), "loops")
    assert not waiting.cancel()
    release()
    assert waiting.result() == "a"


def test_reads_from_many_threads_never_share_a_cursor(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: store.rows("SELECT ?::INTEGER", [n])[0][0], range(400)))
    assert answers == list(range(400))


def test_versions_move_with_their_table_and_outlive_the_process(tmp_path: Path) -> None:
    store = open_store(tmp_path / "organism.duckdb")
    store.write(insert_loop("a"), "loops")
    store.write(insert_loop("b"), "loops")
    assert (store.version("loops"), store.version("outcomes"), store.version("loops", "outcomes")) == (2, 0, 2)
    store.close()
    store = open_store(tmp_path / "organism.duckdb")
    assert store.version("loops") == 2
    store.close()


def test_a_write_after_the_close_is_refused_and_closing_twice_is_fine(tmp_path: Path) -> None:
    store = open_store(tmp_path / "organism.duckdb")
    store.close()
    store.close()
    with pytest.raises(StoreError, match="the store is closed"):
        store.submit(insert_loop("a"))


def test_a_second_process_is_told_who_holds_the_workspace_and_where(store: Store) -> None:
    leave_card(store.path.parent, "http://127.0.0.1:8501")
    code = (
        "import sys; from pathlib import Path; from organism.store.schema import open_store\n"
        "try: open_store(Path(sys.argv[1]))\nexcept Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(store.path)], capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith("StoreError")
    assert "is already open in process" in said
    assert "http://127.0.0.1:8501" in said
    assert said.count("\n") == 1


def test_migrations_run_once_and_a_newer_workspace_is_refused(store: Store) -> None:
    assert migrate(store) == []
    assert store.rows("SELECT count(*) FROM schema_steps") == [(len(STEPS),)]
    store.execute("INSERT INTO schema_steps VALUES ('m999_tomorrow', now()::TIMESTAMP)", [])
    with pytest.raises(StoreError, match="written by a newer Organism"):
        migrate(store)


def test_a_file_that_is_no_database_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "organism.duckdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="is not a database of Organism, or is broken"):
        open_store(tmp_path / "organism.duckdb")


FULL_DISK = """
import os, resource, signal, sys
from pathlib import Path
from organism.errors import StoreError
from organism.store import database
from organism.store.schema import open_store

def write(store, n):
    store.write(lambda c: c.execute("INSERT INTO loops VALUES (?, ?, ?, '', now()::TIMESTAMP)",
        [f"{n}", f"{n}", os.urandom(100_000).hex()]), "loops")

database.CONFIG["checkpoint_threshold"] = sys.argv[2]
store = open_store(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, hard))
acknowledged = 0
for n in range(200):
    try:
        write(store, n)
        acknowledged += 1
    except StoreError as error:
        print(str(error)[:17])
        break
print(acknowledged > 3, store.rows("SELECT count(*) FROM loops") == [(acknowledged,)])
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
try:
    write(store, "after")
except StoreError:
    write(store, "after")
print(store.rows("SELECT count(*) FROM loops") == [(acknowledged + 1,)])
store.close()
store = open_store(Path(sys.argv[1]))
print(store.rows("SELECT count(*) FROM loops") == [(acknowledged + 1,)])
store.close()
"""


@pytest.mark.parametrize("checkpoint_threshold", ["512MB", "1MB"])
def test_a_full_disk_is_one_sentence_and_the_store_goes_on_when_there_is_room(
    tmp_path: Path, checkpoint_threshold: str
) -> None:
    """A limit on the size of files stands in for the full disk: writing the log, or checkpointing it, fails alike."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "organism.duckdb"), checkpoint_threshold],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split("\n")[:-1] == ["the disk is full:", "True True", "True", "True"], done.stderr[-2000:]
