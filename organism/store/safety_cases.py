"""Safety cases of a loop: prompts whose answers must keep saying what they must, whatever is trained."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from organism.errors import InputError
from organism.store.database import Cursor, Store


def insert_safety_cases(cursor: Cursor, loop_id: str, cases: Sequence[Mapping[str, Any]], now: datetime) -> None:
    """Add cases (case_id, name, prompt, must_say, must_not_say, is_synthetic), inside the writer's transaction."""
    for case in cases:
        cursor.execute(
            "INSERT INTO safety_cases (case_id, loop_id, name, prompt, must_say, must_not_say, is_synthetic, "
            "created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                case["case_id"],
                loop_id,
                case["name"],
                case["prompt"],
                json.dumps(case["must_say"]),
                json.dumps(case["must_not_say"]),
                case["is_synthetic"],
                now,
            ],
        )


def remove_safety_case(store: Store, loop_id: str, case_id: str, now: datetime) -> None:
    """Take a case out of use from now on; it stays on record. Raises InputError when there is none in use."""

    def work(cursor: Cursor) -> None:
        found = cursor.execute(
            "UPDATE safety_cases SET removed_at = ? "
            "WHERE loop_id = ? AND case_id = ? AND removed_at IS NULL RETURNING 1",
            [now, loop_id, case_id],
        ).fetchall()
        if not found:
            raise InputError(f"no safety case {case_id!r} is in use in this loop; list the cases for their ids")

    store.write(work, "safety_cases")


def read_safety_cases(store: Store, loop_id: str) -> pd.DataFrame:
    """The cases in use, in the order of their names: case_id, name, prompt, must_say (a list of lists of wordings),
    must_not_say (a list of words), is_synthetic, created_at.
    """
    found = store.frame(
        """
        SELECT case_id, name, prompt, must_say::VARCHAR AS must_say, must_not_say::VARCHAR AS must_not_say,
            is_synthetic, created_at
        FROM safety_cases WHERE loop_id = ? AND removed_at IS NULL ORDER BY name, case_id
        """,
        [loop_id],
    )
    for column in ("must_say", "must_not_say"):
        found[column] = pd.Series([json.loads(words) for words in found[column]], found.index, dtype=object)
    return found
