"""Signals and the reward algebra at scale: `python -m bench.signals [--interactions N] [--feedback N]`.

Three figures, each beside its limit. How fast a million new answers become signals, against the rate at which this
process takes the same answers in (posts of a thousand, durable, checked, acceptance measured). What another anchor
costs at ten million interactions, against DuckDB alone summing the same columns by the same users. What one move
of a weight costs, at ten million interactions and at a hundred thousand. Rows are made in SQL; two users in three
answer, every user meets both versions.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil

from organism.digest.designs import DEFAULT_DESIGN
from organism.digest.flow import reward_moments
from organism.digest.rewards import RewardMoments, reward_difference, rewards_by_variant
from organism.digest.weight_space import nearest_flip
from organism.ingest.flow import ingest
from organism.records import EventKind, RewardDesign
from organism.store.database import Store
from organism.store.loops import ensure_loop
from organism.store.schema import open_store
from organism.store.signal_table import refresh_signals
from organism.store.signals import read_utility_sums

START = datetime(2026, 1, 1)
POST = 1000
IN_FLIGHT = 8
SCAN_LIMIT = 2.0
MOVE_LIMIT_MS = 5.0
FLAT_LIMIT = 2.0
AT = "TIMESTAMP '2026-01-01' + to_milliseconds(n * 50)"
ID = "(lpad(to_hex(n // 1000), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::UUID"


class Timing(NamedTuple):
    """The best and the middle of several runs, and the middle of their CPU time, in seconds."""

    best: float
    middle: float
    cpu: float


def timed(work: Callable[[], object], repeats: int = 5) -> Timing:
    """Run it several times."""
    runs = []
    for _ in range(repeats):
        began, cpu = time.perf_counter(), time.process_time()
        work()
        runs.append((time.perf_counter() - began, time.process_time() - cpu))
    seconds = [run[0] for run in runs]
    return Timing(min(seconds), median(seconds), median(run[1] for run in runs))


def fill(store: Store, n: int, n_users: int, *, answered: bool) -> str:
    """n interactions by two versions and, when asked, answers to two in three of them; returns the loop's id."""
    loop_id = ensure_loop(store, "bench", START)
    store.execute(
        f"""
        INSERT INTO interactions BY NAME SELECT {ID} AS interaction_id, '{loop_id}' AS loop_id,
            'user ' || hash(n) % {n_users} AS user_key, ['base', 'scribe-1'][1 + (hash(n + 1) % 2)::INT] AS variant_id,
            {AT} AS occurred_at, {AT} AS created_at, 'prompt' AS prompt, repeat('note ', 20) AS output,
            (40 + hash(n + 2) % 60)::INT AS output_tokens, (200 + hash(n + 3) % 1800)::DOUBLE AS latency_ms,
            0.0001 + (hash(n + 4) % 300) / 1e6 AS cost_usd, true AS consent, ['north', 'south'][1 + (n % 2)] AS region,
            true AS is_synthetic, 'bench' AS source, n::VARCHAR AS external_id
        FROM range({n}) rows(n)
        """,
        [],
        "interactions",
    )
    if answered:
        store.execute(
            f"""
            INSERT INTO feedback_events BY NAME SELECT {ID} AS interaction_id,
                {ID.replace("0000-7000", "0001-7000")} AS feedback_id,
                ['accept', 'edit', 'reject'][1 + (n % 3)] AS kind,
                100 AS draft_chars, (hash(n + 5) % 101)::INT AS retained_chars,
                CASE WHEN n % 3 < 2 THEN 120 END AS final_chars, 'human' AS actor_kind, {AT} AS occurred_at,
                {AT} AS created_at, 'bench' AS source, n::VARCHAR AS external_id
            FROM range({n}) rows(n) WHERE hash(n + 6) % 3 < 2
            """,
            [],
            "feedback_events",
        )
    return loop_id


def answers(store: Store, n: int) -> list[list[dict[str, object]]]:
    """An answer to each interaction, in posts."""
    ids = [str(row[0]) for row in store.rows("SELECT interaction_id FROM interactions ORDER BY rowid LIMIT ?", [n])]
    final = "note " * 12 + "as it was meant"
    rows = [
        {
            "source": "bench",
            "external_id": f"answer {number}",
            "interaction_id": identity,
            "occurred_at": START,
            "kind": ("accept", "edit", "reject")[number % 3],
            **({"final_text": final} if number % 3 == 1 else {}),
        }
        for number, identity in enumerate(ids)
    ]
    return [rows[first : first + POST] for first in range(0, len(rows), POST)]


def take_in(store: Store, posts: list[list[dict[str, object]]]) -> float:
    """Seconds until every post is durable, a few under way at a time."""
    began = time.perf_counter()
    waiting = []
    for post in posts:
        waiting.append(ingest(store, EventKind.FEEDBACK, post, now=START, loop="bench"))
        if len(waiting) >= IN_FLIGHT:
            accept(waiting.pop(0).result().accepted, POST)
    for done in waiting:
        done.result()
    return time.perf_counter() - began


def accept(found: int, wanted: int) -> None:
    """A benchmark of rows that were refused would be worth nothing."""
    if found != wanted:
        raise SystemExit(f"{found} of {wanted} answers were accepted")


def measure_refresh(folder: Path, n: int) -> bool:
    """New answers become signals; prints the figures, returns whether this keeps up with taking them in."""
    store = open_store(folder / "refresh" / "organism.duckdb")
    fill(store, n, n // 20, answered=False)
    refresh_signals(store)
    posts = answers(store, n)
    ingest_s = take_in(store, posts)
    refresh_s = timed(lambda: refresh_signals(store), repeats=1).best
    idle = timed(lambda: refresh_signals(store)).best
    accept(store.rows("SELECT count(accepted) FROM signals")[0][0], n)
    store.close()
    met = n / refresh_s >= n / ingest_s
    print(f"{n:,} new answers: {n / refresh_s:,.0f} a second become signals ({refresh_s:.1f} s)")
    print(f"  taken in by this process in posts of {POST:,}: {n / ingest_s:,.0f} a second", end="; ")
    print(f"ratio {ingest_s / refresh_s:.1f}")
    print(f"  wanted at least the rate at which they come: {said(met)}; with nothing new it takes {idle * 1e6:.0f} µs")
    return met


def measure_anchor(store: Store, loop_id: str, n: int) -> bool:
    """Another anchor is one scan; prints it beside DuckDB alone, returns whether it is within the limit."""
    specs = sorted(DEFAULT_DESIGN.signals)
    sums = ", ".join(f"sum({spec.signal})" for spec in specs)
    alone = f"SELECT variant_id, user_key, {sums}, count(*) FROM signals WHERE loop_id = ? GROUP BY ALL"
    rng = random.Random(0)

    def moved() -> None:
        read_utility_sums(store, loop_id, [spec._replace(worst=spec.worst * (1 + rng.random())) for spec in specs])

    def peer() -> None:
        store.frame(alone, [loop_id])

    peer()
    rounds = [(timed(moved, 1), timed(peer, 1)) for _ in range(7)]
    ours, theirs = (sorted(round_[side] for round_ in rounds) for side in (0, 1))
    cpu = median(round_[0].cpu for round_ in rounds) / median(round_[1].cpu for round_ in rounds)
    plain = timed(lambda: store.rows(f"SELECT {sums}, count(*) FROM signals WHERE loop_id = ?", [loop_id]))
    whole = timed(lambda: reward_moments(store, loop_id, specs), 3)
    ratio = ours[0].best / theirs[0].best
    print(
        f"another anchor at {n:,} interactions: {ours[0].best:.2f} s at best of 7, {ours[3].best:.2f} s at the median"
    )
    print(f"  DuckDB alone, same columns, same users, in turns: {theirs[0].best:.2f} s, {theirs[3].best:.2f} s")
    print(f"  ratio at best {ratio:.2f}, of CPU time {cpu:.2f}", end="; ")
    print(f"wanted at most {SCAN_LIMIT:.0f}: {said(ratio <= SCAN_LIMIT)}")
    print(f"  with the moments over users {whole.best:.2f} s; the sums without users {plain.best:.3f} s")
    return ratio <= SCAN_LIMIT


def measure_move(users: RewardMoments) -> Timing:
    """Mean rewards, their difference and the nearest flip under random weights."""
    rng = random.Random(1)

    def move() -> None:
        signals = tuple(spec._replace(weight=rng.random()) for spec in DEFAULT_DESIGN.signals)
        design = RewardDesign(name="draft", signals=signals)
        rewards_by_variant(users, design)
        reward_difference(users, design, control="base", treatment="scribe-1")
        nearest_flip(users, design)

    move()
    return timed(move, repeats=200)


def measure_large(folder: Path, n: int) -> bool:
    """The scan and the weights at n interactions, and the weights at a hundredth of it."""
    store, _, users = filled(folder, n // 100)
    small = measure_move(users)
    store.close()
    store, loop_id, users = filled(folder, n)
    large = measure_move(users)
    met = measure_anchor(store, loop_id, n)
    posts = answers(store, POST)
    take_in(store, posts)
    late = timed(lambda: refresh_signals(store), repeats=1).best
    print(f"{POST:,} late answers at {n:,} interactions become signals in {late * 1000:.0f} ms")
    store.close()
    quick = large.middle * 1000 < MOVE_LIMIT_MS and large.middle < FLAT_LIMIT * small.middle
    print(f"one move of a weight: {large.middle * 1e3:.2f} ms at {n:,} interactions", end=", ")
    print(f"{small.middle * 1e3:.2f} ms at {n // 100:,}")
    print(f"  wanted under {MOVE_LIMIT_MS:.0f} ms, and the same at any size: {said(quick)}")
    return met and quick


def filled(folder: Path, n: int) -> tuple[Store, str, RewardMoments]:
    """A workspace of n interactions with their signals, its loop, and the moments of the default design."""
    store = open_store(folder / f"size{n}" / "organism.duckdb")
    loop_id = fill(store, n, max(1, n // 100), answered=True)
    first = timed(lambda: refresh_signals(store), repeats=1).best
    print(f"{n:,} interactions get their signals from nothing in {first:.1f} s")
    return store, loop_id, reward_moments(store, loop_id, DEFAULT_DESIGN.signals)


def said(met: bool) -> str:
    """A word for the reader."""
    return "met" if met else "MISSED"


def main() -> int:
    """Print the figures; returns 1 when a limit was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interactions", type=int, default=10_000_000)
    parser.add_argument("--feedback", type=int, default=1_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        met = [measure_refresh(Path(folder), asked.feedback), measure_large(Path(folder), asked.interactions)]
    print(f"({psutil.cpu_count()} cores, load of the machine {psutil.getloadavg()[0]:.1f})")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
