"""A loop's past as sizing needs it: users and variances as experiments of several lengths would have seen them. Pure.

A user's value of a metric is known the better the longer an experiment runs, and a loop runs out of new users: so
users and variances are those of the loop's last 7, 14, 28 and 56 days, and beyond them of the longest, with the new
users that still come.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from organism.records import Moments, QuantileParts
from organism.stats.compare import ratio_of_sums
from organism.stats.cuped import adjust
from organism.stats.quantile import quantile_estimate

SPANS = (7, 14, 28, 56)
FEW_USERS = 10
MOST_REDUCTION = 0.99
"""A past that explains everything is no promise to plan on."""


class Spread(NamedTuple):
    """One metric over the users of a span: its value, the variance of one user's (linearized) value, the users that
    it comes from, and the share of the variance that the covariates take out (None: nothing before the span).
    """

    mean: float
    variance: float
    n_users: int
    reduction: float | None


class Span(NamedTuple):
    """What the loop's last `days` held: by metric its spread, and how many users had a value of it."""

    days: int
    n_users: int
    spreads: Mapping[str, Spread]
    known: Mapping[str, int]


class Traffic(NamedTuple):
    """The loop's past as sizing needs it. `share` of its users can be in the experiment (layer, holdout).

    `measured_on` is the variant that the variances come from, None for all; spans are the shortest first. `nobody`
    says why the targeting leaves no user at all; empty where it leaves some.
    """

    spans: tuple[Span, ...]
    users_per_week: float
    new_users_per_week: float
    interactions_per_week: float
    history_days: float
    measured_on: str | None = None
    share: float = 1.0
    nobody: str = ""


def spread_of(users: Moments) -> Spread | None:
    """The spread of a ratio of sums over users who have it: columns num, den, then each covariate's num and den.

    One user's value is linearized by the delta method (Deng et al. 2018). The reduction is CUPED's, corrected for the
    users and covariates it was found with (Ezekiel 1930), so that a few users do not promise too much. None where
    fewer than two users tell a variance.
    """
    found = ratio_of_sums(users)
    if found is None or found.variance is None:
        return None
    n_covariates = len(users.mean) // 2 - 1
    reduction = adjust([users], 2, ratio_covariates=n_covariates).variance_reduction if n_covariates else None
    if reduction is not None and found.n > n_covariates + 1:
        corrected = 1 - (1 - reduction) * (found.n - 1) / (found.n - n_covariates - 1)
        reduction = min(max(corrected, 0.0), MOST_REDUCTION)
    return Spread(found.value, found.variance * found.n, found.n, reduction)


def spread_of_quantile(parts: QuantileParts) -> Spread | None:
    """The spread of a quantile clustered by user: n times its variance stands for one user's; None where unknown."""
    found = quantile_estimate(parts)
    return None if not found.variance else Spread(found.value, found.variance * found.n, found.n, None)


def users_at(traffic: Traffic, metric: str, days: float) -> float:
    """How many users with a known value of the metric an experiment would have after so many days."""
    known = [(0.0, 0.0), *((float(span.days), float(span.known.get(metric, 0))) for span in traffic.spans)]
    last_days, last = known[-1]
    if days <= last_days:
        at = float(np.interp(days, [day for day, _ in known], [n for _, n in known]))
    else:
        share_known = last / max(traffic.spans[-1].n_users, 1) if traffic.spans else 0.0
        at = last + traffic.new_users_per_week * share_known * (days - last_days) / 7
    return at * traffic.share


def variance_at(traffic: Traffic, metric: str, days: float) -> float | None:
    """The variance of one user's value after so many days; None where the metric was never seen.

    Spans in which only a few users had the metric count only where there is no other.
    """
    found = [(span.days, span.spreads[metric]) for span in traffic.spans if metric in span.spreads]
    found = [told for told in found if told[1].n_users >= FEW_USERS] or found
    if not found:
        return None
    return float(np.interp(days, [day for day, _ in found], [spread.variance for _, spread in found]))


def reduction_of(traffic: Traffic, metric: str) -> float | None:
    """What covariates take out of the variance: of the longest span that has something from before it."""
    found = [span.spreads[metric].reduction for span in traffic.spans if metric in span.spreads]
    return next((reduction for reduction in reversed(found) if reduction is not None), None)


def latest(traffic: Traffic, metric: str) -> Spread | None:
    """The metric over the longest span that has it; None where it was never seen."""
    return next((span.spreads[metric] for span in reversed(traffic.spans) if metric in span.spreads), None)
