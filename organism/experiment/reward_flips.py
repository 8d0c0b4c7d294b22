"""Which weights would flip what the experiment says of the reward? Linear algebra on utility sums: no rescan. Pure.

An arm's reward is Σ w·R / Σ w, R the vector of its mean utilities (ratios of sums by user). Its effect is w·d / Σ w
with d the difference of the two vectors and V the sum of their covariances, so that effect and standard error at any
weights are a line and the square root of a quadratic form.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from organism.experiment.analysis import Settings, read_pair
from organism.experiment.evidence import Design, Evidence
from organism.experiment.scorecard import WeightFlip, WeightsFlip
from organism.records import Moments
from organism.stats.compare import Estimate
from organism.stats.moments import combine

TINY = 1e-12
Numbers = npt.NDArray[np.float64]


class _Arm(NamedTuple):
    """An arm's mean utilities with their covariance by the delta method, and its users."""

    mean: Numbers
    variance: Numbers
    n: int

    def reward(self, weights: Numbers) -> Estimate:
        """The mean reward at these weights."""
        share = weights / weights.sum()
        return Estimate(float(share @ self.mean), float(share @ self.variance @ share), self.n)


class _Apart(NamedTuple):
    """How far the arms are apart: weights, differences of utilities, their covariance, and the critical value."""

    weights: Numbers
    effect: Numbers
    variance: Numbers
    critical: float | None


def read_flips(evidence: Evidence, settings: Settings, treatment: str) -> WeightsFlip | None:
    """The reward's effect, and the weights that would flip its sign, or whether it is sure; None without a design.

    The test is the one that counts: always-valid below the planned users, for one look at them.
    """
    design, found = evidence.design, evidence.sums.reward
    if design is None or not {settings.control, treatment} <= found.keys():
        return None
    weights = np.array([spec.weight for spec in design.signals])
    control, treated = _arm(found[settings.control]), _arm(found[treatment])
    if control is None or treated is None or not weights.sum() > 0:
        return None
    rewards: dict[str, Estimate | None] = {
        settings.control: control.reward(weights),
        treatment: treated.reward(weights),
    }
    reading = read_pair(settings, "reward", treatment, rewards)
    effect, high = reading.comparison.effect, reading.high
    reach = (high - effect) / reading.error if high is not None and effect is not None and reading.error else None
    apart = _Apart(weights, treated.mean - control.mean, control.variance + treated.variance, reach)
    flips = tuple(_flip(design, place, apart) for place in range(len(weights)))
    words = _sentence(effect, reading.low, reading.high, flips)
    return WeightsFlip(
        design.name, design.reward_design_id, effect, reading.low, reading.high, reading.p_value, flips, words
    )


def _arm(users: Moments) -> _Arm | None:
    """From utility sums and rows over users; None with fewer than two users."""
    k = len(users.mean) - 1
    if users.n < 2 or not users.mean[k]:
        return None
    ratios = np.array(users.mean[:k]) / users.mean[k]
    linear = np.hstack([np.eye(k), -ratios[:, None]]) / users.mean[k]
    return _Arm(ratios, np.array(combine(users, linear).cross) / (users.n - 1) / users.n, users.n)


def _flip(design: Design, place: int, apart: _Apart) -> WeightFlip:
    spec, now = design.signals[place], float(apart.weights[place])
    own = float(apart.effect[place])
    rest = float(apart.weights @ apart.effect) - now * own
    zero = -rest / own if abs(own) > TINY else None
    return WeightFlip(
        signal=spec.signal,
        weight=now,
        share=now / float(apart.weights.sum()),
        utility_effect=own,
        zero_at=zero if zero is not None and zero >= 0 else None,
        unsure_at=_unsure_at(place, apart),
    )


def _unsure_at(place: int, apart: _Apart) -> float | None:
    """The weight nearest to the present one at which the interval begins to hold 0, or stops to.

    (w·d)² = q² w·V·w is a quadratic equation in one weight.
    """
    if apart.critical is None:
        return None
    others = apart.weights.copy()
    others[place] = 0.0
    base, own = float(others @ apart.effect), float(apart.effect[place])
    q = apart.critical**2
    a = own**2 - q * float(apart.variance[place, place])
    b = 2 * (base * own - q * float(apart.variance[place] @ others))
    c = base**2 - q * float(others @ apart.variance @ others)
    roots = [float(root.real) for root in np.roots([a, b, c]) if abs(root.imag) <= TINY * max(1.0, abs(root))]
    reached = [root for root in roots if root >= 0]
    return min(reached, key=lambda root: abs(root - apart.weights[place])) if reached else None


def _sentence(effect: float | None, low: float | None, high: float | None, flips: tuple[WeightFlip, ...]) -> str:
    """What the reward says and which weight would flip it first."""
    if effect is None or low is None or high is None:
        return "Too little is known of the reward to say which weights would flip it."
    is_sure = low > 0 or high < 0
    said = f"The reward is {'surely ' if is_sure else 'not surely '}{'higher' if effect > 0 else 'lower'}"
    said += f" ({effect:+.3f}, interval {low:+.3f} to {high:+.3f})."
    reached = [flip for flip in flips if flip.unsure_at is not None and _is_near(flip)]
    if not reached:
        return f"{said} No single weight between none and ten times its value would change that."
    nearest = min(reached, key=lambda flip: abs(_ratio(flip)))
    change = "that would not be sure any more" if is_sure else "it would be sure, one way or the other"
    return f"{said} With the weight of {nearest.signal} at {nearest.unsure_at:.3g} (now {nearest.weight:.3g}) {change}."


def _is_near(flip: WeightFlip) -> bool:
    return flip.unsure_at is not None and flip.unsure_at <= 10 * flip.weight


def _ratio(flip: WeightFlip) -> float:
    return ((flip.unsure_at or 0.0) - flip.weight) / (flip.weight or 1.0)
