"""One DuckDB file, one owner process, one writer thread, a fresh cursor for every read."""

import contextlib
import json
import os
import queue
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pandas as pd

from organism.errors import StoreError

Cursor = duckdb.DuckDBPyConnection
DatabaseError = duckdb.Error
Work = Callable[[Cursor], Any]
GroupWork = Callable[[Cursor, list[Any]], list[Any]]

MAX_GROUP = 512
CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "checkpoint_threshold": "512MB",
    "preserve_insertion_order": "true",
}


class _Job(NamedTuple):
    work: GroupWork
    payload: Any
    tables: tuple[str, ...]
    done: Future[Any]


class Store:
    """A handle to the database. Pass it first; never reach for it through a global.

    Reads take a cursor of their own. Writes go through one thread that puts everything that waits
    into one transaction and resolves the futures after the commit, so that an acknowledged write is
    on disk. This process must never open() the file by itself: closing that handle would drop
    DuckDB's lock on it.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the file; raises StoreError when another process holds it or it is too new."""
        self.path = path
        self._connection = _connect(path)
        self._versions: dict[str, int] = {}
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._writer = threading.Thread(target=self._drain, name="store-writer", daemon=True)
        self._writer.start()

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """A cursor of the calling thread's own, closed at the end of the block."""
        try:
            with self._connection.cursor() as cursor:
                yield cursor
        except (duckdb.FatalException, duckdb.ConnectionException) as error:
            raise StoreError(
                f"the database cannot be read now: {_first_line(error)}. Try again in a moment."
            ) from error

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a read, as tuples."""
        with self.cursor() as cursor:
            return cursor.execute(sql, params).fetchall()

    def frame(self, sql: str, params: Sequence[Any] = ()) -> pd.DataFrame:
        """All rows of a read, as a table with the query's columns even when it is empty."""
        with self.cursor() as cursor:
            return cursor.execute(sql, params).df()

    def submit(self, work: Work, *tables: str) -> Future[Any]:
        """Queue `work(cursor)` for the writer; the future resolves once its transaction is durable.

        `tables` are those whose version moves. Work must be repeatable: when a group fails, each
        job is tried again alone, so that one poisoned write hurts nobody else.
        """
        return self._enqueue(lambda cursor, _: [work(cursor)], None, tables)

    def submit_shared(self, work: GroupWork, payload: Any, *tables: str) -> Future[Any]:
        """Queue a payload for `work(cursor, payloads)`, which is called once for all that wait with it.

        It returns one result a payload, in order. A group's shared payloads run where the first of
        them stood in the queue, so only a write that was waited for is sure to come before the next.
        """
        return self._enqueue(work, payload, tables)

    def write(self, work: Work, *tables: str) -> Any:
        """Run `work(cursor)` in the writer and wait until it is durable; returns what it returned."""
        return self.submit(work, *tables).result()

    def execute(self, sql: str, params: Sequence[Any], *tables: str) -> None:
        """One durable statement."""
        self.write(lambda cursor: cursor.execute(sql, params), *tables)

    def version(self, *tables: str) -> int:
        """How often these tables have changed since the workspace was made: the key of every cache."""
        return sum(self._versions.get(table, 0) for table in tables)

    def load_versions(self) -> None:
        """Take the persisted table versions up; called once, after the migrations."""
        self._versions = dict(self.rows("SELECT table_name, version FROM table_versions"))

    def close(self) -> None:
        """Finish what waits, checkpoint, release the file. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        self._writer.join()
        self._connection.close()

    def _enqueue(self, work: GroupWork, payload: Any, tables: tuple[str, ...]) -> Future[Any]:
        if self._closed:
            raise StoreError("the store is closed; open the workspace again before writing")
        done: Future[Any] = Future()
        done.set_running_or_notify_cancel()  # a client that hangs up cannot cancel what others wait for
        self._jobs.put(_Job(work, payload, tables, done))
        return done

    def _drain(self) -> None:
        last = False
        while not last and (job := self._jobs.get()) is not None:
            group = [job]
            while len(group) < MAX_GROUP and not self._jobs.empty():
                following = self._jobs.get()
                if following is None:
                    last = True
                    break
                group.append(following)
            self._commit(group)

    def _commit(self, group: list[_Job]) -> None:
        try:
            with self._connection.cursor() as cursor:
                results = self._attempt(cursor, group)
        except Exception as error:
            if isinstance(error, duckdb.FatalException | duckdb.ConnectionException):
                self._reopen()
            if len(group) == 1:
                group[0].done.set_exception(_explained(error))
                return
            for job in group:
                self._commit([job])
            return
        for job, result in zip(group, results, strict=True):
            job.done.set_result(result)

    def _reopen(self) -> None:
        """Open the file anew after an error from which DuckDB does not go on, such as a checkpoint on a full disk.

        What was acknowledged is in the log. When this fails too, the next write tries it again.
        """
        with contextlib.suppress(duckdb.Error, StoreError):
            self._connection.close()
            self._connection = _connect(self.path)

    def _attempt(self, cursor: Cursor, group: list[_Job]) -> list[Any]:
        moved = {table: self._versions.get(table, 0) + 1 for job in group for table in job.tables}
        cursor.begin()
        try:
            results = _run_together(cursor, group)
            for table, version in moved.items():
                _keep_version(cursor, table, version)
            cursor.commit()
        except BaseException:
            with contextlib.suppress(duckdb.Error):
                cursor.rollback()
            raise
        self._versions.update(moved)
        return results


def _keep_version(cursor: Cursor, table: str, version: int) -> None:
    """One row a table. A plain UPDATE takes a quarter of the time of an upsert, and every commit pays it."""
    if version == 1:
        cursor.execute("INSERT INTO table_versions VALUES (?, 1)", [table])
    else:
        cursor.execute("UPDATE table_versions SET version = ? WHERE table_name = ?", [version, table])


def _run_together(cursor: Cursor, group: list[_Job]) -> list[Any]:
    members: dict[GroupWork, list[int]] = {}
    for position, job in enumerate(group):
        members.setdefault(job.work, []).append(position)
    results: list[Any] = [None] * len(group)
    for work, positions in members.items():
        answers = work(cursor, [group[position].payload for position in positions])
        for position, answer in zip(positions, answers, strict=True):
            results[position] = answer
    return results


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return duckdb.connect(str(path), config=CONFIG)
    except duckdb.IOException as error:
        raise StoreError(_connect_message(path, str(error))) from error
    except duckdb.Error as error:
        raise StoreError(
            f"{path} could not be opened: {_first_line(error)}. Nothing was changed: restore a backup "
            f"with `organism restore FILE`, or move the file and its .wal aside together."
        ) from error


def _connect_message(path: Path, found: str) -> str:
    if holder := re.search(r"PID (\d+)", found):
        return (
            f"{path.parent} is already open in process {holder[1]}{_address(path.parent)}; one process owns a "
            "workspace. Use that one, stop it, or choose another folder with --workspace."
        )
    if "not a valid DuckDB" in found:
        return (
            f"{path} is not a database of Organism, or is broken; nothing was changed. Move it aside and restore a "
            "backup with `organism restore FILE`, or choose another folder with --workspace."
        )
    return f"{path} could not be opened: {_first_line(found)}. Check the folder's rights and free space."


def _address(folder: Path) -> str:
    """Where the running owner said it listens, if it left its card."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        return f" ({json.loads((folder / 'owner.json').read_text())['url']})"
    return ""


def leave_card(folder: Path, url: str) -> None:
    """Write where this process listens, so that a second one can name it."""
    (folder / "owner.json").write_text(json.dumps({"pid": os.getpid(), "url": url}))


def _explained(error: Exception) -> Exception:
    text = _first_line(error)
    if isinstance(error, duckdb.Error) and re.search(r"No space left|disk (is )?full|Could not write", text):
        return StoreError(
            f"the disk is full: {text}. Nothing of this write was kept; free some space and send it again."
        )
    return error


def _first_line(error: object) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
