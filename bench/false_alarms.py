"""How often the tests cry wolf, and how often their intervals hold the truth: `python -m bench.false_alarms`.

Thousands of simulated experiments (`--runs=N`, 4,000 unless given) through the functions that the product calls. With
no effect, a test at alpha 0.05 may find one in 5% of them: the rate must lie in the binomial 99% band of 5%. With an
effect, the 95% interval must hold it as often. What may be read at every look must stay at or below 5% over 30 looks
together. Beside them, the naive tests on the same data: requests taken for users, a fixed test read at every look.
Prints a table, writes bench/false_alarms.json (from 4,000 runs on), returns how many rates were missed.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from math import exp, sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from scipy.stats import binom

from organism.experiment.simulate import BREADTH, draw_requests
from organism.records import QuantileParts
from organism.stats.compare import Comparison, Estimate, difference, mean_of, ratio_of_sums, standard_error
from organism.stats.cuped import adjust
from organism.stats.margins import non_inferior
from organism.stats.moments import moments
from organism.stats.multiplicity import Correction, adjusted
from organism.stats.power import Design, detectable_effect, sample_size
from organism.stats.proportion import Count, score_difference
from organism.stats.quantile import quantile_estimate, quantile_of_rows, quantile_reach
from organism.stats.sequential import Alternative, confidence_sequence, critical_value, one_sided_sequence
from organism.stats.srm import sequential_srm, srm_p_value

ALPHA = 0.05
RUNS = 4000
LOOKS = np.linspace(200, 6000, 30).astype(int)
RESULTS = Path(__file__).with_suffix(".json")
# Requests a user: 13.6 on average, few users with many; a quarter of a request's variance is the user's.
REQUESTS, USER_SPREAD = 13.6, 0.5
Table = npt.NDArray[np.float64]
Rng = np.random.Generator


class Drawn(NamedTuple):
    """One simulated experiment: was the truth missed, by our method and by the naive one (None: there is none)?"""

    missed: bool
    naive: bool | None = None


class Line(NamedTuple):
    """A rate of misses among `runs` experiments and the limits that it must keep."""

    name: str
    runs: int
    rate: float
    lowest: float
    highest: float
    naive: float | None

    @property
    def is_met(self) -> bool:
        """Within the limits."""
        return self.lowest <= self.rate <= self.highest


def main(arguments: list[str]) -> int:
    """Returns how many rates lie outside of their limits."""
    given = dict(part[2:].split("=", 1) for part in arguments if part.startswith("--") and "=" in part)
    runs, began = int(given.get("runs", RUNS)), time.perf_counter()
    lines = []
    title = f"rate of misses at alpha {ALPHA:g}, {runs:,} experiments each"
    print(f"{title:<64}    ours     limits       naive")
    for seed, (name, draw) in enumerate(EXPERIMENTS.items()):
        lines.append(_line(name, draw, runs, seed))
        _print(lines[-1])
    missed = sum(not line.is_met for line in lines)
    watched = _watched_design(np.random.default_rng(20_260))
    print(
        f"a watched design of power {watched['planned']:.0%}: {watched['power']:.1%} over 30 looks, stops at "
        f"{watched['users']:.2f} times the fixed test's users on average (at most {watched['most']:.2f})"
    )
    seconds = time.perf_counter() - began
    print(f"{len(lines) - missed} of {len(lines)} within their limits, {seconds:.0f} s")
    rows = [{**line._asdict(), "is_met": line.is_met} for line in lines]
    if runs >= RUNS:  # a quick try is no result
        RESULTS.write_text(
            json.dumps({"runs": runs, "alpha": ALPHA, "lines": rows, "watched_design": watched}, indent=1) + "\n"
        )
    return missed


def _line(name: str, draw: Callable[[Rng], Drawn], runs: int, seed: int) -> Line:
    rng = np.random.default_rng([20_260, seed])
    found = [draw(rng) for _ in range(runs)]
    naive = [one.naive for one in found if one.naive is not None]
    is_bound = name.startswith(("watched", "split", "Holm"))
    low, high = (0.0, ALPHA) if is_bound else (float(v) / runs for v in binom.ppf([0.005, 0.995], runs, ALPHA))
    rate = sum(one.missed for one in found) / runs
    return Line(name, runs, rate, low, high, sum(naive) / runs if naive else None)


def _print(line: Line) -> None:
    naive = "" if line.naive is None else f"{line.naive:7.2%}"
    word = "" if line.is_met else "  MISSED"
    print(f"{line.name:<64} {line.rate:7.2%}   {line.lowest:.2%}-{line.highest:.2%}  {naive}{word}", flush=True)


# One look at the planned size


def _mean(rng: Rng, lift: float, *, relative: bool = False) -> Drawn:
    """500 users an arm with a skewed value."""
    arms = [mean_of(moments(rng.exponential(1.0 + extra, (500, 1)))) for extra in (0.0, lift)]
    return _missed(difference(*arms), lift, relative=relative)


def _cuped(rng: Rng, lift: float) -> Drawn:
    """300 and 500 users whose pre-period explains half of their variance."""
    found = [_with_past(rng, n, extra) for n, extra in ((300, 0.0), (500, lift))]
    return _missed(difference(*adjust([moments(arm) for arm in found], 1).estimates), lift)


def _with_past(rng: Rng, n: int, lift: float) -> Table:
    habit = rng.exponential(1.0, (n, 1))
    return np.column_stack([habit + rng.normal(lift, 1.0, (n, 1)), habit, habit + rng.normal(size=(n, 1))])


def _rate(rng: Rng, lift: float) -> Drawn:
    counts = [Count(float(rng.binomial(1000, 0.1 + extra)), 1000) for extra in (0.0, lift)]
    return _missed(score_difference(*counts), lift)


def _requests(rng: Rng, users: int, spread: float = USER_SPREAD) -> tuple[npt.NDArray[np.int64], Table]:
    """Which user each request is of, and a standard normal value of it that requests of a user share a part of."""
    n = draw_requests(rng, REQUESTS, users)
    owner = np.repeat(np.arange(users), n)
    value = spread * rng.normal(size=users)[owner] + sqrt(1 - spread**2) * rng.normal(size=len(owner))
    return owner, value


def _ratio(rng: Rng, lift: float) -> Drawn:
    """200 users an arm; the value of a request on average, by user and (naively) by request."""
    by_user, by_request = [], []
    for extra in (0.0, lift):
        owner, value = _requests(rng, 200)
        by_user.append(ratio_of_sums(moments(_sums(owner, value + extra))))
        by_request.append(mean_of(moments((value + extra)[:, None])))
    return _missed(difference(*by_user), lift, difference(*by_request, use_t=False))


def _sums(owner: npt.NDArray[np.int64], value: Table) -> Table:
    return np.column_stack([np.bincount(owner, value), np.bincount(owner)])


def _ratio_cuped(rng: Rng, lift: float) -> Drawn:
    """As above with each user's ratio of the period before, which shares the user's level."""
    arms = []
    for extra in (0.0, lift):
        level = USER_SPREAD * rng.normal(size=200)
        columns: list[Table] = []
        for shift in (extra, 0.0):
            n = draw_requests(rng, REQUESTS, 200)
            noise = rng.normal(size=200) * np.sqrt(n * (1 - USER_SPREAD**2))
            columns += [n * (level + shift) + noise, n.astype(float)]
        arms.append(moments(np.column_stack(columns)))
    return _missed(difference(*adjust(arms, 2, ratio_covariates=1).estimates), lift)


def _p95(rng: Rng, lift: float) -> Drawn:
    """The 95th percentile of log-normal latencies of 250 users an arm; `lift` is of their logarithm."""
    parts = [_latency(rng, extra) for extra in (0.0, lift)]
    found = difference(*(quantile_estimate(part) for part in parts))
    naive = difference(*(quantile_of_rows(part) for part in parts), use_t=False)
    tail = LATENCY_SPREAD * float(ndtri(0.95))
    return _missed(found, exp(tail + lift) - exp(tail), naive)


# Of the logarithm; and the user's part of it.
LATENCY_SPREAD, LATENCY_USER_SPREAD = 0.6, 0.6


def _latency(rng: Rng, lift: float) -> QuantileParts:
    owner, value = _requests(rng, 250, LATENCY_USER_SPREAD)
    rows = np.exp(LATENCY_SPREAD * value + lift)
    reach = quantile_reach(len(rows), 0.95)
    estimate, low, high = np.quantile(rows, [0.95, 0.95 - reach, 0.95 + reach])
    users = moments(_sums(owner, (rows <= estimate).astype(float)))
    return QuantileParts(0.95, reach, len(rows), float(estimate), float(low), float(high), users)


def _at_the_margin(rng: Rng) -> Drawn:
    """Treatment really is worse by just the margin: calling it not inferior is the error."""
    arms = [mean_of(moments(rng.normal(-worse, 1.0, (300, 1)))) for worse in (0.0, 0.2)]
    found = non_inferior(*arms, 0.2, better=1)
    return Drawn(bool(found and found.holds))


def _several(rng: Rng) -> Drawn:
    """Five correlated metrics: any of them found is the error; naively each is tested at alpha."""
    tables = [rng.normal(size=(300, 5)) + rng.normal(size=(300, 1)) for _ in range(2)]
    whole = [moments(table) for table in tables]
    p = [difference(mean_of(whole[0], k), mean_of(whole[1], k)).p_value for k in range(5)]
    after = adjusted(p, Correction.HOLM)
    return Drawn(*(any(one is not None and one <= ALPHA for one in found) for found in (after, p)))


def _missed(found: Comparison, truth: float, naive: Comparison | None = None, *, relative: bool = False) -> Drawn:
    low, high = (found.relative_low, found.relative_high) if relative else (found.ci_low, found.ci_high)
    return Drawn(_outside(low, high, truth), None if naive is None else _outside(naive.ci_low, naive.ci_high, truth))


def _outside(low: float | None, high: float | None, truth: float) -> bool:
    """An interval that could not be stated misses."""
    return low is None or high is None or not bool(low <= truth <= high)


# Thirty looks


def _watched(rng: Rng, lift: float, *, one_sided: bool = False) -> Drawn:
    """A skewed value of up to 3,000 users an arm, read 30 times; naively by Welch's test at every look."""
    values = [rng.exponential(1.0, LOOKS[-1] // 2) + extra for extra in (0.0, lift)]
    sums = [np.cumsum(value) for value in values], [np.cumsum(value**2) for value in values]
    missed = naive = False
    for n in LOOKS // 2:
        arms = [_at_look(sums[0][arm][n - 1], sums[1][arm][n - 1], n) for arm in (0, 1)]
        error, effect = sqrt(sum(arm.variance or 0.0 for arm in arms)), arms[1].value - arms[0].value
        if one_sided:
            bound = one_sided_sequence(effect, error, 2 * n, alternative=Alternative.GREATER, alpha=ALPHA).bound
            missed |= bound is None or bool(bound > lift)
            naive |= bool(effect - float(ndtri(1 - ALPHA)) * error > lift)
        else:
            found = confidence_sequence(effect, error, 2 * n, alpha=ALPHA)
            missed |= _outside(found.low, found.high, lift)
            naive |= bool(abs(effect - lift) > float(ndtri(1 - ALPHA / 2)) * error)
    return Drawn(missed, naive)


def _at_look(total: float, squares: float, n: int) -> Estimate:
    return Estimate(total / n, (squares - total**2 / n) / (n - 1) / n, n)


def _returning(rng: Rng) -> Drawn:
    """1,000 users an arm who enter over 30 days and come back; the ratio by user, read every day (naively by Welch)."""
    days, users = np.arange(30), 1000
    arms = []
    for _ in range(2):
        entered = np.minimum(rng.geometric(0.15, users) - 1, 29)
        n = rng.poisson(rng.gamma(BREADTH, 0.5 / BREADTH, users)[:, None], (users, 30)) * (days >= entered[:, None])
        n[np.arange(users), entered] += 1
        level, noise = USER_SPREAD * rng.normal(size=(users, 1)), rng.normal(size=n.shape)
        value = n * level + np.sqrt(n * (1 - USER_SPREAD**2)) * noise
        arms.append(np.stack([value.cumsum(axis=1), n.cumsum(axis=1)], axis=-1))
    missed = naive = False
    for day in days:
        control, treatment = (ratio_of_sums(moments(arm[arm[:, day, 1] > 0, day])) for arm in arms)
        spread, found = standard_error(control, treatment), difference(control, treatment)
        n_users, effect = found.n_control + found.n_treatment, found.effect
        error, degrees = spread or (None, None)
        always = confidence_sequence(effect, error, n_users, alpha=ALPHA, tuning=2 * users, degrees=degrees)
        missed |= always.p_value is None or always.p_value <= ALPHA
        naive |= found.p_value is None or found.p_value <= ALPHA
    return Drawn(missed, naive)


def _split(rng: Rng, shares: list[float]) -> Drawn:
    """200 users a look for 30 looks, split as planned; naively by chi-square at every look."""
    looks = rng.multinomial(200, shares, size=len(LOOKS)).cumsum(axis=0).tolist()
    p = sequential_srm(looks, shares)
    naive = (srm_p_value(counts, shares) for counts in looks)
    return Drawn(p is not None and p <= ALPHA, any(one is not None and one <= ALPHA for one in naive))


def _watched_design(rng: Rng, runs: int = 100_000) -> dict[str, float]:
    """What a sequential design really has and costs when it is read at 30 equal looks up to its planned users."""
    n = 5000.0
    design = Design(variance=1.0, tuning=n)
    effect = detectable_effect(design, n) or 0.0
    looks = np.linspace(n / 30, n, 30)
    walk = rng.normal(size=(runs, 30)).cumsum(axis=1) * sqrt(n / 30) + looks * effect / 2
    crossed = np.abs(walk) / np.sqrt(looks) > [critical_value(look, alpha=ALPHA, tuning=n) for look in looks]
    seen = crossed.any(axis=1)
    stopped = np.where(seen, looks[crossed.argmax(axis=1)], n)
    fixed = sample_size(Design(variance=1.0), effect) or 0.0
    return {
        "planned": design.power,
        "power": float(seen.mean()),
        "users": float(stopped.mean()) / fixed,
        "most": n / fixed,
    }


EXPERIMENTS: Mapping[str, Callable[[Rng], Drawn]] = {
    "mean, no effect": lambda rng: _mean(rng, 0.0),
    "mean, covers an effect of 20%": lambda rng: _mean(rng, 0.2),
    "relative effect (Fieller), no effect": lambda rng: _mean(rng, 0.0, relative=True),
    "relative effect (Fieller), covers 20%": lambda rng: _mean(rng, 0.2, relative=True),
    "mean with CUPED, no effect": lambda rng: _cuped(rng, 0.0),
    "mean with CUPED, covers an effect": lambda rng: _cuped(rng, 0.3),
    "rate of 10% (score), no effect": lambda rng: _rate(rng, 0.0),
    "rate of 10% (score), covers an effect of 3 points": lambda rng: _rate(rng, 0.03),
    "ratio by user (naive: by request), no effect": lambda rng: _ratio(rng, 0.0),
    "ratio by user (naive: by request), covers an effect": lambda rng: _ratio(rng, 0.2),
    "ratio with CUPED, no effect": lambda rng: _ratio_cuped(rng, 0.0),
    "ratio with CUPED, covers an effect": lambda rng: _ratio_cuped(rng, 0.2),
    "p95 by user (naive: by request), no effect": lambda rng: _p95(rng, 0.0),
    "p95 by user (naive: by request), covers an effect of 10%": lambda rng: _p95(rng, 0.1),
    "not inferior, while worse by just the margin": _at_the_margin,
    "Holm over 5 metrics (naive: each at alpha), no effect": _several,
    "watched over 30 looks (naive: Welch at each), no effect": lambda rng: _watched(rng, 0.0),
    "watched over 30 looks, covers an effect at all of them": lambda rng: _watched(rng, 0.1),
    "watched one-sided (naive: one-sided z at each), no effect": lambda rng: _watched(rng, 0.0, one_sided=True),
    "split 50:50 over 30 looks (naive: chi-square at each)": lambda rng: _split(rng, [0.5, 0.5]),
    "split 70:20:10 over 30 looks (naive: chi-square at each)": lambda rng: _split(rng, [0.7, 0.2, 0.1]),
    "watched ratio of users who come back, 30 days (naive: Welch)": _returning,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
