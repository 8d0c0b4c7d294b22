"""Thompson sampling: each variant is dealt as often as it is likely to be the best one, never less than a floor. Pure.

Agrawal and Goyal 2012, "Analysis of Thompson sampling for the multi-armed bandit problem"; the probability of being
the best is integrated, not sampled, so that it can be logged exactly. A floor keeps every variant's probability above
0: without it nothing could be estimated later about what was given up.
"""

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from organism.errors import DesignError
from organism.experiment.plan import Plan
from organism.measures.metric_names import better_of, quantile_of
from organism.stats.bayes import Beta, Normal, beta_posterior, probability_best
from organism.stats.compare import Estimate

FLOOR = 0.05
BURN_IN_USERS = 10
PLACES = 10_000
"""How finely the hash deals: probabilities are rounded to it, so that the logged one is the one that was played."""


class Policy(StrEnum):
    """How an experiment deals its variants."""

    HASH = "hash"
    THOMPSON = "thompson"


class Play(NamedTuple):
    """What is dealt now: a probability a variant, in their order, summing to 1.

    `best` is each one's probability of being the best, before the floor; None while the planned shares hold, and then
    `why` says what is missing.
    """

    probabilities: tuple[float, ...]
    best: tuple[float, ...] | None
    n_users: tuple[int, ...]
    why: str


def check_policy(policy: str, plan: Plan) -> Policy:
    """The policy by its word; raises DesignError for another word, or a primary metric that cannot steer Thompson."""
    if policy not in list(Policy):
        raise DesignError(f"no policy is named {policy!r}; the policies are {' and '.join(Policy)}")
    if policy == Policy.THOMPSON:
        steer = plan.primary[0]
        if quantile_of(steer):
            raise DesignError(
                f"Thompson sampling follows the first primary metric, and {steer} is a quantile; put a mean or a rate "
                "first, such as accepted, or use the policy hash"
            )
        if better_of(steer) == 0:
            raise DesignError(
                f"Thompson sampling follows the first primary metric, and nobody says whether more or less {steer} is "
                "better; put another one first, such as accepted"
            )
    return Policy(policy)


def play(
    arms: Sequence[Estimate | None],
    shares: Sequence[float],
    metric: str,
    *,
    better: int | None = None,
    floor: float = FLOOR,
) -> Play:
    """What to deal, from what each arm's users said: estimates in the variants' order (None: nobody yet).

    `better` is +1 where more of the metric is better, -1 where less; as its name says unless given, else more.
    `accepted` is Bernoulli with a uniform prior, on the number of independent answers that the users' spread leaves
    (drafts of one user resemble each other); any other metric is normal. Until every arm has BURN_IN_USERS users with
    a known answer, and where none of them differs, the planned shares are dealt.
    """
    n_users = tuple(arm.n if arm else 0 for arm in arms)
    heard = [arm for arm in arms if arm is not None]
    if min(n_users) < BURN_IN_USERS or len(heard) < len(arms):
        missing = f"every variant needs {BURN_IN_USERS} users whose {metric} is known; the fewest are {min(n_users)}"
        return Play(_dealt(shares), None, n_users, f"The planned shares hold: {missing}.")
    sign = better or better_of(metric) or 1
    best = probability_best([_bernoulli(arm) for arm in heard] if metric == "accepted" else _normals(heard, sign))
    if best is None:
        return Play(
            _dealt(shares), None, n_users, f"The planned shares hold: no user's {metric} differs from another's."
        )
    lowest = min(floor, 0.5 / len(arms))
    said = f"Dealt by the chance to be best on {metric}, each at least {lowest:.0%}."
    return Play(_dealt(floored(best, lowest)), best, n_users, said)


def floored(probabilities: Sequence[float], floor: float) -> tuple[float, ...]:
    """The probabilities mixed with equal ones, so that each is at least `floor` and they still sum to 1."""
    rest = 1 - floor * len(probabilities)
    return tuple(floor + rest * probability for probability in probabilities)


def _dealt(probabilities: Sequence[float]) -> tuple[float, ...]:
    """Rounded to the places of the hash, by their running sums: what is dealt is exactly what is logged."""
    ends, total = [0], 0.0
    for probability in probabilities:
        total += probability
        ends.append(round(total * PLACES))
    return tuple((high - low) / PLACES for low, high in pairwise(ends))


def _bernoulli(arm: Estimate) -> Beta:
    """The rate's posterior on the effective number of answers: p(1 − p) over the variance of the rate by users."""
    p = min(max(arm.value, 0.0), 1.0)
    n = p * (1 - p) / arm.variance if arm.variance and 0 < p < 1 else float(arm.n)
    return beta_posterior(p * n, n)


def _normals(arms: Sequence[Estimate], sign: int) -> list[Normal]:
    """Each arm's mean with its variance; an arm whose users all agree borrows the widest spread of the others."""
    widest = max((arm.variance or 0.0) * arm.n for arm in arms)
    return [Normal(sign * arm.value, arm.variance or widest / arm.n) for arm in arms]
