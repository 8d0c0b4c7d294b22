"""The loop's own vital signs, computed. Pure: tables of the store in, figures out; what is not known is None."""

from datetime import datetime, timedelta
from math import sqrt
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtri

from organism.records import Interval, Moments
from organism.stats.compare import interval, ratio_of_sums
from organism.stats.moments import moments

SETTLES_AFTER = timedelta(days=7)
MONTH = timedelta(days=30)


class Vitals(NamedTuple):
    """How the loop is. Shares are of drafts at least 7 days old: younger ones may still be answered.

    `retained_*` compare the last 7 days with the 7 before; `lift_*` is the mean effect of the decided
    experiments against their concurrent controls. Signal to ship runs from an answer to the first live
    version trained on it; what still waits is counted and aged beside it, since finished ones alone flatter.
    """

    n_interactions: int
    n_settled: int
    usable_signal_share: float | None
    feedback_p50_s: float | None
    feedback_p90_s: float | None
    signal_to_ship_p50_days: float | None
    signal_to_ship_p85_days: float | None
    n_shipped_signals: int
    n_open_signals: int
    open_signal_p50_days: float | None
    oldest_open_signal_days: float | None
    n_untrained_signals: int
    cycles_per_30_days: int
    n_cycles: int
    failed_cycle_share: float | None
    lift_per_cycle: float | None
    lift_low: float | None
    lift_high: float | None
    retained_this_week: float | None
    retained_this_week_low: float | None
    retained_this_week_high: float | None
    retained_change: float | None
    retained_change_low: float | None
    retained_change_high: float | None
    is_synthetic: bool


class Weeks(NamedTuple):
    """The retained share of one span, and its change against the span before, both with intervals."""

    now: Interval
    change: Interval


def two_weeks(users: pd.DataFrame, level: float = 0.95) -> Weeks:
    """This span's retained share and its change, from per-user sums (the columns of `read_two_weeks`).

    The same users stand in both spans, so the variance of the change comes from each user's own change.
    """
    unknown = Interval(None, None, None)
    after = users.loc[users["drafted_1"] > 0, ["kept_1", "drafted_1"]].to_numpy(dtype=float)
    if not len(after):
        return Weeks(unknown, unknown)
    now = interval(ratio_of_sums(moments(after)), level)
    total = users[["kept_0", "drafted_0", "kept_1", "drafted_1"]].sum()
    if not total["drafted_0"]:
        return Weeks(now, unknown)
    shares = [total[f"kept_{span}"] / total[f"drafted_{span}"] for span in (0, 1)]
    parts = [
        (users[f"kept_{span}"] - shares[span] * users[f"drafted_{span}"]) / users[f"drafted_{span}"].mean()
        for span in (0, 1)
    ]
    change = float(shares[1] - shares[0])
    if len(users) < 2:
        return Weeks(now, Interval(change, None, None))
    reach = float(ndtri((1 + level) / 2)) * float((parts[1] - parts[0]).std(ddof=1)) / sqrt(len(users))
    return Weeks(now, Interval(change, change - reach, change + reach))


def weekly(weeks: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Retained characters by week and variant with intervals clustered by user.

    Columns: week, variant, retained_char_rate, written_share, low, high, n_interactions, n_users.
    """
    found = [interval(ratio_of_sums(_moments(row)), level) for row in weeks.to_dict("records")]
    return pd.DataFrame(
        {
            "week": weeks["week"],
            "variant": weeks["variant"],
            "retained_char_rate": np.array([i.estimate for i in found], dtype=float),
            "written_share": weeks["written_share"].astype(float),
            "low": np.array([i.low for i in found], dtype=float),
            "high": np.array([i.high for i in found], dtype=float),
            "n_interactions": weeks["n_interactions"].astype(int),
            "n_users": weeks["n_users"].astype(int),
        }
    )


def lift_per_cycle(lifts: pd.DataFrame, level: float = 0.95) -> Interval:
    """The mean effect of the decided experiments with its interval: each has users of its own to speak for it."""
    known = lifts.dropna(subset=["effect", "ci_low", "ci_high"])
    if known.empty:
        return Interval(None, None, None)
    q = float(ndtri((1 + level) / 2))
    errors = (known["ci_high"] - known["ci_low"]) / 2 / q
    mean, reach = float(known["effect"].mean()), q * float(np.sqrt((errors**2).sum())) / len(known)
    return Interval(mean, mean - reach, mean + reach)


def cycles_since(lifts: pd.DataFrame, since: datetime, until: datetime) -> int:
    """How many cycles were decided in the span."""
    return int(((lifts["decided_at"] >= since) & (lifts["decided_at"] <= until)).sum())


def failed_share(lifts: pd.DataFrame) -> float | None:
    """The share of decided cycles that did not ship; None before the first decision."""
    return None if lifts.empty else float((lifts["verdict"] != "ship").mean())


def with_stages(cycles: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """The cycles with where each stands: adds stage, stage_since, is_open, open_days (None once closed).

    Stages: training, trained, testing, decided, live, failed. Open days count from the newest signal
    that the cycle learned from (the freezing where that is unknown): the age of the signal, not of the step.
    """
    stages = [_stage(row) for row in cycles.to_dict("records")]
    made = cycles.assign(
        stage=pd.Series([stage for stage, _, _ in stages], dtype=object, index=cycles.index),
        stage_since=pd.Series([since for _, since, _ in stages], dtype="datetime64[us]", index=cycles.index),
        is_open=pd.Series([is_open for _, _, is_open in stages], dtype=bool, index=cycles.index),
    )
    age = (now - made["latest_signal_at"].fillna(made["frozen_at"])).dt.total_seconds() / 86400
    return made.assign(open_days=age.where(made["is_open"]))


def flow_links(flow: pd.DataFrame) -> pd.DataFrame:
    """The sankey of drafts from `read_flow`: source, target, n, tone (good, warn, bad, plain), largest step first."""
    named = {"answered": "Answered", "waiting": "Answer may still come", "silent": "Never answered"}
    uses = {
        "trained": "Training rows",
        "heldout": "Held out to measure",
        "unused": "Not trained on yet",
        "unusable": "No consent or no text",
    }
    tones = {"silent": "bad", "unusable": "bad", "waiting": "warn", "unused": "warn", "heldout": "plain"}
    links: dict[tuple[str, str, str], int] = {}

    def add(source: str, target: str, tone: str, n: int) -> None:
        links[source, target, tone] = links.get((source, target, tone), 0) + n

    for answer, use, version, served, n in flow[["answer", "use", "version", "served", "n"]].itertuples(index=False):
        add("Drafts", named[answer], tones.get(answer, "good"), n)
        if answer != "answered":
            continue
        add("Answered", uses[use], tones.get(use, "good"), n)
        if use == "trained":
            target = version if isinstance(version, str) else "No version yet"
            add(uses[use], target, "good" if isinstance(version, str) else "warn", n)
            if isinstance(version, str):
                add(target, *(("Went live", "good") if bool(served) else ("Not live yet", "warn")), n)
    rows = [(source, target, n, tone) for (source, target, tone), n in links.items()]
    return pd.DataFrame(rows, columns=["source", "target", "n", "tone"])


def _moments(row: dict[object, float]) -> Moments:
    """One user has a mean and no spread."""
    n = int(row["n_users"])
    kept, both, drafted = (
        0.0 if n < 2 else float(row[name]) * (n - 1) for name in ("kept_var", "covariance", "drafted_var")
    )
    return Moments(n, (row["kept"], row["drafted"]), ((kept, both), (both, drafted)))


def _stage(row: dict[object, object]) -> tuple[str, object, bool]:
    """Where a cycle stands, since when, and whether it waits for somebody."""
    if _is(row["live_at"]):
        return "live", row["live_at"], False
    if _is(row["decided_at"]):
        return "decided", row["decided_at"], row["verdict"] == "ship"
    if _is(row["experiment_started_at"]):
        return "testing", row["experiment_started_at"], True
    if _is(row["trained_at"]):
        return "trained", row["trained_at"], True
    if row["run_status"] in ("failed", "stopped"):
        return "failed", row["run_finished_at"], False
    return "training", row["run_started_at"], True


def _is(value: object) -> bool:
    return not pd.isna(value)
