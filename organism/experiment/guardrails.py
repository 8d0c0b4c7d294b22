"""Does a treatment stay within the margins that were agreed on? One-sided, at every look while it runs. Pure."""

from math import copysign
from typing import NamedTuple

from organism.experiment.analysis import Settings, estimates
from organism.experiment.evidence import Evidence
from organism.experiment.plan import Guard
from organism.experiment.scorecard import Guardrail, GuardrailState
from organism.stats.compare import Estimate, above_margin, below_margin, standard_error
from organism.stats.sequential import Alternative, one_sided_sequence

FEWEST_ALIKE = 60.0
"""Where nobody planned a size: with 30 users alike in an arm at most a tenth of all may differ (rule of three)."""


class _Sides(NamedTuple):
    """`other` less `reference` is how much worse the treatment is beyond the relative margin; `limit` bounds it.

    `shift` brings that back to how much worse it is at all.
    """

    reference: Estimate
    other: Estimate
    limit: float
    shift: float


class _Tested(NamedTuple):
    """One-sided limits of how much worse it is, and p that it is not within, and not beyond, the margin."""

    at_most: float | None
    at_least: float | None
    p_within: float | None
    p_beyond: float | None


def read_guardrails(evidence: Evidence, settings: Settings) -> tuple[Guardrail, ...]:
    """Every guardrail of every treatment, in the plan's order."""
    return tuple(
        _guardrail(evidence, settings, guard, treatment)
        for guard in settings.plan.guardrails
        for treatment in settings.treatments
    )


def _guardrail(evidence: Evidence, settings: Settings, guard: Guard, treatment: str) -> Guardrail:
    measure = evidence.measure[guard.metric]
    arms, _ = estimates(evidence, guard.metric, with_covariates=bool(settings.plan.covariates))
    control, treated = arms[settings.control], arms[treatment]
    found = Guardrail(
        guard.metric, measure.label, guard.margin, guard.is_relative, GuardrailState.OPEN, None, treatment
    )
    if control is None and treated is None:
        return found._replace(state=GuardrailState.UNMEASURED)
    if control is None or treated is None:
        return found
    better = measure.better or 1
    sides = _sides(control, treated, guard, better)
    worse = better * (control.value - treated.value)
    limit = sides.limit + sides.shift
    found = found._replace(worse=worse, limit=limit, is_sequential=not settings.is_fixed)
    if control.variance == 0 and treated.variance == 0:
        return found._replace(
            state=_constant(control, treated, is_within=worse < limit, enough=_enough(settings, treatment))
        )
    tested = _tested(settings, sides, treatment)
    return found._replace(
        state=_state(tested, settings.plan.alpha),
        p_value=tested.p_within,
        worse_at_most=None if tested.at_most is None else tested.at_most + sides.shift,
        worse_at_least=None if tested.at_least is None else tested.at_least + sides.shift,
    )


def _enough(settings: Settings, treatment: str) -> float:
    """The users of both arms that the plan wants; without a planned size `FEWEST_ALIKE`."""
    return settings.tuning(treatment) if settings.n_planned else FEWEST_ALIKE


def _constant(control: Estimate, treated: Estimate, *, is_within: bool, enough: float) -> GuardrailState:
    """Both arms hold one value. No error in n users still leaves up to 3/n of them to have one (rule of three).

    So few users do not show that it holds: it is open below the `enough` users of both arms.
    """
    if not is_within:
        return GuardrailState.BROKEN
    return GuardrailState.HOLDS if control.n + treated.n >= enough else GuardrailState.OPEN


def _sides(control: Estimate, treated: Estimate, guard: Guard, better: int) -> _Sides:
    """A margin in percent is tested without taking the control's value for known (Fieller 1954)."""
    shift = guard.margin * abs(control.value) if guard.is_relative else 0.0
    if guard.is_relative:
        factor = 1 - better * copysign(guard.margin, control.value)
        variance = None if control.variance is None else control.variance * factor**2
        control = Estimate(control.value * factor, variance, control.n)
    limit = 0.0 if guard.is_relative else guard.margin
    return _Sides(control, treated, limit, shift) if better < 0 else _Sides(treated, control, limit, shift)


def _tested(settings: Settings, sides: _Sides, treatment: str) -> _Tested:
    alpha = settings.plan.alpha
    if settings.is_fixed:
        below = below_margin(sides.reference, sides.other, sides.limit, 1 - alpha)
        above = above_margin(sides.reference, sides.other, sides.limit, 1 - alpha)
        if below is None or above is None:
            return _Tested(None, None, None, None)
        return _Tested(below.bound, above.bound, below.p_value, above.p_value)
    found = standard_error(sides.reference, sides.other)
    if found is None:
        return _Tested(None, None, None, None)
    within, beyond = (
        one_sided_sequence(
            sides.other.value - sides.reference.value,
            found[0],
            sides.reference.n + sides.other.n,
            margin=sides.limit,
            alternative=side,
            alpha=alpha,
            tuning=settings.tuning(treatment),
            degrees=found[1],
        )
        for side in (Alternative.LESS, Alternative.GREATER)
    )
    return _Tested(within.bound, beyond.bound, within.p_value, beyond.p_value)


def _state(tested: _Tested, alpha: float) -> GuardrailState:
    if tested.p_within is not None and tested.p_within <= alpha:
        return GuardrailState.HOLDS
    if tested.p_beyond is not None and tested.p_beyond <= alpha:
        return GuardrailState.BROKEN
    return GuardrailState.OPEN
