"""Sources: who sends what, how much, how fresh."""

from datetime import datetime

import pandas as pd

from organism.store.database import Store

_EVENTS = """
    SELECT source, 'interactions' AS kind, occurred_at, created_at FROM interactions
    UNION ALL SELECT source, 'feedback', occurred_at, created_at FROM feedback_events
    UNION ALL SELECT source, 'outcomes', occurred_at, created_at FROM outcomes
"""


def source_summary(store: Store, now: datetime) -> pd.DataFrame:
    """One row per source and kind, the busiest source first.

    Columns: source, kind, n_rows, n_last_day (received in the 24 hours before `now`), first_at, last_at
    (times of the events), received_at (of the latest arrival), fresh_s (seconds since it), n_quarantined (waiting).
    """
    return store.frame(
        f"""
        WITH events AS (
            SELECT source, kind, count(*) AS n_rows,
                count(*) FILTER (created_at > ?::TIMESTAMP - INTERVAL 1 DAY) AS n_last_day,
                min(occurred_at) AS first_at, max(occurred_at) AS last_at, max(created_at) AS received_at
            FROM ({_EVENTS}) GROUP BY source, kind
        ), waiting AS (
            SELECT coalesce(source, '(no source)') AS source, kind, count(*) AS n_quarantined
            FROM quarantine WHERE mended_at IS NULL GROUP BY ALL
        )
        SELECT source, kind, coalesce(n_rows, 0) AS n_rows, coalesce(n_last_day, 0) AS n_last_day,
            first_at, last_at, received_at, epoch(?::TIMESTAMP - received_at) AS fresh_s,
            coalesce(n_quarantined, 0) AS n_quarantined
        FROM events FULL JOIN waiting USING (source, kind)
        ORDER BY sum(coalesce(n_rows, 0)) OVER (PARTITION BY source) DESC, source, kind
        """,
        [now, now],
    )


def count_events(store: Store) -> dict[str, int]:
    """Rows by event table."""
    tables = ("interactions", "feedback_events", "outcomes")
    counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)
    return dict(zip(tables, store.rows(f"SELECT {counts}")[0], strict=True))
