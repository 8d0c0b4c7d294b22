"""What an experiment's figures are. Pure: evidence in, estimates and comparisons out; `rules` makes the verdict.

The unit is the user. A metric is a ratio of sums by user (delta method), or a quantile clustered by user. Which
interval counts: below the planned users the always-valid sequence, at them the one for a single look.
"""

from typing import NamedTuple

from organism.experiment.evidence import Evidence
from organism.experiment.plan import Plan, plan_of
from organism.experiment.results import MAX_IN_BOTH
from organism.experiment.scorecard import Cuped, IntervalKind, MetricRow, RequestLevel, Role
from organism.measures.metric_names import phrase_of
from organism.records import Moments
from organism.stats.bayes import chance_to_win, expected_loss
from organism.stats.compare import (
    Comparison,
    Estimate,
    critical_value,
    difference,
    fieller,
    ratio_of_sums,
    standard_error,
)
from organism.stats.cuped import adjust
from organism.stats.moments import empty
from organism.stats.multiplicity import Correction, adjusted
from organism.stats.quantile import quantile_estimate
from organism.stats.sequential import Sequence as Band
from organism.stats.sequential import confidence_sequence
from organism.stats.sequential import critical_value as sequence_value
from organism.store.experiment_tables import ADAPTIVE

LAST_LOOK = 1.25
"""Up to this many times the planned users the interval is for the one look at the planned size.

Every further look would be one more chance of a false alarm (12 of them up to twice the size: 9% instead of 2.5% would
ship no effect at all), so beyond it the always-valid sequence counts again.
"""
DEFAULT_TUNING = 500
"""Where nobody planned a size, the always-valid sequence is tightest at this many users of both variants.

At 60 users it is then 1.9 times as wide as an interval for one look, at 500 1.55 times, at 50,000 1.8 times; tuned to
5,000 it would be 4.3 times as wide at 60.
"""


Limits = tuple[float | None, float | None]


class Settings(NamedTuple):
    """How an experiment is read: its plan, which interval counts, and at how many users the sequence is tightest.

    `n_planned` users were agreed on before the start: a later version of the plan can raise that number, and neither
    lower it nor be the first to name one, since it may have been chosen after a look. `n_exposed` users were served in
    all; `pair_share` is the part of the planned traffic that the control and each treatment make together.
    """

    plan: Plan
    control: str
    treatments: tuple[str, ...]
    kind: IntervalKind
    is_adaptive: bool
    n_planned: int | None
    n_exposed: int
    pair_share: dict[str, float]

    @property
    def is_fixed(self) -> bool:
        """Whether the interval for one look counts."""
        return self.kind is IntervalKind.FIXED

    def tuning(self, treatment: str) -> float:
        """At how many users of both arms the sequence is tightest."""
        return float(self.n_planned or DEFAULT_TUNING) * self.pair_share[treatment]


class Reading(NamedTuple):
    """One metric of one treatment against the control.

    `comparison` is for one look, `band` holds at every look. `low`, `high`, `p_value` and the relative limits are of
    the one that counts; with several comparisons `p_adjusted` is Holm's, and the interval stands at the level of its
    step, so that it excludes 0 exactly when `p_adjusted` is at most alpha. `error` is the effect's standard error.
    """

    metric: str
    variant: str
    control: Estimate | None
    treatment: Estimate | None
    comparison: Comparison
    band: Band
    error: float | None
    p_value: float | None
    p_adjusted: float | None
    low: float | None
    high: float | None
    relative_low: float | None
    relative_high: float | None

    @property
    def n(self) -> int:
        """Users with a known answer, of both arms."""
        return self.comparison.n_control + self.comparison.n_treatment


def settings_of(evidence: Evidence) -> Settings:
    """How the evidence is to be read, by the latest version of the plan."""
    plan = plan_of(evidence.plans[-1].plan)
    n_exposed = sum(evidence.sums.n_users.values())
    is_adaptive = evidence.policy == ADAPTIVE
    n_planned = _planned_users(evidence)
    at_size = not is_adaptive and _is_the_one_look(evidence, n_planned, n_exposed)
    control, *treatments = evidence.variants
    kind = IntervalKind.FIXED if at_size else IntervalKind.ALWAYS_VALID
    if is_adaptive and evidence.sums.n_unweighted > MAX_IN_BOTH * n_exposed:
        kind = IntervalKind.WITHHELD
    return Settings(
        plan=plan,
        control=control.name,
        treatments=tuple(variant.name for variant in treatments),
        kind=kind,
        is_adaptive=is_adaptive,
        n_planned=n_planned,
        n_exposed=n_exposed,
        pair_share={variant.name: min(control.share + variant.share, 1.0) for variant in treatments},
    )


def _planned_users(evidence: Evidence) -> int | None:
    first, last = (plan_of(version.plan).n_users for version in (evidence.plans[0], evidence.plans[-1]))
    return None if first is None else max(first, last or 0)


def _is_the_one_look(evidence: Evidence, n_planned: int | None, n_exposed: int) -> bool:
    """Whether the planned users are in, not many more, and no earlier look at a planned size was had.

    A size that was raised once its users were in, or lowered again, would be one more look. Users count by the day.
    """
    if n_planned is None or not n_planned <= n_exposed <= LAST_LOOK * n_planned:
        return False
    first, *later = ((plan_of(one.plan).n_users or 0, one.created_at) for one in evidence.plans)
    size = first[0]
    for wanted, changed_at in later:
        seen = [sum(look.n_users.values()) for look in evidence.sums.looks if look.day <= changed_at]
        after = max(first[0], wanted)
        if after < size or (after > size and max(seen, default=0) >= size):
            return False
        size = after
    return True


def estimates(evidence: Evidence, metric: str, *, with_covariates: bool) -> tuple[dict[str, Estimate | None], str]:
    """Each variant's value of a metric, adjusted by the covariates where asked for; and what adjusting left out."""
    names = [variant.name for variant in evidence.variants]
    if metric in evidence.sums.quantiles:
        parts = evidence.sums.quantiles[metric]
        return {name: quantile_estimate(parts[name]) if name in parts else None for name in names}, ""
    return ratio_estimates(evidence, evidence.sums.metrics.get(metric, {}), with_covariates=with_covariates)


def ratio_estimates(
    evidence: Evidence, moments: dict[str, Moments], *, with_covariates: bool
) -> tuple[dict[str, Estimate | None], str]:
    """As `estimates`, from moments of numerator, denominator and the covariates' by variant."""
    names = [variant.name for variant in evidence.variants]
    n_past = len(evidence.covariates)
    arms = [moments.get(name, empty(2 + 2 * n_past)) for name in names]
    if not with_covariates or not n_past:
        return {name: ratio_of_sums(arm) for name, arm in zip(names, arms, strict=True)}, ""
    found = adjust(arms, 2, ratio_covariates=n_past, names=[f"{name} before" for name in evidence.covariates])
    return dict(zip(names, found.estimates, strict=True)), found.note


def read_pair(settings: Settings, metric: str, treatment: str, arms: dict[str, Estimate | None]) -> Reading:
    """One treatment against the control: the fixed comparison and the always-valid band."""
    ours, theirs = arms[settings.control], arms[treatment]
    plan = settings.plan
    comparison = difference(ours, theirs, 1 - plan.alpha)
    found = standard_error(ours, theirs)
    error, degrees = found or (None, None)
    band = confidence_sequence(
        comparison.effect,
        error,
        comparison.n_control + comparison.n_treatment,
        alpha=plan.alpha,
        tuning=settings.tuning(treatment),
        degrees=degrees,
    )
    if settings.kind is IntervalKind.WITHHELD:
        band = Band(None, None, None)
    p_value = comparison.p_value if settings.is_fixed else band.p_value
    reading = Reading(metric, treatment, ours, theirs, comparison, band, error, p_value, *(None,) * 5)
    return at_level(settings, reading, p_value)


def at_level(settings: Settings, reading: Reading, p_adjusted: float | None) -> Reading:
    """The reading with the interval that counts, at the level at which a step of Holm's test judges it.

    The step compares p with alpha · p / p_adjusted; the interval at that level excludes 0 exactly when p_adjusted is
    at most alpha.
    """
    p, effect, found = reading.p_value, reading.comparison.effect, standard_error(reading.control, reading.treatment)
    if p is None or p_adjusted is None or effect is None or found is None:
        return reading._replace(p_adjusted=p_adjusted)
    alpha, level = settings.plan.alpha, step_level(settings, reading._replace(p_adjusted=p_adjusted))
    if settings.is_fixed:
        reach = critical_value(1 - level / 2, found[1]) * found[0]
    else:
        reach = (effect if reading.band.high is None else reading.band.high) - effect
        reach *= _wider(settings, reading, level)
    relative = _relative(reading, reach / found[0])
    return reading._replace(
        p_adjusted=p_adjusted,
        low=reading.band.low if level == alpha and not settings.is_fixed else effect - reach,
        high=reading.band.high if level == alpha and not settings.is_fixed else effect + reach,
        relative_low=relative[0],
        relative_high=relative[1],
    )


def step_level(settings: Settings, reading: Reading) -> float:
    """The level of the step of Holm's test at which a reading is judged; alpha where nothing was adjusted."""
    p, p_adjusted, alpha = reading.p_value, reading.p_adjusted, settings.plan.alpha
    return alpha if p is None or not p_adjusted or p_adjusted == p else alpha * p / p_adjusted


def intervals_at(settings: Settings, reading: Reading, level: float) -> tuple[Limits, Limits]:
    """A reading's interval for one look and the one that holds at every look, both at this level."""
    band, effect, found = reading.band, reading.comparison.effect, standard_error(reading.control, reading.treatment)
    if level == settings.plan.alpha or effect is None or found is None:
        return (reading.comparison.ci_low, reading.comparison.ci_high), (band.low, band.high)
    reach = critical_value(1 - level / 2, found[1]) * found[0]
    if band.high is None:
        return (effect - reach, effect + reach), (None, None)
    always = (band.high - effect) * _wider(settings, reading, level)
    return (effect - reach, effect + reach), (effect - always, effect + always)


def _wider(settings: Settings, reading: Reading, level: float) -> float:
    """How many times as wide a sequence is at this level as at alpha, its tuning unchanged."""
    alpha, tuning = settings.plan.alpha, settings.tuning(reading.variant)
    at_level, at_alpha = (sequence_value(reading.n, alpha=alpha, tuning=tuning, level=one) for one in (level, alpha))
    return at_level / at_alpha


def _relative(reading: Reading, q: float) -> tuple[float | None, float | None]:
    if reading.control is None or reading.treatment is None:
        return None, None
    found = fieller(reading.control, reading.treatment, q)
    return found.low, found.high


def read_metrics(evidence: Evidence, settings: Settings) -> tuple[dict[tuple[str, str], Reading], tuple[str, ...]]:
    """Every metric of every treatment, the primary ones corrected by Holm; and what was not adjusted by covariates."""
    with_covariates = bool(settings.plan.covariates)
    readings: dict[tuple[str, str], Reading] = {}
    notes: list[str] = []
    for measure in evidence.measures:
        arms, note = estimates(evidence, measure.name, with_covariates=with_covariates)
        notes.append(note)
        for treatment in settings.treatments:
            readings[measure.name, treatment] = read_pair(settings, measure.name, treatment, arms)
    deciding = [(name, treatment) for name in settings.plan.primary for treatment in settings.treatments]
    corrected = adjusted([readings[key].p_value for key in deciding], Correction.HOLM)
    for key, p_adjusted in zip(deciding, corrected, strict=True):
        readings[key] = at_level(settings, readings[key], p_adjusted)
    return readings, tuple(dict.fromkeys(note for note in notes if note))


def lead(evidence: Evidence, settings: Settings, readings: dict[tuple[str, str], Reading]) -> str:
    """The treatment that does best in the first primary metric, the first one where nobody knows."""
    primary = settings.plan.primary[0]
    better = gain_sign(evidence, primary)
    known = {
        treatment: better * effect
        for treatment in settings.treatments
        if (effect := readings[primary, treatment].comparison.effect) is not None
    }
    return max(known, key=lambda treatment: known[treatment]) if known else settings.treatments[0]


def gain_sign(evidence: Evidence, metric: str) -> int:
    """+1 where more of a metric is a gain, −1 where less is; more, where nobody says."""
    return evidence.measure[metric].better or 1


def metric_rows(
    evidence: Evidence, settings: Settings, readings: dict[tuple[str, str], Reading]
) -> tuple[MetricRow, ...]:
    """A row for each metric and treatment."""
    return tuple(
        _row(evidence, settings, readings[measure.name, treatment])
        for measure in evidence.measures
        for treatment in settings.treatments
    )


def _row(evidence: Evidence, settings: Settings, reading: Reading) -> MetricRow:
    measure = evidence.measure[reading.metric]
    is_primary = reading.metric in settings.plan.primary
    effect, error = reading.comparison.effect, reading.error
    sign = gain_sign(evidence, reading.metric)
    is_guarded = reading.metric in {guard.metric for guard in settings.plan.guardrails}
    return MetricRow(
        metric=reading.metric,
        label=measure.label,
        better=measure.better,
        comparison=reading.comparison if not settings.is_adaptive else without_claim(reading.comparison),
        variant=reading.variant,
        role=Role.PRIMARY if is_primary else Role.GUARDRAIL if is_guarded else Role.WATCHED,
        kind="ratio" if measure.probability is None else "quantile",
        method=_method(evidence, settings, reading.metric),
        sequence_low=reading.band.low,
        sequence_high=reading.band.high,
        sequence_p=reading.band.p_value,
        p_adjusted=reading.p_adjusted if is_primary else None,
        variance_reduction=_reduction(evidence, settings, reading),
        chance_to_win=chance_to_win(effect, error, better=sign),
        expected_loss=expected_loss(effect, error, better=sign),
        note=_note(evidence, reading),
    )


def without_claim(comparison: Comparison) -> Comparison:
    """The comparison without what holds at one planned look only: where the shares followed the results."""
    return comparison._replace(ci_low=None, ci_high=None, p_value=None, relative_low=None, relative_high=None)


def _method(evidence: Evidence, settings: Settings, metric: str) -> str:
    if evidence.measure[metric].probability is not None:
        return "quantile over interactions, variance clustered by user; Welch's t"
    words = "ratio of sums by user, delta method; Welch's t"
    if settings.plan.covariates and evidence.covariates:
        words += f"; adjusted by {', '.join(evidence.covariates)} before the start (CUPED)"
    return words + ("; users weighed by 1 / their logged probability" if settings.is_adaptive else "")


def _reduction(evidence: Evidence, settings: Settings, reading: Reading) -> float | None:
    if not settings.plan.covariates or reading.error is None or reading.metric in evidence.sums.quantiles:
        return None
    arms, _ = estimates(evidence, reading.metric, with_covariates=False)
    plain = standard_error(arms[settings.control], arms[reading.variant])
    return 1 - reading.error**2 / plain[0] ** 2 if plain else None


def _note(evidence: Evidence, reading: Reading) -> str | None:
    """Why something cannot be said; None where all is."""
    name, found = reading.metric, reading.comparison
    if not evidence.measure[name].is_known:
        return f"Nothing measures {name}: no signal of this loop has that name, or it was removed."
    if found.effect is None:
        empty_arm = [arm for arm, n in (("control", found.n_control), (reading.variant, found.n_treatment)) if not n]
        return f"No user of {' or '.join(empty_arm) or 'either variant'} has a value yet."
    if found.p_value is None:
        if min(found.n_control, found.n_treatment) < 2:
            return "A variant has one user with a value; two are needed for an interval."
        return "All users of both variants have the same value, or too few differ: no interval can be given."
    infinite = evidence.sums.n_infinite.get(name, 0)
    return f"{infinite} interactions with an infinite value are left out." if infinite else None


def request_level(evidence: Evidence, settings: Settings, treatment: str) -> RequestLevel:
    """What a test over single interactions would claim of the first primary metric."""
    primary = settings.plan.primary[0]
    found = evidence.sums.requests
    if settings.is_adaptive:
        return RequestLevel(None, None, None, sum(found[name].n for name in found), None)
    ours, theirs = (ratio_of_sums(found.get(name, empty(2))) for name in (settings.control, treatment))
    claimed = difference(ours, theirs, 1 - settings.plan.alpha)
    arms, _ = estimates(evidence, primary, with_covariates=False)
    right, wrong = standard_error(arms[settings.control], arms[treatment]), standard_error(ours, theirs)
    effect = (right[0] / wrong[0]) ** 2 if right and wrong else None
    n = sum(found[name].n for name in (settings.control, treatment) if name in found)
    return RequestLevel(claimed.p_value, claimed.ci_low, claimed.ci_high, n, effect)


def cuped(evidence: Evidence, settings: Settings, treatment: str) -> Cuped | None:
    """What the users' past takes out of the noise of the first primary metric; None where it is no ratio of sums."""
    primary = settings.plan.primary[0]
    if primary not in evidence.sums.metrics or not evidence.covariates:
        return None
    plain, with_past = (
        read_pair(settings, primary, treatment, estimates(evidence, primary, with_covariates=used)[0])
        for used in (False, True)
    )
    is_headline = bool(settings.plan.covariates)
    reduction = None
    if plain.error and with_past.error and evidence.sums.n_with_past:
        reduction = 1 - (with_past.error / plain.error) ** 2
    worth = 1 / (1 - reduction) - 1 if reduction is not None and reduction < 1 else None
    return Cuped(
        covariates=evidence.covariates,
        variance_reduction=reduction,
        worth_more_users=worth,
        unadjusted_effect=plain.comparison.effect,
        unadjusted_low=plain.low,
        unadjusted_high=plain.high,
        unadjusted_p=plain.p_value,
        is_headline=is_headline,
        sentence=_cuped_words(evidence, reduction, worth, is_headline),
    )


def _cuped_words(evidence: Evidence, reduction: float | None, worth: float | None, is_headline: bool) -> str:
    names = " and ".join(map(phrase_of, evidence.covariates))
    n_users = sum(evidence.sums.n_users.values())
    if not evidence.sums.n_with_past or reduction is None or worth is None:
        return f"No user's {names} from before the start is known, so nothing could be taken out of the noise."
    past = f"{evidence.sums.n_with_past} of {n_users} users have {names} from the 28 days before the start"
    if worth < 0.005:
        return f"{past}, but it explains next to nothing of what they do now."
    if is_headline:
        return f"{past}: adjusting by it (CUPED) works as if {worth:.0%} more users had come."
    return (
        f"{past}: adjusting by it (CUPED) would have worked as if {worth:.0%} more users had come, but the plan names "
        "no covariate, so the effect stands unadjusted."
    )


def own_interval(arm: Estimate | None, alpha: float) -> tuple[float | None, float | None]:
    """One variant's value with its own interval."""
    if arm is None or not arm.variance or arm.n < 2:
        return None, None
    reach = critical_value(1 - alpha / 2, arm.n - 1) * arm.variance**0.5
    return arm.value - reach, arm.value + reach
