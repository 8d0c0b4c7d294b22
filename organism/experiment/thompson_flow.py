"""Read what users said, decide what to deal: kept for a minute, so that an assignment never waits for a scan twice."""

import threading
from datetime import datetime, timedelta
from typing import NamedTuple
from weakref import WeakKeyDictionary

from organism.errors import DesignError
from organism.experiment.plan import plan_of
from organism.experiment.reading import measure
from organism.experiment.thompson import Play, play
from organism.records import RewardDesign
from organism.stats.compare import ratio_of_sums
from organism.store.database import Store
from organism.store.experiments import Experiment
from organism.store.posteriors import read_value_moments
from organism.store.reward_designs import read_saved

STALE_AFTER = timedelta(minutes=1)
_EVENTS = ("interactions", "feedback_events", "outcomes", "signal_definitions")


class _Played(NamedTuple):
    """What was dealt, from which data, since when."""

    play: Play
    version: int
    at: datetime


_played: WeakKeyDictionary[Store, dict[str, _Played]] = WeakKeyDictionary()
_computing = threading.Lock()


def current_play(store: Store, experiment: Experiment, now: datetime) -> Play:
    """What the experiment deals now. Computed anew at most once a minute, and only when events came in since then.

    While one caller computes, the others deal what was dealt before; the very first wait.
    """
    known = _played.setdefault(store, {}).get(experiment.experiment_id)
    if known and (now - known.at < STALE_AFTER or known.version == store.version(*_EVENTS)):
        return known.play
    if not _computing.acquire(blocking=known is None) and known is not None:
        return known.play
    try:
        again = _played[store].get(experiment.experiment_id)
        if again is not known and again is not None:
            return again.play
        version = store.version(*_EVENTS)
        found = read_play(store, experiment)
        _played[store][experiment.experiment_id] = _Played(found, version, now)
        return found
    finally:
        _computing.release()


def read_play(store: Store, experiment: Experiment) -> Play:
    """What the users' answers up to this moment would have dealt. Where the metric is not measured, planned shares."""
    plan = plan_of(experiment.plan)
    metric, design = plan.primary[0], _design(store, experiment, plan.reward_design_id)
    try:
        users = read_value_moments(store, experiment, metric, design)
    except DesignError:
        users = {}  # the metric was removed meanwhile: a user is served all the same
    arms = [ratio_of_sums(users[one.name]) if one.name in users else None for one in experiment.variants]
    shares = [variant.share for variant in experiment.variants]
    return play(arms, shares, metric, better=measure(metric, design).better)


def _design(store: Store, experiment: Experiment, reward_design_id: str | None) -> RewardDesign | None:
    """The plan's reward design, the live one where it names none; None where there is none."""
    saved = [one.design for one in read_saved(store, experiment.loop_id)]
    return next((one for one in saved if reward_design_id in (None, one.id)), None)
