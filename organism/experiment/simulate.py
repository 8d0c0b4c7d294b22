"""What a test is worth before a user is spent on it: thousands of made-up experiments, with an effect or without.

Users come evenly, in both arms alike; at every look all that came so far are compared, and the experiment stops at the
first p at or below alpha. Three ways to compare: `naive` takes every request for a user (z-test), `fixed` compares
users (ratio of sums, delta method, Welch's t), `sequence` is the always-valid confidence sequence over the same.
Read at one look, naive and fixed are the tests of a textbook; at many, they show what peeking does.
Pure: settings and a seed in, rates with 99% intervals out. Everything here is synthetic.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import isfinite, sqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from organism.errors import DesignError
from organism.records import Interval
from organism.stats.many import Contrasts, Sums, contrasts, p_values, widening
from organism.stats.proportion import Count, wilson
from organism.stats.sequential import critical_value

LEVEL = 0.99
BREADTH = 1.5
"""Shape of the gamma distribution of users' activity: few users with many requests."""
BLOCK = 500_000
"""Users that are drawn together, some 100 MB with all their sums."""
Array = npt.NDArray[np.float64]
Rng = np.random.Generator
Progress = Callable[[str, float, str], object]


class Kind(StrEnum):
    """What is compared: users' own averages, a value per request (Σ value ÷ Σ requests), or requests that succeed."""

    MEAN = "mean"
    RATIO = "ratio"
    PROPORTION = "proportion"


class Method(StrEnum):
    """Which test reads the experiment."""

    NAIVE = "naive"
    FIXED = "fixed"
    SEQUENCE = "sequence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The experiments to make up.

    `correlation` is that between two requests of one user. A request's value has the standard deviation 1, and
    `effect` is in its units; of a proportion it is a difference of shares, over `baseline`. `requests` is the mean
    number a user has, at least 1 each. `tuning`: where the sequence is tightest, at all users unless given.
    """

    users: int = 500
    requests: float = 10.0
    correlation: float = 0.25
    effect: float = 0.0
    looks: int = 1
    alpha: float = 0.05
    experiments: int = 2000
    kind: Kind = Kind.RATIO
    methods: tuple[Method, ...] = (Method.NAIVE, Method.FIXED, Method.SEQUENCE)
    baseline: float = 0.1
    tuning: float | None = None
    seed: int = 0

    @property
    def work(self) -> int:
        """Users to draw in all, and every look of every experiment for 20 of them: about what the time goes with."""
        return self.experiments * (2 * self.users + 20 * self.looks)


class Outcome(NamedTuple):
    """One method: how often it called a difference at any look, and at the last look alone, with 99% intervals.

    Without an effect these are false positives, with one it is power (a call in the wrong direction counts in both).
    `stopped_early` called it before the last look; `users_at_stop` are users of both arms, on average.
    `n_unknown` experiments could not be tested at any look; they are called nothing.
    """

    method: Method
    called: Interval
    called_at_end: Interval
    stopped_early: Interval
    users_at_stop: Interval
    n_unknown: int


class Simulation(NamedTuple):
    """What came out; `measures` is "false-positive rate" or "power"."""

    setting: Setting
    measures: str
    outcomes: tuple[Outcome, ...]
    sentence: str


def simulate(setting: Setting, progress: Progress | None = None) -> Simulation:
    """Make the experiments up and read them by each method, all on the same draws. DesignError for a bad setting."""
    check_setting(setting)
    rng, ends = np.random.default_rng(setting.seed), look_ends(setting)
    size, done = max(1, BLOCK // (2 * setting.users)), 0
    parts: dict[Method, list[npt.NDArray[np.bool_]]] = {method: [] for method in setting.methods}
    unknown = dict.fromkeys(setting.methods, 0)
    while done < setting.experiments:
        count = min(size, setting.experiments - done)
        by_user, by_row = _block(rng, setting, ends, count)
        for method in setting.methods:
            seen, known = _calls(method, by_row if method is Method.NAIVE else by_user, ends, setting)
            parts[method].append(seen)
            unknown[method] += int((~known.any(axis=1)).sum())
        done += count
        if progress is not None:
            progress("simulate", done / setting.experiments, f"{done:,} of {setting.experiments:,} experiments")
    outcomes = tuple(_outcome(method, np.concatenate(parts[method]), ends, unknown[method]) for method in parts)
    measures = "power" if setting.effect else "false-positive rate"
    return Simulation(setting, measures, outcomes, _sentence(setting, outcomes))


def document(found: Simulation) -> dict[str, Any]:
    """The simulation as plain data: the settings as they were used, and by method its rates."""
    return {**found._asdict(), "setting": asdict(found.setting)}


def check_setting(setting: Setting) -> None:
    """Raise DesignError, one sentence, for what cannot be simulated."""
    whole = {"users": (2, 1_000_000), "looks": (1, 1000), "experiments": (100, 1_000_000)}
    for name, (low, high) in whole.items():
        if not low <= getattr(setting, name) <= high:
            raise DesignError(f"{name} is {getattr(setting, name):,}; wanted {low:,} to {high:,}")
    if setting.looks > setting.users // 2:
        raise DesignError(
            f"{setting.looks} looks at {setting.users} users an arm leave fewer than two new ones a look; ask for at "
            f"most {max(setting.users // 2, 1)} looks"
        )
    numbers = {"requests": (1.0, 10_000.0), "correlation": (0.0, 1.0), "alpha": (0.0, 0.5), "baseline": (0.0, 1.0)}
    for name, (least, most) in numbers.items():
        value = getattr(setting, name)
        is_open = name in ("alpha", "baseline")
        if not (least < value < most if is_open else least <= value <= most):
            between = f"above {least:g} and below {most:g}" if is_open else f"{least:g} to {most:,.0f}"
            raise DesignError(f"{name} is {value:g}; wanted {between}")
    if not isfinite(setting.effect):
        raise DesignError(f"the effect is {setting.effect}; wanted a finite number, 0 for none")
    if setting.kind is Kind.PROPORTION and not 0 < setting.baseline + setting.effect < 1:
        raise DesignError(
            f"a share of {setting.baseline:g} plus {setting.effect:g} is no share; keep their sum above 0 and below 1"
        )
    if not setting.methods or len(set(setting.methods)) < len(setting.methods):
        raise DesignError(f"name each method once, of {', '.join(Method)}")
    if setting.tuning is not None and not 0 < setting.tuning < float("inf"):
        raise DesignError(f"tuning is {setting.tuning:g}; wanted a number of users above 0")
    if setting.seed < 0:
        raise DesignError(f"the seed is {setting.seed}; wanted a whole number from 0 on")


def look_ends(setting: Setting) -> npt.NDArray[np.int64]:
    """How many users an arm has at each look."""
    return np.asarray(np.linspace(setting.users / setting.looks, setting.users, setting.looks).round(), dtype=np.int64)


def draw_requests(rng: Rng, mean: float, shape: int | tuple[int, ...]) -> npt.NDArray[np.int64]:
    """How many requests each user has: at least 1, `mean` on average, negative binomial beyond the first."""
    return np.asarray(1 + rng.poisson(rng.gamma(BREADTH, (mean - 1) / BREADTH, shape)), dtype=np.int64)


def _block(rng: Rng, setting: Setting, ends: npt.NDArray[np.int64], count: int) -> tuple[Contrasts, Contrasts]:
    """So many experiments, compared at every look by user and by request; arrays of experiments by looks."""
    n = draw_requests(rng, setting.requests, (count, 2, setting.users)).astype(float)
    draw = _successes if setting.kind is Kind.PROPORTION else _values
    total, squares = draw(rng, setting, n)
    ones = np.ones_like(n)
    num, den = (total / n, ones) if setting.kind is Kind.MEAN else (total, n)
    by_user = _compared([ones, num, den, num * num, num * den, den * den], ends)
    return by_user, _compared([n, total, n, squares, total, n], ends)


def _values(rng: Rng, setting: Setting, n: Array) -> tuple[Array, Array]:
    """Each user's Σ value and Σ value², drawn as such: a normal level for the user, normal noise for each request.

    Within a user, the sum and the squares around the mean (chi-square with n − 1 degrees) are independent.
    """
    noise = 1 - setting.correlation
    level = sqrt(setting.correlation) * rng.standard_normal(n.shape)
    level[:, 1] += setting.effect
    total = n * level + np.sqrt(n * noise) * rng.standard_normal(n.shape)
    return total, total * total / n + noise * 2 * rng.standard_gamma((n - 1) / 2)


def _successes(rng: Rng, setting: Setting, n: Array) -> tuple[Array, Array]:
    """Each user's successes, twice (0 and 1 are their own squares): users' shares are beta-distributed."""
    rates = np.array([setting.baseline, setting.baseline + setting.effect])[None, :, None]
    if setting.correlation == 0:
        share = np.broadcast_to(rates, n.shape)
    elif setting.correlation == 1:
        share = (rng.random(n.shape) < rates).astype(float)
    else:
        spread = 1 / setting.correlation - 1
        share = rng.beta(np.broadcast_to(rates * spread, n.shape), np.broadcast_to((1 - rates) * spread, n.shape))
    found = rng.binomial(n.astype(np.int64), share).astype(float)
    return found, found


def _compared(columns: Sequence[Array], ends: npt.NDArray[np.int64]) -> Contrasts:
    """Columns by (experiment, arm, user) summed up to every look, and the arms compared there."""
    starts = np.concatenate([[0], ends[:-1]])
    sums = [np.add.reduceat(column, starts, axis=2).cumsum(axis=2) for column in columns]
    arms = [Sums(*(column[:, arm] for column in sums)) for arm in (0, 1)]
    return contrasts(*arms)


def _calls(
    method: Method, found: Contrasts, ends: npt.NDArray[np.int64], setting: Setting
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """At which looks the method calls a difference, and at which it can say anything; experiments by looks."""
    known = np.isfinite(found.error)
    if method is not Method.SEQUENCE:
        p = p_values(found, use_t=method is Method.FIXED)
        return np.nan_to_num(p, nan=np.inf) <= setting.alpha, known
    tuning = float(setting.tuning or 2 * setting.users)
    reach = np.array([critical_value(2.0 * n, alpha=setting.alpha, tuning=tuning) for n in ends.tolist()])
    wide = reach * widening(found.degrees, setting.alpha) * found.error
    return np.abs(found.effect) >= np.nan_to_num(wide, nan=np.inf), known


def _outcome(method: Method, calls: npt.NDArray[np.bool_], ends: npt.NDArray[np.int64], n_unknown: int) -> Outcome:
    seen: npt.NDArray[np.bool_] = np.asarray(calls.any(axis=1))
    users = 2.0 * np.where(seen, ends[calls.argmax(axis=1)], ends[-1])
    early: npt.NDArray[np.bool_] = np.asarray(calls[:, :-1].any(axis=1))
    reach = float(ndtri((1 + LEVEL) / 2)) * float(users.std(ddof=1)) / sqrt(len(users))
    mean = float(users.mean())
    at_stop = Interval(mean, max(mean - reach, 2.0 * float(ends[0])), min(mean + reach, 2.0 * float(ends[-1])))
    return Outcome(method, _share(seen), _share(calls[:, -1]), _share(early), at_stop, n_unknown)


def _share(flags: npt.NDArray[np.bool_]) -> Interval:
    return wilson(Count(float(flags.sum()), len(flags)), LEVEL)


def _sentence(setting: Setting, outcomes: Sequence[Outcome]) -> str:
    looks = "one look" if setting.looks == 1 else f"{setting.looks} looks"
    rates = ", ".join(f"{one.method} {one.called.estimate:.1%}" for one in outcomes)
    what = "an effect is called" if setting.effect else "a difference is called that is not there"
    return (
        f"Of {setting.experiments:,} simulated experiments with {setting.users:,} users an arm, read at {looks} at "
        f"alpha {100 * setting.alpha:g}%, {what} in: {rates}."
    )
