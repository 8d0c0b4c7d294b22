"""Sample ratio mismatch: did the traffic split as it was meant to?

A tiny p means that assignment or logging is broken, and no effect of the experiment can be believed. Chi-square for
one look at large counts, exact for small ones, and a sequential test for counts that are watched as they grow.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from enum import StrEnum
from math import comb, exp
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, chdtrc, gammaln, xlogy

# How strongly the sequential test expects shares near the planned ones. It promises its level at any value; savvi takes
# 100, which is the better one from thousands of users on, and finds 20 against 60 planned as equal at p 0.015 only.
CONCENTRATION = 10.0
# Outcomes at least as unlikely as the one seen, but for rounding: scipy's binomtest takes the same tolerance.
TIE = 1e-7
# The exact test lists every split of n users over the arms; above this many it would take too long.
MOST_OUTCOMES = 200_000
# Cochran's rule: below five expected users in an arm chi-square is not to be trusted.
FEWEST_EXPECTED = 5.0


class SrmMethod(StrEnum):
    """Which test of the split gave the p."""

    CHI_SQUARE = "chi_square"
    EXACT = "exact"


class SrmTest(NamedTuple):
    """The p that users fell into the arms by the planned shares, and how it was found; None without users."""

    p_value: float | None
    method: SrmMethod


def srm_p_value(counts: Sequence[int], shares: Sequence[float]) -> float | None:
    """Pearson's chi-square p that users fell into the arms by these shares (they need not sum to 1).

    None without users: there is nothing to contradict, and nothing to say.
    """
    planned = _planned(counts, shares)
    total = sum(counts)
    if not total:
        return None
    expected = [total * share for share in planned]
    statistic = sum((count - wanted) ** 2 / wanted for count, wanted in zip(counts, expected, strict=True))
    return float(chdtrc(len(counts) - 1, statistic))


def exact_srm(counts: Sequence[int], shares: Sequence[float]) -> float | None:
    """The exact p: the probability of all splits that are no likelier than the one seen; None without users.

    Binomial for two arms, any number of users; multinomial by listing every split for more arms. ValueError where
    there are too many to list: chi-square is right for such counts.
    """
    planned, total = _planned(counts, shares), sum(counts)
    if not total:
        return None
    if len(counts) == 2:
        return _binomial(counts[0], total, planned[0])
    if comb(total + len(counts) - 1, len(counts) - 1) > MOST_OUTCOMES:
        raise ValueError(f"{total} users over {len(counts)} arms split in too many ways; use srm_p_value (chi-square)")
    likelihood = _log_multinomial(_splits(total, len(counts)), planned)
    seen = _log_multinomial(np.array([counts]), planned)[0]
    return min(float(np.exp(likelihood[likelihood <= seen + TIE]).sum()), 1.0)


def srm_test(counts: Sequence[int], shares: Sequence[float]) -> SrmTest:
    """The split at one look: exact where an arm expects under five users (if splits can be listed), else chi-square."""
    planned, total = _planned(counts, shares), sum(counts)
    if not total:
        return SrmTest(None, SrmMethod.CHI_SQUARE)
    listed = len(counts) == 2 or comb(total + len(counts) - 1, len(counts) - 1) <= MOST_OUTCOMES
    if min(planned) * total < FEWEST_EXPECTED and listed:
        return SrmTest(exact_srm(counts, shares), SrmMethod.EXACT)
    return SrmTest(srm_p_value(counts, shares), SrmMethod.CHI_SQUARE)


def sequential_srm(
    counts_by_look: Sequence[Sequence[int]], shares: Sequence[float], concentration: float = CONCENTRATION
) -> float | None:
    """The always-valid p of the split after the last look: it may be read after every user, as often as one likes.

    `counts_by_look` has the users of each arm so far (cumulative) at each look. None without users.
    """
    return next(reversed(srm_track(counts_by_look, shares, concentration)), None)


def srm_track(
    counts_by_look: Sequence[Sequence[int]], shares: Sequence[float], concentration: float = CONCENTRATION
) -> list[float | None]:
    """The always-valid p after each look: the smallest 1 / odds so far, at most 1; None before the first user."""
    track: list[float | None] = []
    lowest: float | None = None
    for counts in counts_by_look:
        if sum(counts):
            log_odds = srm_log_odds(counts, shares, concentration)
            lowest = min(1.0 if lowest is None else lowest, exp(-max(log_odds, 0.0)))
        track.append(lowest)
    return track


def srm_log_odds(counts: Sequence[int], shares: Sequence[float], concentration: float = CONCENTRATION) -> float:
    """The log odds of "other shares" against the planned ones: Dirichlet-multinomial over multinomial likelihood.

    Lindon and Malek 2022, "Anytime-valid inference for multinomial count data": the prior of the shares is
    Dirichlet(concentration * planned), and odds = B(prior + counts) / B(prior) / prod(planned ^ counts). Under the
    planned shares the odds are a martingale that starts at 1, so they ever exceed 1/alpha with probability alpha.
    """
    planned = np.array(_planned(counts, shares))
    seen = np.array(counts, dtype=float)
    prior = concentration * planned
    grown = gammaln(prior + seen).sum() - gammaln(prior).sum()
    whole = gammaln(concentration + seen.sum()) - gammaln(concentration)
    return float(grown - whole - xlogy(seen, planned).sum())


def _planned(counts: Sequence[int], shares: Sequence[float]) -> list[float]:
    """The shares made to sum to 1, after both were checked."""
    if len(counts) != len(shares) or len(counts) < 2:
        raise ValueError(
            f"found {len(counts)} counts and {len(shares)} shares; wanted one share an arm, two arms or more"
        )
    if min(shares) <= 0 or min(counts) < 0:
        raise ValueError(
            f"shares must be above 0 and counts at least 0; found shares {list(shares)}, counts {list(counts)}"
        )
    whole = sum(shares)
    return [share / whole for share in shares]


def _binomial(k: int, n: int, share: float) -> float:
    """The two-sided exact binomial p by the method of small likelihoods (R's and scipy's binom.test).

    The likelihood rises up to the mode and falls after it, so each tail's end is found by bisection.
    """

    def likelihood(i: int) -> float:
        return float(_log_multinomial(np.array([[i, n - i]]), [share, 1 - share])[0])

    seen, mode = likelihood(k) + TIE, min(int((n + 1) * share), n)
    if seen >= likelihood(mode):
        return 1.0
    n_below = bisect_right(range(mode), seen, key=likelihood)
    n_above = n - mode - bisect_left(range(mode + 1, n + 1), -seen, key=lambda i: -likelihood(i))
    return min(_at_least(n - n_below + 1, n, 1 - share) + _at_least(n - n_above + 1, n, share), 1.0)


def _at_least(k: int, n: int, share: float) -> float:
    """The chance of k or more of n users; betainc keeps its digits at millions of users, where bdtr loses some."""
    return 0.0 if k > n else 1.0 if k <= 0 else float(betainc(k, n - k + 1, share))


def _log_multinomial(splits: npt.NDArray[np.int64], planned: Sequence[float]) -> npt.NDArray[np.float64]:
    n = splits.sum(axis=1)
    return np.asarray(gammaln(n + 1) - gammaln(splits + 1).sum(axis=1) + xlogy(splits, planned).sum(axis=1))


def _splits(total: int, arms: int) -> npt.NDArray[np.int64]:
    """Every way to split `total` users over the arms, one row each."""
    rows = np.arange(total + 1)[:, None]
    for _ in range(arms - 2):
        left = total - rows.sum(axis=1) + 1
        last = np.concatenate([np.arange(n) for n in left])
        rows = np.column_stack([np.repeat(rows, left, axis=0), last])
    return np.column_stack([rows, total - rows.sum(axis=1)])
