"""Freezing a training set at 300,000 drafts: `python -m bench.training_sets [--drafts N]`.

Six figures, each beside its limit: a set of every kind, by experts' word and by reward, of 400 rows to train on and 300
to judge by, chosen from all drafts of 3,000 users (two drafts a prompt of some 800 characters, all answered).
"""

import argparse
import sys
import tempfile
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

from organism.digest.training_set_flow import freeze
from organism.digest.training_settings import Basis, SetSettings
from organism.records import DatasetKind, RewardDesign, SignalSpec
from organism.store.database import Cursor, Store
from organism.store.loops import ensure_loop
from organism.store.schema import open_store
from organism.store.signal_table import refresh_signals

NOW = datetime(2026, 1, 1)
LIMIT_S = 10.0
DESIGN = RewardDesign(name="bench", signals=(SignalSpec("latency_ms", 1, 1000, 100),))


def main() -> int:
    """Print each time beside its limit. Returns 1 when one is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drafts", type=int, default=300_000)
    n_drafts = parser.parse_args().drafts
    with tempfile.TemporaryDirectory() as folder, closing(open_store(Path(folder) / "organism.duckdb")) as store:
        loop_id = ensure_loop(store, "bench", NOW)
        fill(store, loop_id, n_drafts)
        refresh_signals(store)
        times = {(kind, basis): seconds(store, loop_id, kind, basis) for kind in DatasetKind for basis in Basis}
    for (kind, basis), taken in times.items():
        name = f"{kind} by {basis}, {n_drafts:,} drafts, s"
        print(f"{name:<42} {taken:9.1f}   limit {LIMIT_S:6.0f}   {taken / LIMIT_S:5.2f} of it")
    return 0 if all(taken < LIMIT_S for taken in times.values()) else 1


def seconds(store: Store, loop_id: str, kind: DatasetKind, basis: Basis) -> float:
    """How long one set takes from the question to the frozen rows."""
    began = time.perf_counter()
    freeze(store, loop_id, SetSettings(kind=kind, basis=basis), design=DESIGN, now=NOW)
    return time.perf_counter() - began


def fill(store: Store, loop_id: str, n_drafts: int) -> None:
    """Drafts and answers made in SQL; one in twenty without consent, one in ten rejected."""

    def work(cursor: Cursor) -> None:
        cursor.execute(
            """
            INSERT INTO interactions BY NAME
            SELECT uuid() AS interaction_id, ? AS loop_id, 'user-' || i % 3000 AS user_key, 'v' || i % 3 AS variant_id,
                TIMESTAMP '2026-01-01' + to_seconds(i) AS occurred_at, TIMESTAMP '2026-01-01' AS created_at,
                (
                    SELECT string_agg('word' || (hash(i // 2 * 90 + j) % 5000)::VARCHAR, ' ') FROM range(90) t(j)
                ) AS prompt,
                'Draft ' || i || repeat(' some words of a note', 28) AS output, 100 + hash(i) % 900 AS latency_ms,
                i % 20 <> 0 AS consent, true AS is_synthetic, 'bench' AS source, i::VARCHAR AS external_id
            FROM range(?) t(i)
            """,
            [loop_id, n_drafts],
        )
        cursor.execute("""
            INSERT INTO feedback_events BY NAME
            SELECT uuid() AS feedback_id, interaction_id, if(latency_ms < 190, 'reject', 'edit') AS kind,
                CASE WHEN latency_ms >= 190 THEN replace(output, 'some', 'other') END AS final_text,
                occurred_at + INTERVAL 5 MINUTE AS occurred_at, created_at, source, 'a' || external_id AS external_id
            FROM interactions
        """)

    store.write(work, "interactions", "feedback_events")


if __name__ == "__main__":
    sys.exit(main())
