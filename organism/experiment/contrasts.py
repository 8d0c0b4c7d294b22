"""One metric of one treatment against control, from the arms' sums: the right method, named in words. Pure."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import NamedTuple

from organism.experiment.metrics import Metric, MetricKind
from organism.records import Moments, QuantileParts
from organism.stats.compare import (
    Comparison,
    Estimate,
    critical_value,
    difference,
    mean_of,
    ratio_of_sums,
    standard_error,
)
from organism.stats.cuped import Adjusted, adjust
from organism.stats.proportion import count_of, score_difference
from organism.stats.quantile import is_tied, quantile_estimate

WELCH = "Welch's t-test"
SCORE = "score interval of Miettinen and Nurminen"
DELTA = "delta method for a ratio of sums, Welch's t-test"
QUANTILE = "quantile clustered by unit, Welch's t-test"
# Arms with fewer units would keep CUPED from all the others; they are compared as they are.
UNITS_PER_COVARIATE = 10


class Contrast(NamedTuple):
    """Treatment against control with the standard error and degrees of freedom behind it, and the method in words.

    What cannot be said is None, and `note` is the sentence that says why.
    """

    comparison: Comparison
    error: float | None
    degrees: float | None
    method: str
    variance_reduction: float | None = None
    note: str | None = None


class Arms(NamedTuple):
    """One metric's arms, whole or within a segment's value: moments by variant, and what CUPED makes of them."""

    metric: Metric
    moments: Mapping[str, Moments]
    adjusted: Mapping[str, Estimate | None]
    adjusted_by: tuple[str, ...]
    variance_reduction: float | None
    note: str | None


def arms_of(metric: Metric, moments: Mapping[str, Moments]) -> Arms:
    """Adjust by the covariates, with one slope for all arms of enough units."""
    enough = {name: arm for name, arm in moments.items() if arm.n >= UNITS_PER_COVARIATE * len(metric.covariates)}
    if not metric.covariates or len(enough) < 2 or not all(_is_finite(arm) for arm in enough.values()):
        return Arms(metric, moments, {}, (), None, None)
    found: Adjusted = adjust(
        list(enough.values()),
        metric.n_outcome,
        ratio_covariates=metric.ratio_covariates,
        names=_names(metric),
    )
    if found.variance_reduction is None:
        return Arms(metric, moments, {}, (), None, found.note or None)
    estimates = dict(zip(enough, found.estimates, strict=True))
    used = tuple(name for name, slope in zip(_names(metric), found.theta, strict=True) if slope)
    return Arms(metric, moments, estimates, used, found.variance_reduction, found.note or None)


def contrast(arms: Arms, control: str, treatment: str, alpha: float) -> Contrast:
    """One treatment against control, by the method that the metric's kind and covariates ask for."""
    metric = arms.metric
    if reason := _reason(arms, control, treatment):
        return Contrast(_known(arms, control, treatment), None, None, _method(metric), None, reason)
    if arms.adjusted.get(control) and arms.adjusted.get(treatment):
        pair = arms.adjusted[control], arms.adjusted[treatment]
        method = f"{_method(metric, adjusted=True)} on values adjusted by {_and(arms.adjusted_by)} (CUPED)"
        found = _welch(pair, alpha, method, metric.name)
        return found._replace(variance_reduction=arms.variance_reduction, note=found.note or arms.note)
    left_out = _unadjusted_note(arms, control, treatment)
    if metric.kind is MetricKind.PROPORTION:
        found = _score(arms.moments[control], arms.moments[treatment], alpha, metric.name)
        return found if found.note else found._replace(note=left_out)
    pair = _plain(metric, arms.moments[control]), _plain(metric, arms.moments[treatment])
    found = _welch(pair, alpha, _method(metric), metric.name)
    return found if found.note else found._replace(note=left_out)


def quantile_contrast(
    metric: Metric, parts: Mapping[str, QuantileParts], control: str, treatment: str, alpha: float
) -> Contrast:
    """A quantile of one treatment against control's, clustered by unit."""
    lacking = [name for name in (control, treatment) if name not in parts or parts[name].users.n < 1]
    pair = _quantile(parts, control), _quantile(parts, treatment)
    found = difference(*pair, 1 - alpha)
    if lacking:
        return Contrast(found, None, None, QUANTILE, None, f"no unit of {_and(lacking)} has {metric.name}")
    spread = standard_error(*pair)
    if spread is None:
        reason = (
            f"{metric.name} has no interval: too few rows reach beyond the quantile, or too many share one value there"
        )
        return Contrast(found, None, None, QUANTILE, None, reason)
    tied = tied_words(metric.name, {name: parts[name] for name in (control, treatment)})
    return Contrast(found, *spread, QUANTILE, None, tied or _relative_note(found, metric.name))


def tied_words(name: str, parts: Mapping[str, QuantileParts]) -> str | None:
    """What to know of a quantile of a few values; None where no arm has so many rows at one."""
    tied = {variant: part for variant, part in parts.items() if is_tied(part)}
    if not tied:
        return None
    most = max(tied, key=lambda variant: tied[variant].tied)
    return (
        f"{tied[most].tied:.0%} of the rows of {most} share one value near the quantile of {name}: its interval "
        "reaches to the next value on either side, so it is rather too wide than too narrow"
    )


def _quantile(parts: Mapping[str, QuantileParts], variant: str) -> Estimate | None:
    return quantile_estimate(parts[variant]) if variant in parts and parts[variant].users.n else None


def _welch(pair: tuple[Estimate | None, Estimate | None], alpha: float, method: str, name: str) -> Contrast:
    found = difference(*pair, 1 - alpha)
    spread = standard_error(*pair)
    if spread is None:
        return Contrast(found, None, None, method, None, f"{name} is the same for every unit of both arms")
    return Contrast(found, *spread, method, None, _relative_note(found, name))


def _score(control: Moments, treatment: Moments, alpha: float, name: str) -> Contrast:
    counts = count_of(control), count_of(treatment)
    if counts[0] is None or counts[1] is None:
        pair = mean_of(control), mean_of(treatment)
        return _welch(pair, alpha, f"{WELCH}, since {name} holds other values than 0 and 1", name)
    found = score_difference(*counts, 1 - alpha)
    if found.effect is None or found.ci_low is None or found.ci_high is None:
        return Contrast(found, None, None, SCORE, None, f"{name} is the same for every unit of both arms")
    # Of few successes Wald's error makes the always-valid interval narrower than the fixed one: take the score's.
    reach = max(found.ci_high - found.effect, found.effect - found.ci_low)
    return Contrast(found, reach / critical_value(1 - alpha / 2, None), None, SCORE)


def _reason(arms: Arms, control: str, treatment: str) -> str | None:
    """Why the arms cannot be compared, in a sentence; None when they can."""
    name = arms.metric.name
    for variant in (control, treatment):
        arm = arms.moments.get(variant)
        if arm is None or not arm.n:
            return f"no unit of {variant} has {name}"
        if arm.n < 2:
            return f"{variant} has 1 unit with {name}; at least 2 are needed"
        if not _is_finite(arm):
            return f"values of {name} in {variant} are too large to be squared and summed"
        if arms.metric.kind is MetricKind.RATIO and arm.mean[1] <= 0:
            total = "0" if arm.mean[1] == 0 else "less than 0"
            return f"the denominators of {name} in {variant} sum to {total}, so that there is no ratio"
    return None


def _known(arms: Arms, control: str, treatment: str) -> Comparison:
    """What can be said where the arms cannot be compared: each arm's value and units."""
    pair = [arms.moments.get(name) for name in (control, treatment)]
    estimates = [_plain(arms.metric, arm) if arm and _is_finite(arm) else None for arm in pair]
    values = [estimate.value if estimate else None for estimate in estimates]
    n = [arm.n if arm else 0 for arm in pair]
    effect = values[1] - values[0] if values[0] is not None and values[1] is not None else None
    return Comparison(effect, None, None, None, None, None, None, n[0], n[1], values[0], values[1])


def _plain(metric: Metric, arm: Moments) -> Estimate | None:
    if metric.kind is MetricKind.RATIO:
        return ratio_of_sums(arm) if arm.n and arm.mean[1] > 0 else None
    return mean_of(arm)


def _method(metric: Metric, *, adjusted: bool = False) -> str:
    if metric.kind is MetricKind.PROPORTION and not adjusted:
        return SCORE
    return DELTA if metric.kind is MetricKind.RATIO else WELCH


def _unadjusted_note(arms: Arms, control: str, treatment: str) -> str | None:
    if not arms.metric.covariates or arms.note:
        return arms.note
    wanted = UNITS_PER_COVARIATE * len(arms.metric.covariates)
    small = [name for name in (control, treatment) if arms.moments[name].n < wanted]
    return (
        f"not adjusted by {_and(_names(arms.metric))}: {_and(small)} has fewer than {wanted} units" if small else None
    )


def _relative_note(found: Comparison, name: str) -> str | None:
    if found.relative is not None and found.relative_low is None:
        return f"the relative effect of {name} has no interval, since control's value may be 0"
    return None


def _names(metric: Metric) -> list[str]:
    """The covariates in words: a pair that is a ratio counts as one."""
    pairs = [f"{metric.covariates[2 * i]}/{metric.covariates[2 * i + 1]}" for i in range(metric.ratio_covariates)]
    return [text.replace('"', "") for text in [*pairs, *metric.covariates[2 * metric.ratio_covariates :]]]


def _is_finite(arm: Moments) -> bool:
    return all(isfinite(number) for number in arm.mean) and all(isfinite(c) for row in arm.cross for c in row)


def _and(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + f" and {words[-1]}" if len(words) > 1 else "".join(words)
