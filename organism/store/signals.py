"""Signals: one row of measures an interaction, and their sums by user."""

from collections.abc import Sequence

import pandas as pd

from organism.records import SignalSpec
from organism.store.database import Store

SIGNALS = (
    "accepted",
    "cost_usd",
    "error",
    "latency_ms",
    "output_tokens",
    "rating",
    "retained_char_rate",
    "ttft_ms",
    "written_share",
)
USER = "coalesce(user_key, interaction_id::VARCHAR)"


def read_utility_sums(store: Store, loop_id: str, signals: Sequence[SignalSpec]) -> pd.DataFrame:
    """One scan: per variant and user the summed utility of each signal, in the order given.

    Columns: variant, user_key, u0, u1, …, n_rows. An interaction counts only when each signal is there or the
    spec states what a missing one means. Without a user the interaction stands for itself.
    """
    names = [f"u{i}" for i in range(len(signals))]
    utilities = [f"{_utility(spec)} AS {name}" for spec, name in zip(signals, names, strict=True)]
    params = [value for spec in signals for value in (spec.missing, spec.worst, spec.best - spec.worst)]
    return store.frame(
        f"""
        SELECT variant, user_key, {", ".join(f"sum({name}) AS {name}" for name in names)}, count(*) AS n_rows
        FROM (
            SELECT coalesce(variant_id, 'unknown') AS variant, {USER} AS user_key, {", ".join(utilities)}
            FROM signals WHERE loop_id = ?
        )
        WHERE {" AND ".join(f"{name} IS NOT NULL" for name in names)}
        GROUP BY variant, user_key ORDER BY variant, user_key
        """,
        [*params, loop_id],
    )


def read_coverage(store: Store, loop_id: str, signals: Sequence[str]) -> pd.DataFrame:
    """How many interactions carry each signal: columns signal, n_present, n_rows."""
    counts = ", ".join(f"count({_known(signal)}) AS {_known(signal)}" for signal in signals)
    ((n_rows, *present),) = store.rows(f"SELECT count(*), {counts} FROM signals WHERE loop_id = ?", [loop_id])
    return pd.DataFrame({"signal": list(signals), "n_present": present, "n_rows": n_rows})


def read_signal_values(store: Store, loop_id: str, signals: Sequence[str]) -> pd.DataFrame:
    """The signals of every interaction of the loop: interaction_id, and a float column each, NaN where missing."""
    columns = ", ".join(f"{_known(signal)}::DOUBLE AS {_known(signal)}" for signal in signals)
    return store.frame(
        f"SELECT interaction_id::VARCHAR AS interaction_id, {columns} FROM signals WHERE loop_id = ?", [loop_id]
    )


def read_signal_sums(store: Store, loop_id: str, signals: Sequence[str]) -> pd.DataFrame:
    """One scan: per variant and user each signal's sum and count over the interactions that carry it.

    Columns: variant, user_key, s0, n0, s1, n1, … in the order given; a user without the signal has sum NaN, count 0.
    A value that is NaN or infinite is missing.
    """
    finite = {signal: f"{_known(signal)} IS NOT NULL AND isfinite({_known(signal)})" for signal in signals}
    sums = [
        f"sum({signal}) FILTER ({known}) AS s{i}, count(*) FILTER ({known}) AS n{i}"
        for i, (signal, known) in enumerate(finite.items())
    ]
    return store.frame(
        f"SELECT coalesce(variant_id, 'unknown') AS variant, {USER} AS user_key, {', '.join(sums)} "
        "FROM signals WHERE loop_id = ? GROUP BY variant, user_key ORDER BY variant, user_key",
        [loop_id],
    )


def _utility(spec: SignalSpec) -> str:
    """0 at worst, 1 at best, linear between; a value that is absent, NaN or infinite is missing.

    CASE, since DuckDB's least() and greatest() skip NULL and would turn silence into a number.
    """
    name = _known(spec.signal)
    scaled = f"greatest(0, least(1, ({name} - ?) / ?))"
    return f"CASE WHEN {name} IS NULL OR NOT isfinite({name}) THEN ?::DOUBLE ELSE {scaled} END"


def _known(signal: str) -> str:
    if signal not in SIGNALS:
        raise ValueError(f"{signal!r} is no column of the signals; known: {', '.join(SIGNALS)}")
    return signal
