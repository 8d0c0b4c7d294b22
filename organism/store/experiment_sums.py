"""What the users of an experiment did, as sums a user."""

import pandas as pd

from organism.records import Moments
from organism.store.database import Store
from organism.store.experiments import Experiment
from organism.store.signal_table import refresh_signals

METRICS = {
    "retained_char_rate": ("retained_chars", "draft_chars"),
    "written_share": ("retained_chars", "final_chars"),
    "accepted": ("accepted", "1"),
    "latency_ms": ("latency_ms", "1"),
    "cost_usd": ("cost_usd", "1"),
    "output_tokens": ("output_tokens", "1"),
}


def read_user_sums(store: Store, experiment: Experiment, *, daily: bool = False) -> pd.DataFrame:
    """What each user did in each arm that served them, as sums: one scan for all metrics.

    Columns: user_key, arm, assigned (None without an assignment), n_rows, and for each metric METRIC_num and
    METRIC_den over the interactions that have it; with `daily` also day, a row a day.
    """
    refresh_signals(store)
    sums = ", ".join(
        f"coalesce(sum({num}) FILTER ({_both(num, den)}), 0)::DOUBLE AS {name}_num, "
        f"coalesce(sum({den}) FILTER ({_both(num, den)}), 0)::DOUBLE AS {name}_den"
        for name, (num, den) in METRICS.items()
    )
    day = "occurred_at::DATE::TIMESTAMP AS day, " if daily else ""
    return store.frame(
        f"""
        SELECT * FROM (
            SELECT coalesce(user_key, interaction_id::VARCHAR) AS user_key, {day}
                CASE variant_id WHEN $2 THEN 'control' ELSE 'treatment' END AS arm,
                count(*) AS n_rows, {sums}
            FROM signals WHERE experiment_id = $1 AND variant_id IN ($2, $3) GROUP BY ALL
        ) LEFT JOIN (
            SELECT user_key, CASE variant_id WHEN $2 THEN 'control' ELSE 'treatment' END AS assigned
            FROM assignments WHERE experiment_id = $1
        )
            USING (user_key)
        ORDER BY ALL
        """,
        [experiment.experiment_id, experiment.control, experiment.treatment],
    )


def read_request_moments(store: Store, experiment: Experiment) -> dict[str, Moments]:
    """By arm the moments of (retained, draft) characters over single requests: for showing what they get wrong."""
    refresh_signals(store)
    rows = store.rows(
        """
        SELECT CASE variant_id WHEN $2 THEN 'control' ELSE 'treatment' END AS arm, count(*),
            avg(retained_chars), avg(draft_chars), coalesce(var_samp(retained_chars), 0),
            coalesce(covar_samp(retained_chars, draft_chars), 0), coalesce(var_samp(draft_chars), 0)
        FROM signals WHERE experiment_id = $1 AND variant_id IN ($2, $3)
            AND retained_chars IS NOT NULL AND draft_chars IS NOT NULL
        GROUP BY arm
        """,
        [experiment.experiment_id, experiment.control, experiment.treatment],
    )
    return {
        arm: Moments(n, (retained, draft), (((n - 1) * rr, (n - 1) * rd), ((n - 1) * rd, (n - 1) * dd)))
        for arm, n, retained, draft, rr, rd, dd in rows
    }


def _both(num: str, den: str) -> str:
    return " AND ".join(f"{column} IS NOT NULL" for column in (num, den) if column != "1")
