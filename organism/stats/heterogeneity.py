"""Does the effect differ between segments, or do their estimates scatter as chance alone would have them?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

Values = npt.NDArray[np.float64]


class Heterogeneity(NamedTuple):
    """The effects of segments taken together.

    `pooled` is their precision-weighted mean with its `variance`; `q` Cochran's statistic with `degrees` and the
    p that all share one effect; `i2` the share of their scatter (0 to 1) that chance does not explain; `tau2` the
    variance of the true effects between segments.
    """

    q: float
    degrees: int
    p_value: float
    i2: float
    tau2: float
    pooled: float
    variance: float


def cochran_q(effects: Sequence[float | None], variances: Sequence[float | None]) -> Heterogeneity | None:
    """Cochran's Q over independent segments (1954), I² (Higgins and Thompson 2002) and tau² (Paule and Mandel 1982).

    A segment without an effect or a variance above 0 is left out; None with fewer than two left.
    """
    if len(effects) != len(variances):
        raise ValueError(f"found {len(effects)} effects and {len(variances)} variances; wanted one of each a segment")
    known = [(y, v) for y, v in zip(effects, variances, strict=True) if y is not None and v is not None and v > 0]
    if len(known) < 2:
        return None
    y, v = np.array(known, dtype=float).T
    pooled, q = _scatter(y, v, 0.0)
    degrees = len(y) - 1
    return Heterogeneity(
        q=q,
        degrees=degrees,
        p_value=float(chdtrc(degrees, q)),
        i2=max(0.0, 1 - degrees / q) if q else 0.0,
        tau2=_between(y, v),
        pooled=pooled,
        variance=float(1 / np.sum(1 / v)),
    )


def _scatter(y: Values, v: Values, tau2: float) -> tuple[float, float]:
    """The weighted mean and the weighted sum of squares about it when the true effects vary by tau²."""
    w = 1 / (v + tau2)
    mean = float(w @ y / w.sum())
    return mean, float(w @ (y - mean) ** 2)


def _between(y: Values, v: Values) -> float:
    """tau² at which the scatter equals its expectation k - 1, by bisection; 0 when chance alone explains it."""
    degrees = len(y) - 1
    if _scatter(y, v, 0.0)[1] <= degrees:
        return 0.0
    low, high = 0.0, float(np.sum((y - y.mean()) ** 2)) / degrees * 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _scatter(y, v, middle)[1] > degrees else (low, middle)
    return (low + high) / 2
