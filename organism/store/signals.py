"""Signals: one row of measures an interaction, and their sums by user.

Every signal of the loop can be asked for by its name: a built-in one, `outcome.NAME`, `answer.NAME`, or a SQL
signal. A value that is absent, infinite or not a number is missing. Without a user the interaction stands for itself.
"""

from collections.abc import Sequence

import pandas as pd

from organism.records import SignalSpec
from organism.store.database import Store
from organism.store.interactions import VARIANT
from organism.store.signal_definitions import SIGNALS as SIGNALS
from organism.store.signal_definitions import SignalInfo, columns_of, read_known
from organism.store.signal_table import refresh_signals

USER = "coalesce(user_key, interaction_id::VARCHAR)"


def known_signals(store: Store, loop_id: str) -> dict[str, SignalInfo]:
    """Every signal that the loop has or had, by name; `removed_at` says which are not measured any more."""
    refresh_signals(store)
    return read_known(store, loop_id)


def read_utility_sums(store: Store, loop_id: str, signals: Sequence[SignalSpec]) -> pd.DataFrame:
    """One scan: per variant and user the summed utility of each signal, in the order given.

    Columns: variant, user_key, u0, u1, …, n_rows. An interaction counts only when each signal is there or the
    spec states what a missing one means.
    """
    columns = _columns(store, loop_id, [spec.signal for spec in signals])
    sums = [f"sum({_utility(spec, columns[i])}) AS u{i}" for i, spec in enumerate(signals)]
    present = [f"isfinite({columns[i]})" for i, spec in enumerate(signals) if spec.missing is None]
    return store.frame(
        f"SELECT {VARIANT} AS variant, {USER} AS user_key, {', '.join([*sums, 'count(*) AS n_rows'])} FROM signals "
        f"WHERE {' AND '.join(['loop_id = ?', *present])} GROUP BY 1, 2 ORDER BY 1, 2",
        [*(value for spec in signals for value in _anchors(spec)), loop_id],
    )


def read_signal_sums(store: Store, loop_id: str, signals: Sequence[str]) -> pd.DataFrame:
    """One scan: per variant and user the sum of each signal's values and on how many interactions it was there.

    Columns: variant, user_key, s0, n0, s1, n1, …. Each signal counts on its own rows; a sum without any is 0.
    """
    sums = [
        f"coalesce(sum({column}) FILTER (isfinite({column})), 0)::DOUBLE AS s{i}, "
        f"count(*) FILTER (isfinite({column})) AS n{i}"
        for i, column in enumerate(_columns(store, loop_id, signals))
    ]
    return store.frame(
        f"SELECT {', '.join([f'{VARIANT} AS variant', f'{USER} AS user_key', *sums])} FROM signals "
        "WHERE loop_id = ? GROUP BY 1, 2 ORDER BY 1, 2",
        [loop_id],
    )


def read_coverage(store: Store, loop_id: str, signals: Sequence[str]) -> pd.DataFrame:
    """How many interactions carry each signal: columns signal, n_present, n_rows."""
    counts = [f"count(*) FILTER (isfinite({column}))" for column in _columns(store, loop_id, signals)]
    found = store.rows(f"SELECT {', '.join(['count(*)', *counts])} FROM signals WHERE loop_id = ?", [loop_id])
    n_rows, *present = found[0]
    return pd.DataFrame({"signal": list(signals), "n_present": present, "n_rows": n_rows})


def read_signal_values(
    store: Store, loop_id: str, signals: Sequence[str], interaction_ids: Sequence[str] | None = None
) -> pd.DataFrame:
    """The signals of these interactions of the loop, of all when left out; unknown ids have no row.

    Columns: interaction_id, and a float column a signal, NaN where it is missing.
    """
    values = _values(_columns(store, loop_id, signals))
    among = "" if interaction_ids is None else " AND interaction_id IN (SELECT try_cast(unnest(?) AS UUID))"
    asked = [] if interaction_ids is None else [list(interaction_ids)]
    found = store.frame(
        f"SELECT {', '.join(['interaction_id::VARCHAR AS interaction_id', *values])} FROM signals "
        f"WHERE loop_id = ?{among}",
        [loop_id, *asked],
    )
    return _named(found, signals)


def read_signal_rows(
    store: Store,
    loop_id: str,
    signals: Sequence[str],
    *,
    limit: int = 50_000,
    variants: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The loop's interactions with these signals, oldest first: all of them, or whole users up to `limit` rows.

    Columns: interaction_id, variant, user_key, region, experiment_id, occurred_at, and a float column a signal, NaN
    where it is missing. Users come by a hash of their key, the same ones each time; one user at least.
    """
    values = _values(_columns(store, loop_id, signals))
    chosen = "true" if variants is None else f"list_contains(?::VARCHAR[], {VARIANT})"
    asked: list[object] = [loop_id, *([list(variants)] if variants is not None else [])]
    found = store.frame(
        f"""
        WITH users AS (
            SELECT who, sum(n) OVER (ORDER BY hash(who), who) AS so_far, n
            FROM (SELECT {USER} AS who, count(*) AS n FROM signals WHERE loop_id = ? AND {chosen} GROUP BY 1)
        )
        SELECT interaction_id::VARCHAR AS interaction_id, {VARIANT} AS variant, u.who AS user_key,
            {", ".join(["region", "experiment_id", "occurred_at", *values])}
        FROM signals s JOIN users u ON u.who = {USER} WHERE loop_id = ? AND {chosen}
            AND (u.so_far <= ? OR u.so_far = u.n)
        ORDER BY occurred_at, interaction_id
        """,
        [*asked, *asked, limit],
    )
    return _named(found, signals)


def read_quantiles(store: Store, loop_id: str, signals: Sequence[str], probabilities: Sequence[float]) -> pd.DataFrame:
    """Each signal's quantiles over the interactions that carry it: columns signal, probability, value (NaN: none)."""
    columns = _columns(store, loop_id, signals)
    asked = [f"quantile_cont({column}, ?::DOUBLE[]) FILTER (isfinite({column}))" for column in columns]
    found = store.rows(
        f"SELECT {', '.join(['count(*)', *asked])} FROM signals WHERE loop_id = ?",
        [*[list(probabilities)] * len(asked), loop_id],
    )
    values = [values or [None] * len(probabilities) for values in found[0][1:]]
    return pd.DataFrame(
        {
            "signal": [signal for signal in signals for _ in probabilities],
            "probability": [probability for _ in signals for probability in probabilities],
            "value": pd.Series([value for row in values for value in row], dtype=float),
        }
    )


def _columns(store: Store, loop_id: str, signals: Sequence[str]) -> list[str]:
    refresh_signals(store)
    return columns_of(store, loop_id, signals)


def _values(columns: Sequence[str]) -> list[str]:
    """Each column's finite values, as v0, v1, …: DuckDB takes `sale` and `Sale` for one name."""
    return [f"CASE WHEN isfinite({column}) THEN {column} END::DOUBLE AS v{i}" for i, column in enumerate(columns)]


def _named(found: pd.DataFrame, signals: Sequence[str]) -> pd.DataFrame:
    """The same rows with the signals' names over the last columns."""
    return found.set_axis([*found.columns[: found.shape[1] - len(signals)], *signals], axis=1)


def _utility(spec: SignalSpec, column: str) -> str:
    """0 at worst, 1 at best, linear between. Rows that a missing signal leaves out are left out before.

    CASE, since DuckDB's least() and greatest() skip NULL and would turn silence into a number.
    """
    scaled = f"greatest(0.0::DOUBLE, least(1.0::DOUBLE, ({column} - ?::DOUBLE) / ?::DOUBLE))"
    return scaled if spec.missing is None else f"CASE WHEN isfinite({column}) THEN {scaled} ELSE ?::DOUBLE END"


def _anchors(spec: SignalSpec) -> list[float]:
    """What the utility's SQL asks for, in its order."""
    return [spec.worst, spec.best - spec.worst, *([] if spec.missing is None else [spec.missing])]
