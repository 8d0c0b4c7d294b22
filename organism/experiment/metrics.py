"""What a metric is: the columns it needs of each unit, and how they become a figure. The store sums them, once."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class MetricKind(StrEnum):
    """How a metric's columns become an arm's value."""

    MEAN = "mean"
    PROPORTION = "proportion"
    RATIO = "ratio"
    QUANTILE = "quantile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric, by SQL expressions over a relation of one row a unit.

    `columns` is y for a mean or a proportion (0 or 1), numerator and denominator for a ratio of sums, nothing for a
    quantile at `probability`, which is read from rows instead. `covariates` are values from before the experiment
    (CUPED), of which the first `ratio_covariates` pairs are ratios too (numerator, denominator). `better` is
    +1 where more is better, -1 where less is, 0 where nobody says. Several primary metrics share one error rate.
    """

    name: str
    kind: MetricKind
    label: str = ""
    better: int = 1
    columns: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    ratio_covariates: int = 0
    probability: float | None = None
    is_primary: bool = True

    @property
    def n_outcome(self) -> int:
        """How many columns make the figure; those after them are covariates."""
        return len(self.columns)


def columns_of(metrics: Sequence[Metric]) -> dict[str, tuple[str, ...]]:
    """What `store.unit_scan.scan` is asked for: by metric its own columns, then its covariates; quantiles have none."""
    return {metric.name: metric.columns + metric.covariates for metric in metrics if metric.columns}


def denominators_of(metrics: Sequence[Metric]) -> frozenset[str]:
    """The metrics whose second column divides, so that units below 0 in it are counted."""
    return frozenset(metric.name for metric in metrics if metric.kind is MetricKind.RATIO)
