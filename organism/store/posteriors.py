"""What the users of each variant say of one metric so far, as moments: what an adaptive policy learns from."""

from organism.records import Moments, RewardDesign
from organism.store.database import Store
from organism.store.experiments import Experiment
from organism.store.metric_columns import metric_columns
from organism.store.signal_table import refresh_signals


def read_value_moments(
    store: Store, experiment: Experiment, metric: str, design: RewardDesign | None = None
) -> dict[str, Moments]:
    """By variant the moments over users of (numerator, denominator) of this metric, summed over their interactions.

    Only users with a value, and only what the variant they were assigned served. `reward` is the mean by `design`.
    Raises DesignError for a signal that the loop does not have.
    """
    refresh_signals(store)
    ((num, den),) = metric_columns(store, experiment.loop_id, [metric], design)
    rows = store.rows(
        f"""
        WITH users AS (
            SELECT s.variant_id AS variant, s.user_key, sum({num})::DOUBLE AS num, sum({den})::DOUBLE AS den
            FROM signals s JOIN assignments a USING (experiment_id, user_key, variant_id)
            WHERE experiment_id = ? AND isfinite(({num})::DOUBLE) AND ({den}) > 0 GROUP BY ALL
        )
        SELECT variant, count(*), avg(num), avg(den), coalesce(var_pop(num), 0), coalesce(covar_pop(num, den), 0),
            coalesce(var_pop(den), 0)
        FROM users GROUP BY variant
        """,
        [experiment.experiment_id],
    )
    return {
        variant: Moments(n, (num, den), ((n * nn, n * nd), (n * nd, n * dd)))
        for variant, n, num, den, nn, nd, dd in rows
    }
