"""How far a judge agrees with people: over pairs where a person preferred one text, does the judge prefer it too?

A tie counts half. Which of the two texts a pair names first says nothing, so chance agreement is one half, and Cohen's
kappa (1960) is (agreement - 1/2) / (1/2).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from organism.lm.judge import Preference
from organism.optimize.paired import pair as ends_of
from organism.optimize.runs import Pair
from organism.records import Interval
from organism.stats.bootstrap import paired_bootstrap
from organism.stats.shared_votes import clustered_share

CREDIT = {Preference.FIRST: 1.0, Preference.TIE: 0.5, Preference.SECOND: 0.0}


class Agreement(NamedTuple):
    """Agreement with its interval by user, beside what length alone reaches on the same pairs; None without pairs."""

    n: int
    n_users: int
    n_ties: int
    agreement: Interval
    length_alone: Interval
    over_length: Interval

    def summary(self) -> dict[str, Any]:
        """As plain data: n, n_users, n_ties, agreement, ci, kappa, length_alone, over_length, over_length_ci."""
        found = self.agreement.estimate
        return {
            "n": self.n,
            "n_users": self.n_users,
            "n_ties": self.n_ties,
            "agreement": found,
            "ci": ends_of(self.agreement),
            "kappa": None if found is None else 2 * found - 1,
            "length_alone": self.length_alone.estimate,
            "over_length": self.over_length.estimate,
            "over_length_ci": ends_of(self.over_length),
        }


def agreement(pairs: Sequence[Pair], said: Sequence[Preference], *, longer_wins: bool, seed: int) -> Agreement:
    """What the judge said of each pair with the chosen text first, against the people who chose it.

    `longer_wins` is the rule that length alone would follow, learned elsewhere (`longer_is_chosen` of other pairs).
    """
    mine = [CREDIT[preference] for preference in said]
    by_length = [CREDIT[prefer_by_length(pair.chosen, pair.rejected, longer_wins=longer_wins)] for pair in pairs]
    ones, users = [1.0] * len(pairs), [pair.user_key for pair in pairs]
    if not pairs:
        nothing = Interval(None, None, None)
        return Agreement(0, 0, 0, nothing, nothing, nothing)
    return Agreement(
        n=len(pairs),
        n_users=len(set(users)),
        n_ties=sum(preference is Preference.TIE for preference in said),
        agreement=_share(mine, users),
        length_alone=_share(by_length, users),
        over_length=paired_bootstrap(by_length, ones, mine, ones, users, rng=np.random.default_rng(seed)),
    )


def _share(credits: Sequence[float], users: Sequence[str]) -> Interval:
    share = clustered_share(credits, users)
    return Interval(share.share, share.low, share.high)


def prefer_by_length(first: str, second: str, *, longer_wins: bool) -> Preference:
    """What a judge says that looks at length alone: the baseline that any judge has to beat."""
    if len(first) == len(second):
        return Preference.TIE
    return Preference.FIRST if (len(first) > len(second)) == longer_wins else Preference.SECOND


def longer_is_chosen(pairs: Sequence[Pair]) -> bool:
    """Whether people chose the longer text more often than the shorter one."""
    return sum(np.sign(len(pair.chosen) - len(pair.rejected)) for pair in pairs) > 0
