"""CUPED: what users did before the experiment explains part of what they do in it, and is taken out of the noise.

Deng, Xu, Kohavi and Walker (2013, "Improving the sensitivity of online controlled experiments by utilizing
pre-experiment data"). θ is one for all arms: the regression of the outcome on the covariates over all users of all
arms together, so that no arm gets a correction of its own. A covariate must be known before the exposure.
"""

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np

from organism.records import Moments
from organism.stats.compare import CONSTANT, ROUNDING, Estimate, difference, mean_of, ratio_of_sums
from organism.stats.moments import Matrix, combine, merge_all

# A covariate of which the earlier ones explain all but this part adds nothing but rounding.
COLLINEAR = 1e-9
# Each covariate costs a degree of freedom that the interval does not count; with this many users it does not show.
USERS_PER_COVARIATE = 10
# A covariate from before the exposure differs between arms by chance alone; below this p it is said that it does.
IMBALANCED = 0.001

# The columns of an outcome or a covariate: one (a mean), or num and den (a ratio of sums).
Term = tuple[int, ...]


class Adjusted(NamedTuple):
    """The arms' values at the same covariates, in the order of the arms.

    `variance_reduction` is the share of the variance of the arms' values that is gone (0.3: as good as 1/0.7 times
    the users); `theta` has one slope a covariate, 0 where it was dropped. `note` says which were dropped and why, and
    where a covariate differs between arms, which what happened before the exposure does not do. Without a usable
    covariate the estimates are the unadjusted ones and the reduction is None.
    """

    estimates: tuple[Estimate | None, ...]
    variance_reduction: float | None
    theta: tuple[float, ...]
    note: str


def adjust(
    arms: Sequence[Moments], n_outcome: int, *, ratio_covariates: int = 0, names: Sequence[str] = ()
) -> Adjusted:
    """The arms' means (n_outcome = 1) or ratios of sums (2: num, den), adjusted by the covariates that follow.

    Columns of every arm: the outcome's, then `ratio_covariates` pairs (num, den) of covariates that are ratios of
    sums themselves, then covariates of one column. value = R − θ·(X − X over all arms), variance that of the
    linearized R − θ·X over users. So the relative effect is over the adjusted control: numerator and denominator are
    at the same covariates, and Fieller's interval keeps agreeing with the absolute one. `names` are for the note.
    """
    terms = _terms(arms, n_outcome, ratio_covariates)
    named = [names[i] if i < len(names) else f"covariate {i + 1}" for i in range(len(terms) - 1)]
    plain = tuple(mean_of(arm) if n_outcome == 1 else ratio_of_sums(arm) for arm in arms)
    present = [arm for arm, estimate in zip(arms, plain, strict=True) if estimate]
    if not present or not named:
        return Adjusted(plain, None, (0.0,) * len(named), "")
    kept, reasons = _usable(present, terms)
    note = _note(named, reasons, _imbalanced(present, terms, kept))
    if not kept:
        return Adjusted(plain, None, (0.0,) * len(named), note)
    theta = _theta(merge_all(present), terms, kept)
    center = _values(merge_all(present), terms)
    estimates = tuple(
        _adjusted(arm, estimate, terms, theta, center) if estimate else None
        for arm, estimate in zip(arms, plain, strict=True)
    )
    return Adjusted(estimates, _reduction(plain, estimates), tuple(theta.tolist()), note)


def _terms(arms: Sequence[Moments], n_outcome: int, ratio_covariates: int) -> list[Term]:
    """Which columns make up the outcome and each covariate: one column (a mean) or two (num, den)."""
    if n_outcome not in (1, 2):
        raise ValueError(f"an outcome has 1 column (a mean) or 2 (num and den of a ratio); found {n_outcome}")
    widths = {len(arm.mean) for arm in arms}
    first = n_outcome + 2 * ratio_covariates
    if len(widths) != 1 or (width := widths.pop()) < first:
        raise ValueError(
            f"found arms of {sorted(len(arm.mean) for arm in arms)} columns; wanted {first} or more, as many in each"
        )
    pairs = [(column, column + 1) for column in range(n_outcome, first, 2)]
    return [tuple(range(n_outcome)), *pairs, *((column,) for column in range(first, width))]


def _values(users: Moments, terms: Sequence[Term]) -> Matrix:
    """The mean or ratio of each term; NaN where a denominator is not above 0."""
    mean = users.mean
    found = [mean[t[0]] if len(t) == 1 else mean[t[0]] / mean[t[1]] if mean[t[1]] > 0 else float("nan") for t in terms]
    return np.array(found)


def _linear(users: Moments, terms: Sequence[Term]) -> Matrix:
    """Cross-products (terms × terms) of the terms linearized at this group's own values: (num − R·den) / mean(den)."""
    weights = np.zeros((len(terms), len(users.mean)))
    for row, (term, value) in enumerate(zip(terms, _values(users, terms), strict=True)):
        den = users.mean[term[1]] if len(term) == 2 else 1.0
        weights[row, term[0]] = 1 / den
        if len(term) == 2:
            weights[row, term[1]] = -value / den
    return np.array(combine(users, weights).cross)


def _usable(arms: Sequence[Moments], terms: Sequence[Term]) -> tuple[list[int], dict[int, str]]:
    """The covariates (1 is the first) to adjust by, and why the others are not."""
    kept: list[int] = []
    reasons: dict[int, str] = {}
    fewest, whole = min(arm.n for arm in arms), merge_all(arms)
    for j in range(1, len(terms)):
        if not all(isfinite(_values(users, [terms[j]])[0]) for users in (*arms, whole)):
            reasons[j] = "has a denominator that is not above 0, or values that are not finite"
        elif _is_constant(arms, terms[j]):
            reasons[j] = "is the same for every user of an arm"
        elif fewest < USERS_PER_COVARIATE * (len(kept) + 1):
            reasons[j] = f"would need {USERS_PER_COVARIATE * (len(kept) + 1)} users an arm, found {fewest}"
        elif kept and _explained(arms, [terms[k] for k in kept], terms[j]):
            reasons[j] = "follows from the others"
        else:
            kept.append(j)
    return kept, reasons


def _is_constant(arms: Sequence[Moments], term: Term) -> bool:
    """No spread within arms: differences between arms alone would take the effect itself for noise."""
    spread = sum(_linear(arm, [term])[0, 0] for arm in arms)
    size = sum(arm.n * _values(arm, [term])[0] ** 2 for arm in arms)
    return bool(spread <= CONSTANT**2 * size)


def _explained(arms: Sequence[Moments], kept: Sequence[Term], term: Term) -> bool:
    """Do the covariates kept so far already say all that this one does, within arms?"""
    cross = sum((_linear(arm, [*kept, term]) for arm in arms), np.zeros((len(kept) + 1, len(kept) + 1)))
    scale = np.sqrt(np.diag(cross))
    correlation = cross / np.outer(scale, scale)
    rest = 1 - correlation[-1, :-1] @ np.linalg.solve(correlation[:-1, :-1], correlation[:-1, -1])
    return bool(rest < COLLINEAR)


def _theta(users: Moments, terms: Sequence[Term], kept: Sequence[int]) -> Matrix:
    """The slopes of the outcome on the kept covariates over all users; 0 for the dropped. Shape (covariates,)."""
    cross = _linear(users, [terms[0], *(terms[k] for k in kept)])
    scale = np.sqrt(np.diag(cross)[1:])
    correlation = cross[1:, 1:] / np.outer(scale, scale)
    theta = np.zeros(len(terms) - 1)
    theta[np.array(kept) - 1] = np.linalg.solve(correlation, cross[1:, 0] / scale) / scale
    return theta


def _adjusted(arm: Moments, plain: Estimate, terms: Sequence[Term], theta: Matrix, center: Matrix) -> Estimate:
    """One arm's value at the covariates of all arms together, and its variance."""
    used = [0, *(np.flatnonzero(theta) + 1).tolist()]
    slopes = theta[theta != 0]
    chosen = [terms[k] for k in used]
    value = plain.value - float(slopes @ (_values(arm, chosen) - center[used])[1:])
    if not plain.variance:
        return Estimate(value, plain.variance, arm.n)
    cross = _linear(arm, chosen)
    weights = np.array([1.0, *(-slopes)])
    spread = float(weights @ cross @ weights)
    variance = spread / (arm.n - 1) / arm.n if spread > ROUNDING * cross[0, 0] else 0.0
    return Estimate(value, variance, arm.n)


def _reduction(plain: Sequence[Estimate | None], adjusted: Sequence[Estimate | None]) -> float | None:
    """1 − Σ adjusted variances / Σ plain ones; None where an arm has none."""
    before = [estimate.variance for estimate in plain if estimate]
    after = [estimate.variance for estimate in adjusted if estimate]
    if None in before or None in after:
        return None
    whole = sum(v for v in before if v is not None)
    return 1 - sum(v for v in after if v is not None) / whole if whole > 0 else None


def _imbalanced(arms: Sequence[Moments], terms: Sequence[Term], kept: Sequence[int]) -> list[tuple[int, float]]:
    """The covariates in which another arm differs from the first by more than chance, with the p that says so."""
    found = []
    for j in kept:
        first, *others = (
            mean_of(arm, *terms[j]) if len(terms[j]) == 1 else ratio_of_sums(arm, *terms[j]) for arm in arms
        )
        p_values = [p for other in others if (p := difference(first, other).p_value) is not None]
        if p_values and min(p_values) * len(p_values) < IMBALANCED:
            found.append((j, min(p_values) * len(p_values)))
    return found


def _note(names: Sequence[str], reasons: dict[int, str], imbalanced: Sequence[tuple[int, float]]) -> str:
    dropped = [f"not adjusted by {names[j - 1]}: it {why}" for j, why in reasons.items()]
    doubtful = [
        f"{names[j - 1]} differs between the arms (p = {p:.1g}): is it known before the exposure?"
        for j, p in imbalanced
    ]
    return "; ".join(dropped + doubtful)
