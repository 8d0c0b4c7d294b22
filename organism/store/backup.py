"""A copy of the database while it is in use, and a copy put in its place when nobody holds it."""

import os
import secrets
import shutil
from datetime import datetime
from pathlib import Path

import duckdb

from organism.config import Workspace, utcnow
from organism.errors import InputError, StoreError
from organism.store.database import Store
from organism.store.schema import STEPS


def backup(store: Store, file: Path) -> Path:
    """Write a consistent copy of the open database to `file`, replacing an older copy; returns where it is.

    Writers go on meanwhile. Raises InputError when the place cannot be written.
    """
    file = file.resolve()
    if file == store.path.resolve():
        raise InputError(f"{file} is the database itself; give the copy another name.")
    if file.is_dir() or not file.parent.is_dir():
        raise InputError(f"{file} is not a place for a file; give a file name in a folder that exists.")
    alias = f"copy_{secrets.token_hex(4)}"
    unfinished = file.with_name(f"{file.name}.{alias}")
    try:
        _copy_into(store, unfinished, alias)
        os.replace(unfinished, file)
    except (duckdb.Error, OSError) as error:
        unfinished.unlink(missing_ok=True)
        raise InputError(
            f"{file} could not be written: {str(error).splitlines()[0]}. Check the folder's rights and free space."
        ) from error
    return file


def restore(workspace: Workspace, file: Path) -> Path | None:
    """Put a backup in place of the workspace's database; returns where the old one is kept, None if there was none.

    Raises InputError when the file is no backup, StoreError when a process holds the workspace. Until
    the copy is complete and readable nothing is moved.
    """
    _check(file)
    database = workspace.database
    _check_free(database)
    database.parent.mkdir(parents=True, exist_ok=True)
    incoming = database.with_name(f"{database.name}.restoring")
    shutil.copyfile(file, incoming)
    kept = _set_aside(database, utcnow())
    os.replace(incoming, database)
    return kept


def _copy_into(store: Store, file: Path, alias: str) -> None:
    quoted = str(file).replace("'", "''")
    with store.cursor() as cursor:
        own = cursor.execute("SELECT current_database()").fetchall()[0][0]
        cursor.execute(f"ATTACH '{quoted}' AS {alias}")
        try:
            cursor.execute(f'COPY FROM DATABASE "{own}" TO {alias}')
        finally:
            cursor.execute(f"DETACH {alias}")


def _check(file: Path) -> None:
    """Refuse a file that is missing, broken, foreign, or of a newer Organism."""
    if not file.is_file():
        raise InputError(f"there is no file {file}; give a file that `organism backup` wrote.")
    try:
        with duckdb.connect(str(file), read_only=True) as connection:
            steps = {name for (name,) in connection.execute("SELECT name FROM schema_steps").fetchall()}
    except duckdb.Error as error:
        raise InputError(
            f"{file} is not a whole backup ({str(error).splitlines()[0][:120]}); give a file that `organism backup` "
            "wrote. Nothing was changed."
        ) from error
    if newer := sorted(steps - {step.__name__ for step in STEPS}):
        raise StoreError(f"{file} was written by a newer Organism (it has {newer[-1]}); update Organism first.")


def _check_free(database: Path) -> None:
    """Refuse while any process, this one included, holds the database; a broken one may be replaced."""
    if not database.exists():
        return
    try:
        duckdb.connect(str(database)).close()
    except (duckdb.IOException, duckdb.ConnectionException) as error:
        said = str(error)
        if "lock" in said or "different configuration" in said:
            raise StoreError(f"{database.parent} is in use; stop the app that has it open, then restore.") from error
    except duckdb.Error:
        return


def _set_aside(database: Path, now: datetime) -> Path | None:
    """Rename the database, and a log that belongs to it, out of the way."""
    wal = database.with_name(database.name + ".wal")
    kept = database.with_name(f"{database.stem}-replaced-{now:%Y%m%d-%H%M%S-%f}{database.suffix}")
    if wal.exists():
        wal.rename(kept.with_name(kept.name + ".wal"))
    if not database.exists():
        return None
    database.rename(kept)
    return kept
