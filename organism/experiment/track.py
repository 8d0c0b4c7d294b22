"""The effect on the first primary metric as it stood at the end of each day. Pure."""

import pandas as pd

from organism.experiment.analysis import (
    Settings,
    intervals_at,
    ratio_estimates,
    read_metrics,
    read_pair,
    step_level,
)
from organism.experiment.evidence import Evidence
from organism.records import Moments

COLUMNS = ("day", "effect", "low", "high", "always_low", "always_high", "n_users", "n_interactions")


def track(evidence: Evidence, settings: Settings, treatment: str) -> pd.DataFrame:
    """By day the effect of one treatment with both intervals, from all that users did until then.

    Of several comparisons both stand at the level of the step of Holm's test at which the scorecard judges this one
    now, so that the last row shows the scorecard's own interval.

    Columns: day, effect, low, high (for one look), always_low, always_high (at every look), n_users, n_interactions
    (of both variants). The last row is where the scorecard stands. Empty where the metric is a quantile.
    """
    parts: dict[object, dict[str, Moments]] = {}
    for part in evidence.sums.days:
        parts.setdefault(part.day, {})[part.variant] = part.moments
    rows, latest = [], dict[str, Moments]()
    both = (settings.control, treatment)
    level = step_level(settings, read_metrics(evidence, settings)[0][settings.plan.primary[0], treatment])
    for look in evidence.sums.looks if parts else ():
        latest = parts.get(look.day, latest)
        arms, _ = ratio_estimates(evidence, latest, with_covariates=bool(settings.plan.covariates))
        found = read_pair(settings, settings.plan.primary[0], treatment, arms)
        fixed, always = intervals_at(settings, found, level)
        fixed = (None, None) if settings.is_adaptive else fixed
        counts = (sum(look.n_users[name] for name in both), sum(look.n_interactions[name] for name in both))
        rows.append((look.day, found.comparison.effect, *fixed, *always, *counts))
    made = pd.DataFrame(rows, columns=list(COLUMNS))
    figures = dict.fromkeys(("effect", "low", "high", "always_low", "always_high"), float)
    return made.astype({"day": "datetime64[us]", **figures, "n_users": int, "n_interactions": int})
