"""Read the loop's vital signs, its weeks and cycles, and what needs a person."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import pandas as pd

from organism.config import utcnow
from organism.errors import DesignError
from organism.measures.metric_names import SHARES, better_of, label_of, quantile_of
from organism.observe.metabolism import (
    MONTH,
    SETTLES_AFTER,
    Vitals,
    cycles_since,
    failed_share,
    flow_links,
    lift_per_cycle,
    two_weeks,
    weekly,
    with_stages,
)
from organism.records import RunStatus
from organism.stats.compare import Estimate, difference, ratio_of_sums, standard_error
from organism.stats.quantile import quantile_estimate
from organism.stats.sequential import confidence_sequence
from organism.store import metabolism
from organism.store.database import Store
from organism.store.experiment_tables import ADAPTIVE, row_columns
from organism.store.experiment_units import read_primary
from organism.store.experiments import Experiment, read_experiment
from organism.store.reward_designs import read_saved

ENOUGH_TO_TRAIN = 20
ENOUGH_USERS = 10
LONG_DAYS = 14
ALPHA = 0.05
# At how many users the sequence is tightest where nobody planned a size: as the experiment's own scorecard has it.
TUNING = 500.0


class Need(NamedTuple):
    """Something that waits for a person: what, why, what to do, and the page where it is done."""

    title: str
    detail: str
    action: str
    page: str


def vitals(store: Store, loop_id: str, now: datetime) -> Vitals:
    """The vital signs as of now; None where the loop has not lived long enough to say."""
    answers = metabolism.read_answers(store, loop_id, now - SETTLES_AFTER)
    shipping = metabolism.read_shipping(store, loop_id, now)
    lifts = metabolism.read_lifts(store, loop_id)
    lift = lift_per_cycle(lifts)
    weeks = two_weeks(metabolism.read_two_weeks(store, loop_id, now - 2 * SETTLES_AFTER, now - SETTLES_AFTER, now))
    return Vitals(
        n_interactions=answers.n_interactions,
        n_settled=answers.n_settled,
        usable_signal_share=answers.n_answered / answers.n_settled if answers.n_settled else None,
        feedback_p50_s=answers.p50_s,
        feedback_p90_s=answers.p90_s,
        signal_to_ship_p50_days=shipping.p50_days,
        signal_to_ship_p85_days=shipping.p85_days,
        n_shipped_signals=shipping.n_shipped,
        n_open_signals=shipping.n_open,
        open_signal_p50_days=shipping.open_p50_days,
        oldest_open_signal_days=shipping.oldest_open_days,
        n_untrained_signals=shipping.n_untrained,
        cycles_per_30_days=cycles_since(lifts, now - MONTH, now),
        n_cycles=len(lifts),
        failed_cycle_share=failed_share(lifts),
        lift_per_cycle=lift.estimate,
        lift_low=lift.low,
        lift_high=lift.high,
        retained_this_week=weeks.now.estimate,
        retained_this_week_low=weeks.now.low,
        retained_this_week_high=weeks.now.high,
        retained_change=weeks.change.estimate,
        retained_change_low=weeks.change.low,
        retained_change_high=weeks.change.high,
        is_synthetic=answers.is_synthetic,
    )


def weekly_retained(store: Store, loop_id: str) -> pd.DataFrame:
    """Retained characters by week and variant: the columns of `metabolism.weekly`."""
    return weekly(metabolism.read_weeks(store, loop_id))


def cycles(store: Store, loop_id: str, *, now: datetime | None = None) -> pd.DataFrame:
    """Every cycle with its times, the stage it stands in and the age of what is open, newest first.

    Columns: those of `read_cycles`, and stage, stage_since, is_open, open_days.
    """
    return with_stages(metabolism.read_cycles(store, loop_id), now or utcnow())


def flow_counts(store: Store, loop_id: str, now: datetime) -> pd.DataFrame:
    """How drafts flow on to live versions, for a sankey: source, target, n, tone."""
    return flow_links(metabolism.read_flow(store, loop_id, now - SETTLES_AFTER))


def needs_you(store: Store, loop_id: str, now: datetime) -> list[Need]:
    """What waits for a person, the most urgent first; each can be done on the page it names."""
    return [
        *_quarantine(store),
        *(need for experiment in _running(store, loop_id) for need in _experiment(store, experiment, now)),
        *_last_run(store, loop_id),
        *_untested(store, loop_id, now),
        *_untrained(store, loop_id, now),
    ]


def _quarantine(store: Store) -> Iterator[Need]:
    waiting, reason = metabolism.read_quarantine_state(store)
    if waiting:
        yield Need(
            f"{_count(waiting, 'row')} in quarantine",
            f"Nothing is lost, but nothing learns from {'it' if waiting == 1 else 'them'}. Commonest reason: {reason}.",
            "Mend and retry",
            "sources",
        )


def _running(store: Store, loop_id: str) -> Iterator[Experiment]:
    for experiment_id in metabolism.read_running_experiments(store, loop_id):
        yield read_experiment(store, experiment_id)


class _Clear(NamedTuple):
    """A running experiment's effect on its first primary metric, of the treatment that does best.

    `low` and `high` are the interval that may be read now; `sign` is −1 where less of the metric is better.
    """

    metric: str
    treatment: str
    n_users: int
    enough: bool
    effect: float | None
    low: float | None
    high: float | None
    sign: int


def _experiment(store: Store, experiment: Experiment, now: datetime) -> Iterator[Need]:
    found, days = _effect(store, experiment), (now - (experiment.started_at or now)).days
    if found and found.enough and found.low is not None and found.high is not None and found.low * found.high > 0:
        yield Need(
            f"{experiment.name} waits for a decision",
            f"{_in_words(found, experiment.control)}, and nobody has decided.",
            "Read and decide",
            "experiments",
        )
    elif days >= LONG_DAYS:
        yield Need(
            f"{experiment.name} has run for {days} days",
            f"{_count(found.n_users if found else 0, 'user')} answered and nothing is clear yet: send it more traffic, "
            "or close it.",
            "Look at it",
            "experiments",
        )


def _in_words(found: _Clear, control: str) -> str:
    """Latency p95 of scribe-2 is 120 ms lower than of base (-160 to -80); points for a share."""
    is_share = found.metric in SHARES
    label, _, unit = label_of(found.metric).partition(", ")
    size, low, high = (
        f"{(value or 0.0) * (100 if is_share else 1):{spec}}"
        for value, spec in (
            (abs(found.effect or 0.0), ",.1f" if is_share else ",.3g"),
            (found.low, "+,.1f" if is_share else "+,.3g"),
            (found.high, "+,.1f" if is_share else "+,.3g"),
        )
    )
    unit = " points" if is_share else f" {unit}" if unit else ""
    side = "higher" if (found.low or 0.0) > 0 else "lower"
    worth = "better" if (found.low or 0.0) * found.sign > 0 else "worse"
    return f"{label} of {found.treatment}: {size}{unit} {side} than of {control} ({low} to {high}), which is {worth}"


def _effect(store: Store, experiment: Experiment) -> _Clear | None:
    """The best treatment against the control: always-valid below the planned users, for one look at them.

    With several comparisons at the level of Holm's first step. None where nothing measures the metric.
    """
    metrics = experiment.plan.get("primary") or ["retained_char_rate"]
    arms = _arms(store, experiment, metrics[0])
    if arms is None:
        return None
    n_users, values = arms
    treatments, sign = experiment.variants[1:], better_of(metrics[0]) or 1
    alpha = float(experiment.plan.get("alpha", ALPHA)) / (len(metrics) * len(treatments))
    found = {one: difference(values.get(experiment.control), values.get(one.name), 1 - alpha) for one in treatments}
    best = max(treatments, key=lambda one: _gain(found[one].effect, sign))
    told = found[best]
    n, planned = told.n_control + told.n_treatment, experiment.plan.get("n_users")
    enough = min(told.n_control, told.n_treatment) >= ENOUGH_USERS
    low, high = told.ci_low, told.ci_high
    if not planned or n_users < planned or experiment.policy == ADAPTIVE:
        error, degrees = standard_error(values.get(experiment.control), values.get(best.name)) or (None, None)
        tuning = float(planned or TUNING) * min(experiment.variants[0].share + best.share, 1.0)
        band = confidence_sequence(told.effect, error, n, alpha=alpha, tuning=tuning, degrees=degrees)
        low, high = band.low, band.high
    return _Clear(metrics[0], best.name, n, enough, told.effect, low, high, sign)


def _gain(effect: float | None, sign: int) -> float:
    return float("-inf") if effect is None else sign * effect


def _arms(store: Store, experiment: Experiment, metric: str) -> tuple[int, dict[str, Estimate | None]] | None:
    """How many users count, and each variant's value of the metric; None where nothing measures it."""
    signal, probability = quantile_of(metric) or (metric, None)
    saved = [one.design for one in read_saved(store, experiment.loop_id)]
    design_id = experiment.plan.get("reward_design_id")
    design = next((one for one in saved if one.id == design_id), saved[0] if saved and design_id is None else None)
    try:
        columns = row_columns(store, experiment.loop_id, [signal], design)[signal]
    except DesignError:
        return None
    found = read_primary(store, experiment, columns, probability)
    if probability is None:
        return found.n_users, {name: ratio_of_sums(arm) for name, arm in found.moments.items()}
    return found.n_users, {name: quantile_estimate(parts) for name, parts in found.parts.items()}


def _last_run(store: Store, loop_id: str) -> Iterator[Need]:
    last = metabolism.read_last_run(store, loop_id)
    if last and last[1] in (RunStatus.FAILED, RunStatus.INTERRUPTED):
        _, status, message, created_at = last
        ended = "failed" if status == RunStatus.FAILED else "was interrupted"
        yield Need(
            f"The run of {created_at:%B} {created_at.day} {ended}",
            message or "Its log says more.",
            "Resume or start again",
            "fine_tunes",
        )


def _untested(store: Store, loop_id: str, now: datetime) -> Iterator[Need]:
    for version, trained_at in metabolism.read_untested(store, loop_id).head(1).itertuples(index=False, name=None):
        yield Need(
            f"{version} is trained and untested",
            f"Trained {_ago((now - trained_at).days)}; an experiment tells whether people keep more of what it writes.",
            "Start an experiment",
            "fine_tunes",
        )


def _untrained(store: Store, loop_id: str, now: datetime) -> Iterator[Need]:
    shipping = metabolism.read_shipping(store, loop_id, now)
    if shipping.n_untrained >= ENOUGH_TO_TRAIN:
        yield Need(
            f"{shipping.n_untrained:,} answers wait to be trained on",
            f"The oldest for {_count(int(shipping.oldest_untrained_days or 0), 'day')}. What experts corrected teaches "
            "nothing until a version is trained on it.",
            "Train a version",
            "fine_tunes",
        )


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _ago(days: int) -> str:
    return "today" if days < 1 else f"{_count(days, 'day')} ago"
