"""What an experiment says, from sums alone: every metric of every variant against control, in numbers and words. Pure.

effect = treatment - control, over units. What cannot be said is None, and a sentence says why.
"""

from typing import NamedTuple

from organism.experiment.metrics import MetricKind

Pair = tuple[float, float]
# A split this unlikely blocks the scorecard.
SRM_ALPHA = 0.001
# Units seen under two variants, as a share of all: above it no effect can be believed.
MAX_IN_BOTH = 0.001


class MetricResult(NamedTuple):
    """One metric, one treatment against control.

    `effect`, `ci` and `p_value` come of one statistic, so they never contradict; `relative` is the effect over the size
    of the control's value, with Fieller's interval (of a proportion: the score interval of the ratio). With covariates
    the means are those adjusted for them, and `variance_reduction` is the share of the effect's variance that went.
    `sequence_ci` and `sequence_p` hold at every look. `p_adjusted` is p after `adjustment`, in words. `chance_to_win`
    is the probability that the treatment is the better one and `expected_loss` what is lost on average, in the metric's
    unit, by taking it: both for a flat prior.
    """

    metric: str
    kind: MetricKind
    variant: str
    control: str
    n_control: int
    n_treatment: int
    mean_control: float | None
    mean_treatment: float | None
    effect: float | None
    ci: Pair | None
    p_value: float | None
    relative: float | None
    relative_ci: Pair | None
    method: str
    alpha: float
    sequence_ci: Pair | None = None
    sequence_p: float | None = None
    p_adjusted: float | None = None
    adjustment: str | None = None
    variance_reduction: float | None = None
    chance_to_win: float | None = None
    expected_loss: float | None = None
    note: str | None = None


class SegmentResult(NamedTuple):
    """One metric, one treatment against control, among the units of one segment's value (None: those without one)."""

    segment: str
    value: str | None
    metric: str
    kind: MetricKind
    variant: str
    control: str
    n_control: int
    n_treatment: int
    mean_control: float | None
    mean_treatment: float | None
    effect: float | None
    ci: Pair | None
    p_value: float | None
    relative: float | None
    relative_ci: Pair | None
    method: str
    alpha: float
    p_adjusted: float | None = None
    adjustment: str | None = None
    note: str | None = None


class Heterogeneity(NamedTuple):
    """Does the effect differ between a segment's values? Cochran's Q over them."""

    segment: str
    metric: str
    variant: str
    n_values: int
    q: float | None
    p_value: float | None
    i_squared: float | None
    note: str | None = None


class Srm(NamedTuple):
    """Did the units split as planned? `blocked`: they did not, and no effect can be believed.

    `p_value` is the chi-square p at this look; `sequential_p` holds at every look so far, None where no looks were
    given. p is None where there is nothing to test, such as one variant.
    """

    p_value: float | None
    sequential_p: float | None
    blocked: bool
    counts: dict[str, int]
    shares: dict[str, float]


class Readout(NamedTuple):
    """The whole of it; `warnings` are sentences."""

    srm: Srm
    metrics: tuple[MetricResult, ...]
    segments: tuple[SegmentResult, ...]
    heterogeneity: tuple[Heterogeneity, ...]
    warnings: tuple[str, ...]
