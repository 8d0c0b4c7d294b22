"""Blind votes: ballots with their frozen texts, and one row a vote that never changes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from organism.errors import InputError
from organism.store.database import Cursor, Store
from organism.store.interactions import VARIANT

_ITEMS = pa.schema(
    [
        ("ballot_id", pa.string()),
        ("item_number", pa.int32()),
        ("interaction_id", pa.string()),
        ("user_key", pa.string()),
        ("prompt", pa.string()),
        ("text_a", pa.string()),
        ("text_b", pa.string()),
        ("final_text", pa.string()),
    ]
)
_VOTES = pa.schema(
    [
        ("vote_id", pa.string()),
        ("loop_id", pa.string()),
        ("ballot_id", pa.string()),
        ("item_number", pa.int32()),
        ("voter", pa.string()),
        ("chosen", pa.string()),
        ("shown_first", pa.string()),
        ("seconds", pa.float64()),
        ("is_synthetic", pa.bool_()),
        ("created_at", pa.timestamp("us")),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """Two versions, by name, whose texts are compared blind; open while `closed_at` is None."""

    ballot_id: str
    loop_id: str
    name: str
    version_a: str
    version_b: str
    eval_run_id: str | None
    seed: int
    created_at: datetime
    closed_at: datetime | None = None


class BallotItem(NamedTuple):
    """One prompt with what each version wrote; final_text is the expert's own, where it is known."""

    item_number: int
    interaction_id: str | None
    user_key: str | None
    prompt: str
    text_a: str
    text_b: str
    final_text: str | None


class Vote(NamedTuple):
    """One vote: `chosen` is 'a', 'b' or 'tie', `shown_first` 'a' or 'b'; seconds from the sight to the vote."""

    vote_id: str
    loop_id: str
    ballot_id: str
    item_number: int
    voter: str
    chosen: str
    shown_first: str
    seconds: float | None
    is_synthetic: bool
    created_at: datetime


_COLUMNS = ", ".join(field.name for field in fields(Ballot))


def insert_ballot(cursor: Cursor, ballot: Ballot, items: Sequence[BallotItem]) -> None:
    """Add a ballot with its items, in the writer."""
    values = [getattr(ballot, field.name) for field in fields(Ballot)]
    cursor.execute(f"INSERT INTO ballots ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})", values)
    rows = [{"ballot_id": ballot.ballot_id, **item._asdict()} for item in items]
    _insert(cursor, "ballot_items", pa.Table.from_pylist(rows, schema=_ITEMS))


def insert_votes(cursor: Cursor, votes: Sequence[Vote]) -> None:
    """Add votes, in the writer."""
    _insert(cursor, "votes", pa.Table.from_pylist([vote._asdict() for vote in votes], schema=_VOTES))


def _insert(cursor: Cursor, table: str, rows: pa.Table) -> None:
    cursor.register("incoming_rows", rows)
    cursor.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming_rows")
    cursor.unregister("incoming_rows")


def find_vote(cursor: Cursor, ballot_id: str, item_number: int, voter: str) -> Vote | None:
    """What this voter said about this item; None before."""
    columns = ", ".join(Vote._fields)
    found = cursor.execute(
        f"SELECT {columns} FROM votes WHERE ballot_id = ? AND item_number = ? AND voter = ?",
        [ballot_id, item_number, voter],
    ).fetchall()
    return Vote(*found[0]) if found else None


def find_ballot(cursor: Cursor, ballot_id: str) -> Ballot:
    """One ballot; raises InputError when there is none with this id."""
    found = cursor.execute(f"SELECT {_COLUMNS} FROM ballots WHERE ballot_id = ?", [ballot_id]).fetchall()
    if not found:
        raise InputError(f"no ballot has the id {ballot_id!r}; `organism vote list` names those there are")
    return Ballot(**dict(zip((field.name for field in fields(Ballot)), found[0], strict=True)))


def read_ballot(store: Store, ballot_id: str) -> Ballot:
    """One ballot; raises InputError when there is none with this id."""
    with store.cursor() as cursor:
        return find_ballot(cursor, ballot_id)


def read_ballots(store: Store, loop_id: str) -> pd.DataFrame:
    """The loop's ballots, newest first.

    Columns: those of Ballot, n_items, n_votes, n_voters, n_synthetic (votes by simulated people).
    """
    return store.frame(
        """
        SELECT b.*, (SELECT count(*) FROM ballot_items i WHERE i.ballot_id = b.ballot_id) AS n_items,
            count(v.vote_id) AS n_votes, count(DISTINCT v.voter) AS n_voters,
            count(v.vote_id) FILTER (v.is_synthetic) AS n_synthetic
        FROM ballots b LEFT JOIN votes v USING (ballot_id) WHERE b.loop_id = ?
        GROUP BY ALL ORDER BY b.created_at DESC, b.ballot_id DESC
        """,
        [loop_id],
    )


def read_items(store: Store, ballot_id: str) -> list[BallotItem]:
    """The items of a ballot in the order of their numbers."""
    columns = ", ".join(BallotItem._fields)
    rows = store.rows(f"SELECT {columns} FROM ballot_items WHERE ballot_id = ? ORDER BY item_number", [ballot_id])
    return [BallotItem(*row) for row in rows]


def read_votes(store: Store, ballot_id: str) -> pd.DataFrame:
    """The votes of a ballot, oldest first, with the columns of Vote."""
    columns = ", ".join(Vote._fields)
    return store.frame(f"SELECT {columns} FROM votes WHERE ballot_id = ? ORDER BY created_at, vote_id", [ballot_id])


def mark_closed(cursor: Cursor, ballot_id: str, at: datetime) -> None:
    """Close a ballot that is open, in the writer."""
    cursor.execute("UPDATE ballots SET closed_at = ? WHERE ballot_id = ? AND closed_at IS NULL", [at, ballot_id])


def read_paired_drafts(store: Store, version_a_id: str, version_b_id: str) -> pd.DataFrame:
    """What two versions wrote of the same held-out prompts, from their evaluations; empty where there are none.

    Columns: eval_run_id, interaction_id (None where unknown), user_key, prompt, text_a, text_b, final_text. The latest
    evaluation of one against the other counts; without any, the latest of each, joined by prompt and user. A judge
    wrote nothing: what its evaluation holds are texts that people chose from.
    """
    return store.frame(
        """
        WITH judged AS (
            SELECT eval_run_id, dataset_id, model_version_id AS version_id, baseline_version_id AS base_id,
                row_number() OVER (PARTITION BY model_version_id ORDER BY created_at DESC, rowid DESC) AS newness,
                (model_version_id, baseline_version_id) IN (($1, $2), ($2, $1)) AS is_duel, created_at
            FROM eval_runs WHERE model_version_id IN ($1, $2)
                AND model_version_id NOT IN (SELECT v.model_version_id FROM model_versions v WHERE v.role = 'judge')
        ), duel AS (SELECT * FROM judged WHERE is_duel ORDER BY created_at DESC, eval_run_id DESC LIMIT 1),
        written AS (
            SELECT r.eval_run_id, d.dataset_id, r.row_number, r.interaction_id, r.user_key, r.prompt, r.final_text,
                CASE WHEN d.version_id = $1 THEN r.after ELSE r.before END AS text_a,
                CASE WHEN d.version_id = $1 THEN r.before ELSE r.after END AS text_b
            FROM eval_results r JOIN duel d USING (eval_run_id)
            UNION ALL
            SELECT r.eval_run_id, b.dataset_id, r.row_number, r.interaction_id, r.user_key, r.prompt, r.final_text,
                o.after, r.after
            FROM eval_results r JOIN judged b ON r.eval_run_id = b.eval_run_id AND b.version_id = $2 AND b.newness = 1
            JOIN judged a ON a.version_id = $1 AND a.newness = 1
            JOIN eval_results o ON o.eval_run_id = a.eval_run_id AND o.prompt = r.prompt AND o.user_key = r.user_key
            WHERE NOT EXISTS (FROM duel)
        )
        SELECT w.eval_run_id, coalesce(w.interaction_id, any_value(d.interaction_id)::VARCHAR) AS interaction_id,
            w.user_key, w.prompt, w.text_a, w.text_b, w.final_text
        FROM written w LEFT JOIN dataset_rows d
            ON d.dataset_id = w.dataset_id AND d.prompt = w.prompt AND d.user_key = w.user_key
        GROUP BY w.eval_run_id, w.row_number, w.interaction_id, w.user_key, w.prompt, w.text_a, w.text_b, w.final_text
        ORDER BY w.row_number
        """,
        [version_a_id, version_b_id],
    )


def read_unlearned_prompts(store: Store, loop_id: str, dataset_ids: Sequence[str], limit: int) -> pd.DataFrame:
    """The newest prompts of users who consent that none of these sets was trained on, each once.

    Columns: interaction_id, user_key, prompt, final_text (None where nobody wrote one).
    """
    return store.frame(
        """
        SELECT i.interaction_id::VARCHAR AS interaction_id, i.user_key, i.prompt, f.final_text
        FROM interactions i LEFT JOIN (
            SELECT interaction_id, arg_max(final_text, occurred_at) AS final_text FROM feedback_events
            WHERE final_text IS NOT NULL GROUP BY interaction_id
        ) f USING (interaction_id)
        WHERE i.loop_id = $1 AND i.consent AND coalesce(i.user_key, '') <> '' AND regexp_matches(i.prompt, '\\S')
            AND i.prompt NOT IN (
                SELECT prompt FROM dataset_rows WHERE split = 'train' AND list_contains($2::VARCHAR[], dataset_id)
            )
        QUALIFY row_number() OVER (PARTITION BY i.prompt ORDER BY i.occurred_at DESC, i.interaction_id DESC) = 1
        ORDER BY i.occurred_at DESC, i.interaction_id DESC LIMIT $3
        """,
        [loop_id, list(dataset_ids), limit],
    )


def read_voted_items(store: Store, loop_id: str) -> pd.DataFrame:
    """Every ballot item that was voted on, the latest vote first.

    Columns: ballot_id, item_number, interaction_id (None where the prompt was typed), user_key, variant, region,
    consent, prompt, text_a, text_b, n_a, n_b, n_ties, vote_ids (a list, oldest first), voted_at, is_synthetic.
    """
    found = store.frame(
        f"""
        SELECT i.ballot_id, i.item_number, i.interaction_id, i.user_key, {VARIANT} AS variant, o.region,
            coalesce(o.consent, false) AS consent, i.prompt, i.text_a, i.text_b, v.n_a, v.n_b, v.n_ties, v.vote_ids,
            v.voted_at, v.is_synthetic
        FROM ballot_items i JOIN (
            SELECT ballot_id, item_number, count(*) FILTER (chosen = 'a') AS n_a,
                count(*) FILTER (chosen = 'b') AS n_b, count(*) FILTER (chosen = 'tie') AS n_ties,
                list(vote_id ORDER BY created_at, vote_id) AS vote_ids, max(created_at) AS voted_at,
                bool_or(is_synthetic) AS is_synthetic
            FROM votes WHERE loop_id = ? GROUP BY ballot_id, item_number
        ) v USING (ballot_id, item_number)
        LEFT JOIN interactions o ON o.interaction_id = try_cast(i.interaction_id AS UUID)
        ORDER BY v.voted_at DESC, i.ballot_id, i.item_number
        """,
        [loop_id],
    )
    return found.assign(vote_ids=[[str(vote) for vote in votes] for votes in found["vote_ids"]])
