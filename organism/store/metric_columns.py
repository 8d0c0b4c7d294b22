"""A metric in SQL: numerator and denominator over rows of `signals`, and who its unit is."""

from collections.abc import Sequence

from organism.errors import DesignError
from organism.measures.metric_names import REWARD
from organism.records import RewardDesign
from organism.store.database import Store
from organism.store.signal_definitions import columns_of

UNIT = "coalesce(user_key, interaction_id::VARCHAR)"
RATIOS = {"retained_char_rate": ("retained_chars", "draft_chars"), "written_share": ("retained_chars", "final_chars")}
"""Metrics that are a ratio of two sums; any other is Σ value ÷ Σ rows with it."""


def metric_columns(
    store: Store, loop_id: str, metrics: Sequence[str], design: RewardDesign | None = None
) -> list[tuple[str, str]]:
    """Each metric's numerator and denominator over rows of `signals`, in SQL; a row without either is left out.

    `reward` needs the design. Raises DesignError for a signal that the loop does not have.
    """
    return [_columns(store, loop_id, metric, design) for metric in metrics]


def _columns(store: Store, loop_id: str, metric: str, design: RewardDesign | None) -> tuple[str, str]:
    if metric == REWARD:
        if design is None:
            raise DesignError("the metric 'reward' needs a reward design; save one, or choose another metric")
        return _reward(store, loop_id, design), "1"
    if metric in RATIOS:
        return RATIOS[metric]
    return columns_of(store, loop_id, [metric])[0], "1"


def _reward(store: Store, loop_id: str, design: RewardDesign) -> str:
    """A row's Σ w·u ÷ Σ w; NULL where a signal is absent and the design says nothing of it.

    Numbers of a saved design stand in the text: they are floats that were checked when it was saved.
    """
    specs = [spec for spec in design.signals if spec.weight > 0]
    terms = []
    for spec, column in zip(specs, columns_of(store, loop_id, [spec.signal for spec in specs]), strict=True):
        scaled = f"greatest(0.0, least(1.0, ({column} - {spec.worst!r}) / {spec.best - spec.worst!r}))"
        missing = "NULL" if spec.missing is None else repr(spec.missing)
        terms.append(f"{spec.weight!r} * CASE WHEN isfinite({column}) THEN {scaled} ELSE {missing} END::DOUBLE")
    return f"(({' + '.join(terms)}) / {sum(spec.weight for spec in specs)!r})"
