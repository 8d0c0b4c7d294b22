"""What is said about an experiment: the types that rules fill and that pages, the command line and HTTP show."""

from enum import StrEnum
from typing import Any, NamedTuple

from organism.records import Verdict
from organism.stats.compare import Comparison


class IntervalKind(StrEnum):
    """Which interval the verdict is read from."""

    ALWAYS_VALID = "always-valid"
    FIXED = "fixed-horizon, at the planned size"
    WITHHELD = "withheld: the shares followed the results, and their probabilities are not on record"


class GuardrailState(StrEnum):
    """Whether the treatment stays within a guardrail's margin."""

    HOLDS = "holds"
    BROKEN = "broken"
    OPEN = "open"
    UNMEASURED = "unmeasured"


class Role(StrEnum):
    """What a metric is in the plan."""

    PRIMARY = "primary"
    GUARDRAIL = "guardrail"
    WATCHED = "watched"


class Rule(NamedTuple):
    """A rule's name, what it decides, and when, in words. Rules are tried in order; the first that fits fires."""

    name: str
    verdict: Verdict
    when: str


class MetricRow(NamedTuple):
    """One metric of a treatment against the control, users as the units. `better`: +1 more, −1 less, 0 either.

    `comparison` is for one look at a planned size; `sequence_low`, `sequence_high` and `sequence_p` hold at every look.
    `p_adjusted` is Holm's over all primary metrics and treatments (None for others), of the p that counts. `note` says
    why something cannot be said.
    """

    metric: str
    label: str
    better: int
    comparison: Comparison
    variant: str = ""
    role: Role = Role.WATCHED
    kind: str = "ratio"
    method: str = ""
    sequence_low: float | None = None
    sequence_high: float | None = None
    sequence_p: float | None = None
    p_adjusted: float | None = None
    variance_reduction: float | None = None
    chance_to_win: float | None = None
    expected_loss: float | None = None
    note: str | None = None


class Guardrail(NamedTuple):
    """A metric that may not get worse than a margin, tested one-sided.

    `margin` is a share of the control's value when `is_relative`, else in the metric's own unit; `p_value` is
    for "it got worse by the margin or more", None where the data cannot say. `worse` is how much worse the treatment
    is, in the metric's own unit (below 0: better), `worse_at_most` and `worse_at_least` its one-sided limits; they hold
    at every look when `is_sequential`. `limit` is the margin in the metric's own unit.
    """

    metric: str
    label: str
    margin: float
    is_relative: bool
    state: GuardrailState
    p_value: float | None
    variant: str = ""
    worse: float | None = None
    worse_at_most: float | None = None
    worse_at_least: float | None = None
    limit: float | None = None
    is_sequential: bool = False


class RequestLevel(NamedTuple):
    """What a test over single requests would have claimed, and by how much its variance is too small."""

    p_value: float | None
    ci_low: float | None
    ci_high: float | None
    n_requests: int
    design_effect: float | None


class VariantRow(NamedTuple):
    """One variant: its planned share, its users, those with a known answer, and its mean of the first primary metric.

    `low` and `high` are the mean's own 95% interval.
    """

    name: str
    share: float
    n_users: int
    n_known: int
    mean: float | None
    low: float | None
    high: float | None
    is_control: bool
    model_version_id: str | None = None
    prompt: str | None = None


class SplitCheck(NamedTuple):
    """Did users fall into the variants as planned? `sequential_p` holds at every look, and decides where there are any.

    `p_value` is for this look alone, and decides without looks. Both are None where the shares followed the results,
    so that no fixed split was planned, and before the first user; `sentence` says so.
    """

    p_value: float | None
    sequential_p: float | None
    blocked: bool
    counts: dict[str, int]
    shares: dict[str, float]
    sentence: str

    @property
    def deciding_p(self) -> float | None:
        """The p that blocks below 0.001: a p for one look, read at each of 30, would block 0.9% of fair splits."""
        return self.p_value if self.sequential_p is None else self.sequential_p


class SegmentRow(NamedTuple):
    """The first primary metric within one segment of users; `p_adjusted` is Benjamini and Hochberg's over all rows."""

    segment: str
    value: str
    metric: str
    variant: str
    n_control: int
    n_treatment: int
    mean_control: float | None
    mean_treatment: float | None
    effect: float | None
    low: float | None
    high: float | None
    p_value: float | None
    p_adjusted: float | None
    note: str | None = None


class Heterogeneity(NamedTuple):
    """Is the effect the same in all values of a segment? Cochran's Q with its p, and I², the share beyond chance."""

    segment: str
    variant: str
    q: float | None
    degrees: int
    p_value: float | None
    i_squared: float | None
    sentence: str


class NoveltyDay(NamedTuple):
    """The effect on what users did `day` days after they first met their variant (0: the first 24 hours)."""

    day: int
    effect: float | None
    low: float | None
    high: float | None
    n_control: int
    n_treatment: int


class Novelty(NamedTuple):
    """Does the effect wear off or grow? `slope` is its change a day since exposure, with interval and p."""

    days: tuple[NoveltyDay, ...]
    slope: float | None
    slope_low: float | None
    slope_high: float | None
    slope_p: float | None
    sentence: str


class WeightFlip(NamedTuple):
    """At which weight of one signal, the others as they are, the sign of the reward's effect or its being sure flips.

    `utility_effect` is treatment − control in the signal's utility. `share` is the signal's part of all weight now.
    `zero_at` is the weight at which the effect is 0; `unsure_at` the nearest at which its interval first holds 0, or
    stops to. None where no weight from 0 on does that.
    """

    signal: str
    weight: float
    share: float
    utility_effect: float | None
    zero_at: float | None
    unsure_at: float | None


class WeightsFlip(NamedTuple):
    """The reward composite of the plan's design, and which weights would flip what its test says."""

    design: str
    reward_design_id: str
    effect: float | None
    low: float | None
    high: float | None
    p_value: float | None
    flips: tuple[WeightFlip, ...]
    sentence: str


class Cuped(NamedTuple):
    """What users' own past took out of the noise of the first primary metric, and the effect without it.

    `worth_more_users` is the gain as a share: 0.3 reads as if 30% more users had come.
    """

    covariates: tuple[str, ...]
    variance_reduction: float | None
    worth_more_users: float | None
    unadjusted_effect: float | None
    unadjusted_low: float | None
    unadjusted_high: float | None
    unadjusted_p: float | None
    is_headline: bool
    sentence: str


class PlanChange(NamedTuple):
    """One version of the plan: who wrote it when, why, and what differs from the version before."""

    version: int
    actor: str
    why: str
    created_at: str
    changes: tuple[str, ...]


class Scorecard(NamedTuple):
    """An experiment in one value: the primary effect, the verdict by rule, its sentence, and all that stands behind.

    Effect = treatment − control in the first primary metric, `treatment` the one that does best of several.
    `ci_low`, `ci_high` and `p_value` are those that count: always-valid while the experiment runs below its planned
    users, for one look at them (`interval_kind`); `fixed` and `always` hold both, as (low, high, p). `n_control` and
    `n_treatment` are users with a known answer; `n_users` all that were served, by variant's name. `metrics` and
    `guardrails` have a row for each treatment. `more_users` is None unless more are needed and their number can be
    told; `days_left` is how long they take at this loop's real rate. `power_now` is the chance that the users so far
    would have shown `plan.minimum_effect`, `conditional_power` that the planned users will, if it is there.
    """

    experiment_id: str
    name: str
    control: str
    treatment: str
    effect: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    relative: float | None
    relative_low: float | None
    relative_high: float | None
    n_control: int
    n_treatment: int
    mean_control: float | None
    mean_treatment: float | None
    srm_p_value: float | None
    n_users: dict[str, int]
    n_interactions: int
    n_in_both: int
    more_users: int | None
    verdict: Verdict
    rule: str
    sentence: str
    metrics: tuple[MetricRow, ...]
    guardrails: tuple[Guardrail, ...]
    request_level: RequestLevel
    request_sentence: str
    is_synthetic: bool
    primary: str = "retained_char_rate"
    primary_label: str = "Retained characters"
    variants: tuple[VariantRow, ...] = ()
    interval_kind: IntervalKind = IntervalKind.FIXED
    fixed: tuple[float | None, float | None, float | None] = (None, None, None)
    always: tuple[float | None, float | None, float | None] = (None, None, None)
    n_planned: int | None = None
    days_left: float | None = None
    users_per_day: float | None = None
    srm: SplitCheck | None = None
    segments: tuple[SegmentRow, ...] = ()
    segment_adjustment: str = ""
    heterogeneity: tuple[Heterogeneity, ...] = ()
    novelty: Novelty | None = None
    weights_flip: WeightsFlip | None = None
    cuped: Cuped | None = None
    power_now: float | None = None
    conditional_power: float | None = None
    adjustment: str = ""
    interval_sentence: str = ""
    sql: str = ""
    warnings: tuple[str, ...] = ()
    plan: dict[str, Any] | None = None
    plan_version: int = 1
    plan_changes: tuple[PlanChange, ...] = ()
    data_version: str = ""
