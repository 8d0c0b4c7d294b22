"""May a quick measure (the reward, S) stand in for the slow one (the outcome, T) when a treatment (Z) is judged?

Individual level: Prentice's four criteria (1989, Statistics in Medicine 8), Freedman's proportion of the treatment
effect explained (Freedman, Graubard and Schatzkin 1992) and Buyse and Molenberghs' relative effect and adjusted
association (1998, Biometrics 54). Across deployments: do effects on the reward go with effects on the outcome?
"""

from collections.abc import Sequence
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtr

from organism.records import Interval
from organism.stats.rank_correlation import rank_correlation

Numbers = npt.NDArray[np.float64]
MIN_DEPLOYMENTS = 8
NOT_ENOUGH = "not enough deployments to judge"
ALPHA = 0.05
UNBOUNDED = "The proportion explained is not a share: it can lie under 0 or above 1, and it does here."
UNSTABLE = "The effect on the outcome may be 0, so the proportion explained is unstable; do not act on it."
WIDE = "The interval of the proportion explained is wider than 1: these rows cannot tell little from all."
NO_PROOF = "Prentice's last criterion is met by finding nothing, and finding nothing proves little."


class Surrogate(NamedTuple):
    """What a reward says about a treatment's effect on an outcome; None where the data cannot say.

    `pte` = 1 - (effect on T given S) / (effect on T), with a bootstrap interval over users; `relative_effect` =
    effect on T / effect on S; `adjusted_association` is the correlation of S and T within the arms. `prentice` says
    of the four criteria, in their order, whether each is met at the 5% level. `warnings` are sentences.
    """

    n_rows: int
    n_users: int
    effect_on_outcome: Interval
    p_effect_on_outcome: float | None
    effect_on_reward: float | None
    p_effect_on_reward: float | None
    reward_slope: float | None
    p_reward_slope: float | None
    residual_effect: float | None
    p_residual_effect: float | None
    pte: Interval
    relative_effect: float | None
    adjusted_association: float | None
    spearman: float | None
    prentice: tuple[bool | None, bool | None, bool | None, bool | None]
    warnings: tuple[str, ...]


class AcrossDeployments(NamedTuple):
    """Over n deployments the rank correlation of the effects on the reward and on the outcome, in a sentence."""

    n: int
    spearman: float | None
    sentence: str


class _Fit(NamedTuple):
    """Coefficients of a regression with an intercept first, and their two-sided p."""

    coefficients: Numbers
    p: Numbers


def surrogate(
    treated: npt.ArrayLike,
    reward: npt.ArrayLike,
    outcome: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    users: Sequence[object] | npt.NDArray[Any] | None = None,
    n: int = 2000,
    level: float = 0.95,
) -> Surrogate | None:
    """Judge the reward as a surrogate on n rows of (0 or 1, reward, outcome); None when an arm or a spread is missing.

    Least squares. With `users`, p is robust to rows of one user being alike (CR1, t with users - 1 degrees) and whole
    users are resampled; without, every row is a user of its own and p is the classical one.
    """
    rows = np.column_stack([np.asarray(column, dtype=float) for column in (treated, reward, outcome)])
    keep = np.isfinite(rows).all(axis=1)
    z, s, t = rows[keep].T
    if len(z) < 4 or min(np.ptp(z), np.ptp(s), np.ptp(t)) == 0:
        return None
    owner = np.arange(len(z)) if users is None else pd.factorize(np.asarray(users, dtype=object)[keep])[0]
    on_t, on_s, both = (_fit(x, y, owner, clustered=users is not None) for x, y in (([z], t), ([z], s), ([z, s], t)))
    if both is None or on_t is None or on_s is None:
        return None
    pte, effect = _bootstrap(z, s, t, owner, rng, n, level)
    total, quick, left = float(on_t.coefficients[1]), float(on_s.coefficients[1]), float(both.coefficients[1])
    pte = pte._replace(estimate=1 - left / total if total else None)
    return Surrogate(
        n_rows=len(z),
        n_users=int(owner.max()) + 1,
        effect_on_outcome=effect._replace(estimate=total),
        p_effect_on_outcome=_known(on_t.p[1]),
        effect_on_reward=quick,
        p_effect_on_reward=_known(on_s.p[1]),
        reward_slope=float(both.coefficients[2]),
        p_reward_slope=_known(both.p[2]),
        residual_effect=left,
        p_residual_effect=_known(both.p[1]),
        pte=pte,
        relative_effect=total / quick if quick else None,
        adjusted_association=_adjusted(z, s, t),
        spearman=rank_correlation(s, t, groups=np.zeros(len(z)), users=owner, rng=rng, n=1).overall.estimate,
        prentice=_prentice(on_t, on_s, both),
        warnings=_warnings(pte, effect, both),
    )


def across_deployments(effects: Sequence[tuple[float, float]]) -> AcrossDeployments:
    """Do deployments that raised the reward more also raise the outcome more? Pairs of (on reward, on outcome)."""
    if len(effects) < MIN_DEPLOYMENTS:
        return AcrossDeployments(len(effects), None, NOT_ENOUGH)
    on_reward, on_outcome = np.asarray(effects, dtype=float).T
    numbers = np.arange(len(effects))
    found = rank_correlation(
        on_reward, on_outcome, groups=np.zeros(len(effects)), users=numbers, rng=np.random.default_rng(0), n=1000
    ).overall
    if found.estimate is None or found.low is None or found.high is None:
        return AcrossDeployments(len(effects), None, "the deployments' effects do not differ, so there is no order")
    sentence = (
        f"Over {len(effects)} deployments the effects on reward and outcome have a rank correlation of "
        f"{found.estimate:.2f} ({found.low:.2f} to {found.high:.2f})."
    )
    return AcrossDeployments(len(effects), found.estimate, sentence)


def _fit(columns: Sequence[Numbers], y: Numbers, owner: npt.NDArray[np.intp], *, clustered: bool) -> _Fit | None:
    """Ordinary least squares with an intercept; None when the columns do not stand on their own."""
    x = np.column_stack([np.ones(len(y)), *columns])
    gram = x.T @ x
    if np.linalg.matrix_rank(gram) < len(gram):
        return None
    inverse = np.linalg.inv(gram)
    coefficients = inverse @ x.T @ y
    errors = y - x @ coefficients
    spare = len(y) - x.shape[1]
    if clustered:
        size = int(owner.max()) + 1
        scores = np.column_stack([np.bincount(owner, weights=c * errors, minlength=size) for c in x.T])
        factor = size / max(size - 1, 1) * (len(y) - 1) / max(spare, 1)
        variance, degrees = factor * inverse @ (scores.T @ scores) @ inverse, size - 1
    else:
        variance, degrees = inverse * (errors @ errors) / max(spare, 1), spare
    error = np.sqrt(np.maximum(np.diag(variance), 0))
    ratio = np.divide(np.abs(coefficients), error, out=np.full(len(error), np.nan), where=error > 0)
    return _Fit(coefficients, 2 * stdtr(max(degrees, 1), -ratio))


def _bootstrap(
    z: Numbers, s: Numbers, t: Numbers, owner: npt.NDArray[np.intp], rng: np.random.Generator, n: int, level: float
) -> tuple[Interval, Interval]:
    """Percentile intervals of the proportion explained and of the effect on the outcome, whole users resampled.

    Both are functions of sums of products, so a resample is a weighted sum of the users' sums, not of their rows.
    """
    size = int(owner.max()) + 1
    table = np.column_stack([np.ones(len(z)), z, s - s.mean(), t - t.mean()])
    pairs = [(i, j) for i in range(4) for j in range(i, 4)]
    sums = np.column_stack([np.bincount(owner, weights=table[:, i] * table[:, j], minlength=size) for i, j in pairs])
    drawn = rng.multinomial(size, np.full(size, 1 / size), size=n) @ sums
    found = dict(zip(pairs, drawn.T, strict=True))

    def cross(i: int, j: int) -> Numbers:
        return found[i, j] - found[0, i] * found[0, j] / found[0, 0]

    with np.errstate(divide="ignore", invalid="ignore"):
        zz, ss, zs, zt, st = cross(1, 1), cross(2, 2), cross(1, 2), cross(1, 3), cross(2, 3)
        total = zt / zz
        left = (zt * ss - st * zs) / (zz * ss - zs * zs)
        pte = 1 - left / total
    return _percentiles(pte, level, size), _percentiles(total, level, size)


def _percentiles(draws: Numbers, level: float, n_users: int) -> Interval:
    usable = draws[np.isfinite(draws)]
    if n_users < 2 or not len(usable):
        return Interval(None, None, None)
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    return Interval(None, float(low), float(high))


def _adjusted(z: Numbers, s: Numbers, t: Numbers) -> float | None:
    """The correlation of S and T after each arm's own mean is taken off."""
    arms = z > z.mean()
    left, right = (v - np.where(arms, v[arms].mean(), v[~arms].mean()) for v in (s, t))
    spread = sqrt(float(left @ left) * float(right @ right))
    return float(left @ right) / spread if spread else None


def _known(p: float) -> float | None:
    return None if np.isnan(p) else float(p)


def _prentice(on_t: _Fit, on_s: _Fit, both: _Fit) -> tuple[bool | None, bool | None, bool | None, bool | None]:
    """Z moves S; Z moves T; S goes with T given Z; Z adds nothing given S. None where p is unknown."""
    first, second, third, last = (_known(p) for p in (on_s.p[1], on_t.p[1], both.p[2], both.p[1]))
    moves, matters, goes_with = (None if p is None else p < ALPHA for p in (first, second, third))
    return moves, matters, goes_with, None if last is None else last >= ALPHA


def _warnings(pte: Interval, effect: Interval, both: _Fit) -> tuple[str, ...]:
    said = []
    if pte.estimate is not None and not 0 <= pte.estimate <= 1:
        said.append(UNBOUNDED)
    if effect.low is None or effect.high is None or effect.low <= 0 <= effect.high:
        said.append(UNSTABLE)
    elif pte.low is not None and pte.high is not None and pte.high - pte.low > 1:
        said.append(WIDE)
    if both.p[1] >= ALPHA:
        said.append(NO_PROOF)
    return tuple(said)
