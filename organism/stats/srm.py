"""Sample ratio mismatch: did the traffic split as it was meant to?"""

from collections.abc import Sequence

from scipy.special import chdtrc


def srm_p_value(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Pearson's chi-square p that users fell into the arms by these shares (they need not sum to 1).

    A tiny p means that assignment or logging is broken and no effect of the experiment can be believed.
    With fewer than one user there is nothing to contradict, and p is 1.
    """
    if len(counts) != len(shares) or len(counts) < 2:
        raise ValueError(
            f"found {len(counts)} counts and {len(shares)} shares; wanted one share an arm, two arms or more"
        )
    if min(shares) <= 0 or min(counts) < 0:
        raise ValueError(
            f"shares must be above 0 and counts at least 0; found shares {list(shares)}, counts {list(counts)}"
        )
    total, whole = sum(counts), sum(shares)
    if not total:
        return 1.0
    expected = [total * share / whole for share in shares]
    statistic = sum((count - wanted) ** 2 / wanted for count, wanted in zip(counts, expected, strict=True))
    return float(chdtrc(len(counts) - 1, statistic))
