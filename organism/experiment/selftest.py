"""A/A self-test: split the same users at random again and again, and count how often a test sees what cannot be there.

The experiment's own users, their requests and their habits stay as they are; only who is in which arm is drawn anew, a
user with all requests at once. So a test at alpha may find a difference in alpha of the splits. Ours compares users
(ratio of sums, delta method, Welch's t); the naive one takes every request for a user of its own.
Pure: users' sums and a seed in, rates out. The permutation null: Kohavi, Tang and Xu 2020, chapter 19.
"""

from collections.abc import Callable
from math import comb
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from organism.errors import DesignError
from organism.records import QuantileParts
from organism.stats.compare import Comparison, difference
from organism.stats.many import Sums, contrasts, p_values
from organism.stats.moments import moments
from organism.stats.proportion import Count, wilson
from organism.stats.quantile import quantile_estimate, quantile_of_rows, quantile_reach
from organism.store.self_test_users import UserRows, UserSums

PERMUTATIONS, MOST_PERMUTATIONS = 1000, 100_000
FEW_USERS = 30
N_BINS = 20
BLOCK = 4_000_000
"""Users times splits that are worked on together: 32 MB of labels."""
NOTHING = 1e-24
"""A spread below this part of the values' square is what rounding left of equal values."""
Array = npt.NDArray[np.float64]
Progress = Callable[[str, float, str], object]


class Rate(NamedTuple):
    """How many of `n` splits a test called different, and the rate's 95% interval (Wilson); None where n is 0.

    The interval is of the random splits alone: other users would have another rate.
    """

    n_false: int
    n: int
    rate: float | None
    low: float | None
    high: float | None


class Bin(NamedTuple):
    """How many of the p-values of both tests lie between `low` and `high`: all bins are alike where a test is right."""

    low: float
    high: float
    ours: int
    naive: int


class Question(NamedTuple):
    """What is tested, in words, and how: `n_treatment` of the users go into the second arm, None for half of them."""

    source: str
    metric: str
    n_treatment: int | None = None
    alpha: float = 0.05
    permutations: int = PERMUTATIONS
    seed: int = 0


class SelfTest(NamedTuple):
    """What came out. `design_effect` is the median of how many times too small the naive variance was."""

    source: str
    metric: str
    alpha: float
    seed: int
    n_permutations: int
    n_users: int
    n_requests: int
    n_control: int
    n_treatment: int
    ours: Rate
    naive: Rate
    design_effect: float | None
    histogram: tuple[Bin, ...]
    sentence: str
    notes: tuple[str, ...]


class PValues(NamedTuple):
    """The p-values of both tests over the same splits (NaN where one cannot say), and the ratios of their variances."""

    ours: Array
    naive: Array
    too_small: Array


def self_test(users: UserSums | UserRows, question: Question, progress: Progress | None = None) -> SelfTest:
    """The false-positive rates of both tests on these users.

    Raises DesignError where no split can say anything: fewer than two users an arm, or equal values.
    """
    _check(question)
    n = users.n_users if isinstance(users, UserRows) else len(users.table)
    n_treatment = n // 2 if question.n_treatment is None else question.n_treatment
    if min(n_treatment, n - n_treatment) < 2:
        raise DesignError(
            f"{question.metric} is known of {n - n_treatment} users of one arm and {n_treatment} of the other; a split "
            "needs at least two in each"
        )
    found = permuted(users, n_treatment, question.permutations, question.seed, progress)
    if np.isnan(found.ours).all():
        raise DesignError(f"no split of these {n:,} users can be tested: their {question.metric} has no spread to tell")
    ours, naive = (rate_of(p, question.alpha) for p in (found.ours, found.naive))
    known = found.too_small[np.isfinite(found.too_small)]
    rows = users.owner.size if isinstance(users, UserRows) else int(users.table[:, 2].sum())
    return SelfTest(
        source=question.source,
        metric=question.metric,
        alpha=question.alpha,
        seed=question.seed,
        n_permutations=question.permutations,
        n_users=n,
        n_requests=int(rows),
        n_control=n - n_treatment,
        n_treatment=n_treatment,
        ours=ours,
        naive=naive,
        design_effect=float(np.median(known)) if known.size else None,
        histogram=_histogram(found),
        sentence=_sentence(question, n, int(rows), ours, naive),
        notes=_notes(question, n, n_treatment, ours, naive),
    )


def _check(question: Question) -> None:
    if not 0 < question.alpha < 0.5:
        raise DesignError(f"alpha is {question.alpha:g}; wanted one between 0 and 0.5, such as 0.05")
    if not 100 <= question.permutations <= MOST_PERMUTATIONS:
        raise DesignError(
            f"{question.permutations:,} permutations were asked for; wanted 100 to {MOST_PERMUTATIONS:,}, such as 1,000"
        )
    if question.seed < 0:
        raise DesignError(f"the seed is {question.seed}; wanted a whole number from 0 on")


def permuted(
    users: UserSums | UserRows, n_treatment: int, permutations: int, seed: int, progress: Progress | None = None
) -> PValues:
    """Both tests' p of so many random splits of the users, of which `n_treatment` make the second arm."""
    n = users.n_users if isinstance(users, UserRows) else len(users.table)
    test = _quantile_tests(users) if isinstance(users, UserRows) else _ratio_tests(users)
    rng, parts, done = np.random.default_rng(seed), [], 0
    size = max(1, min(permutations, BLOCK // n))
    while done < permutations:
        parts.append(test(labels(rng, min(size, permutations - done), n, n_treatment)))
        done += len(parts[-1].ours)
        if progress is not None:
            progress("splits", done / permutations, f"{done:,} of {permutations:,} random splits")
    return PValues(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def labels(rng: np.random.Generator, rows: int, n_users: int, n_treatment: int) -> npt.NDArray[np.int8]:
    """Random splits, a row each: 1 for the users in the second arm, of which every split has `n_treatment`."""
    one = np.zeros((rows, n_users), dtype=np.int8)
    one[:, :n_treatment] = 1
    return rng.permuted(one, axis=1, out=one)


def _ratio_tests(users: UserSums) -> Callable[[npt.NDArray[np.int8]], PValues]:
    """Sums of each arm are one matrix product: labels by users, users by the twelve sums that both tests need."""
    num, den, rows, *over_rows = users.table.T
    ones = np.ones(len(num))
    table = np.column_stack([ones, num, den, num * num, num * den, den * den, rows, *over_rows])
    totals = table.sum(axis=0)
    is_flat = float(np.sum(num * num)) <= NOTHING * users.size * len(num)

    def test(split: npt.NDArray[np.int8]) -> PValues:
        sums = (split.astype(float) @ table).T
        both = []
        for places in ((0, 1, 2, 3, 4, 5), (6, 1, 2, 7, 8, 9)):
            treatment = Sums(*(sums[place] for place in places))
            both.append(contrasts(Sums(*(totals[place] for place in places)).minus(treatment), treatment))
        by_user, by_row = both
        nothing = np.full(len(split), np.nan)
        if is_flat:
            return PValues(nothing, nothing, nothing)
        return PValues(p_values(by_user), p_values(by_row, use_t=False), (by_user.error / by_row.error) ** 2)

    return test


def _quantile_tests(users: UserRows) -> Callable[[npt.NDArray[np.int8]], PValues]:
    """Rows are sorted once, so that an arm's are sorted too; then each split is the product's own comparison."""

    def one(split: npt.NDArray[np.int8]) -> tuple[float, float, float]:
        is_second = split[users.owner] == 1
        first, second = (_parts(users, mask) for mask in (~is_second, is_second))
        ours = difference(quantile_estimate(first), quantile_estimate(second))
        naive = difference(quantile_of_rows(first), quantile_of_rows(second), use_t=False)
        return _number(ours.p_value), _number(naive.p_value), _times_wider(ours, naive)

    def test(splits: npt.NDArray[np.int8]) -> PValues:
        return PValues(*np.array([one(split) for split in splits]).T)

    return test


def _parts(users: UserRows, mask: npt.NDArray[np.bool_]) -> QuantileParts:
    owner, value, probability = users.owner[mask], users.value[mask], users.probability
    reach = quantile_reach(len(value), probability)
    places = np.clip([probability, probability - reach, probability + reach], 0, 1) * (len(value) - 1)
    estimate, low, high = np.interp(places, np.arange(len(value)), value)
    below = np.bincount(owner[: np.searchsorted(value, estimate, side="right")], minlength=users.n_users)
    rows = np.bincount(owner, minlength=users.n_users)
    by_user = np.column_stack([below, rows])[rows > 0]
    near = (estimate, low, high)
    ends = [(np.searchsorted(value, one, side="left"), np.searchsorted(value, one, side="right")) for one in near]
    return QuantileParts(
        *(probability, reach, len(value), float(estimate), float(low), float(high), moments(by_user)),
        tied=float(max(after - first for first, after in ends) / len(value)),
        under=float(value[ends[1][0] - 1]) if ends[1][0] > 0 else None,
        over=float(value[ends[2][1]]) if ends[2][1] < len(value) else None,
    )


def _times_wider(ours: Comparison, naive: Comparison) -> float:
    if ours.ci_high is None or ours.ci_low is None or naive.ci_high is None or naive.ci_low is None:
        return float("nan")
    return ((ours.ci_high - ours.ci_low) / (naive.ci_high - naive.ci_low)) ** 2


def _number(p: float | None) -> float:
    return float("nan") if p is None else p


def rate_of(p: Array, alpha: float, level: float = 0.95) -> Rate:
    """How often p is at most alpha, among those that can be said."""
    known = p[np.isfinite(p)]
    n_false = int((known <= alpha).sum())
    if not known.size:
        return Rate(0, 0, None, None, None)
    return Rate(n_false, int(known.size), *wilson(Count(float(n_false), int(known.size)), level))


def _histogram(found: PValues) -> tuple[Bin, ...]:
    edges = np.linspace(0.0, 1.0, N_BINS + 1)
    ours, naive = (np.histogram(p[np.isfinite(p)], edges)[0] for p in (found.ours, found.naive))
    return tuple(
        Bin(float(low), float(high), int(a), int(b))
        for low, high, a, b in zip(edges[:-1], edges[1:], ours, naive, strict=True)
    )


def _sentence(question: Question, n_users: int, n_requests: int, ours: Rate, naive: Rate) -> str:
    return (
        f"{question.permutations:,} times the same {n_users:,} users ({n_requests:,} requests) were split at random, "
        f"so that {question.metric} cannot differ. At alpha {_percent(question.alpha)} the test by user saw a "
        f"difference in {rate_words(ours)} of the splits, the naive one by request in {rate_words(naive)}. "
        f"{_verdict(question.alpha, ours, naive)}"
    )


def _verdict(alpha: float, ours: Rate, naive: Rate) -> str:
    kept = _against(alpha, ours)
    first = {
        0: f"By user the promise of {_percent(alpha)} is kept",
        1: f"By user that is more than {_percent(alpha)}: its p is somewhat too sure here",
        -1: f"By user that is less than {_percent(alpha)}: it errs on the careful side here",
    }[kept]
    then = {
        0: "by request it is no worse here: users have few requests, or theirs do not resemble each other",
        1: "requests of one user resemble each other, and whoever counts them as people cries wolf",
        -1: "by request it is on the careful side",
    }[_against(alpha, naive)]
    return f"{first}; {then}." if naive.n else f"{first}; by request it cannot be said."


def _against(alpha: float, found: Rate) -> int:
    """Whether a rate is surely above alpha (1), surely below (-1), or neither."""
    if found.low is None or found.high is None:
        return 0
    return 1 if found.low > alpha else -1 if found.high < alpha else 0


def _notes(question: Question, n: int, n_treatment: int, ours: Rate, naive: Rate) -> tuple[str, ...]:
    notes = []
    smaller = min(n_treatment, n - n_treatment)
    if smaller < FEW_USERS:
        notes.append(
            f"Only {smaller:,} users are in the smaller arm. With fewer than {FEW_USERS} the test by user rests on an "
            "approximation that may be off, and these rates say little about other users."
        )
    if comb(n, n_treatment) < 10 * question.permutations:
        notes.append(
            f"These users can be split in only {comb(n, n_treatment):,} ways, so many splits were drawn again."
        )
    for name, found in (("by user", ours), ("by request", naive)):
        if 0 < found.n < question.permutations:
            unknown = question.permutations - found.n
            notes.append(f"In {unknown:,} splits the test {name} could not say anything; they are left out.")
    return tuple(notes)


def rate_words(found: Rate) -> str:
    """5.1% (95% interval 3.9% to 6.6%)."""
    if found.rate is None:
        return "an unknown part"
    return f"{found.rate:.1%} (95% interval {found.low:.1%} to {found.high:.1%})"


def _percent(share: float) -> str:
    return f"{100 * share:g}%"
