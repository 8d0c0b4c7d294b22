"""A cursor that notes what is asked of it, so that the SQL that is shown is the SQL that ran."""

from collections.abc import Sequence
from textwrap import dedent
from typing import Any

from organism.store.database import Cursor


class NotedCursor:
    """Stands before a cursor for code that only executes; `said` are the statements in their order."""

    def __init__(self, cursor: Cursor) -> None:
        """Nothing is noted of what ran before."""
        self._cursor = cursor
        self.said: list[str] = []

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Cursor:
        """Run a statement, and note it with what was bound to it."""
        self.said.append(as_text(sql, parameters))
        return self._cursor.execute(sql, parameters)


def as_text(sql: str, parameters: Sequence[Any] = ()) -> str:
    """A statement to read and to run again: what was bound stands above it as a comment."""
    bound = ", ".join(
        f"${n} = {value if isinstance(value, list) else str(value)!r}" for n, value in enumerate(parameters, 1)
    )
    return f"{'-- ' + bound + chr(10) if bound else ''}{dedent(sql).strip().rstrip(';')};"
