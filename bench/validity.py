"""How fast a reward is checked, and how often the audit and the check are wrong: `python -m bench.validity`.

The rows have a known truth; they are those of the tests, so that both speak of the same thing.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd

from data.scribe.first_design import FIRST_DESIGN
from organism.digest.audit import Verdict, audit
from organism.digest.predictions import Word
from organism.digest.validity import validity
from organism.stats.rank_correlation import rank_correlation
from tests.organism.digest.simulated_rows import clinic, served

N_NULL, N_PLANTED = 200, 40


def main() -> int:
    """Print each figure beside its limit. Returns 1 when one is missed."""
    null = Counter(_null(seed) for seed in range(N_NULL))
    hack, clean = (
        Counter(_verdict(clinic(3000 + seed), variant) for seed in range(N_PLANTED)) for variant in ("brief", "clean")
    )
    spurious = Counter(_vendor_word(seed) for seed in range(N_PLANTED))
    rows = [
        ("3,300 rows x 1,000 resamples, s", _seconds(3_300, 60, 1000), 2.0, True),
        ("50,000 rows x 300 resamples, s", _seconds(50_000, 5_000, 300), 6.0, True),
        ("check of a design, 20,000 rows, s", _timed(_check), 20.0, True),
        (f"no change called a hack, of {N_NULL}", null[Verdict.HACK], 0.01 * N_NULL, True),
        (f"no change called a hack or warned, of {N_NULL}", N_NULL - null[Verdict.CLEAN], 0.15 * N_NULL, True),
        (f"a hack called a hack, of {N_PLANTED}", hack[Verdict.HACK], 0.95 * N_PLANTED, False),
        (f"a better version called clean, of {N_PLANTED}", clean[Verdict.CLEAN], 0.9 * N_PLANTED, False),
        (f"a spurious signal called to predict, of {N_PLANTED}", spurious[Word.PREDICTS], 0.075 * N_PLANTED, True),
        (f"a spurious signal called spurious, of {N_PLANTED}", spurious[Word.SPURIOUS], 0.9 * N_PLANTED, False),
    ]
    missed = 0
    for name, value, limit, is_most in rows:
        met = value <= limit if is_most else value >= limit
        missed += not met
        word = "at most" if is_most else "at least"
        print(f"{name:<52} {value:8.2f}   {word} {limit:6.1f}   {'met' if met else 'MISSED'}")
    return 1 if missed else 0


def _seconds(n_rows: int, n_users: int, n_resamples: int) -> float:
    rng = np.random.default_rng(0)
    x = rng.normal(size=n_rows)
    y = (x + rng.normal(scale=2, size=n_rows) > 0).astype(float)
    groups, users = rng.integers(0, 3, n_rows), rng.integers(0, n_users, n_rows)
    return _timed(lambda: rank_correlation(x, y, groups=groups, users=users, rng=rng, n=n_resamples))


def _check() -> object:
    rows = clinic(0, n_users=267)
    return validity(rows, FIRST_DESIGN, rng=np.random.default_rng(0))


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _null(seed: int) -> Verdict:
    """Two versions that are the same."""
    rng = np.random.default_rng(seed)
    return _verdict(pd.concat([served("base", rng), served("same", rng)]), "same")


def _verdict(rows: pd.DataFrame, variant: str) -> Verdict:
    rng = np.random.default_rng(0)
    return audit(rows, FIRST_DESIGN, variant=variant, reference="base", rng=rng).verdict


def _vendor_word(seed: int) -> Word:
    """What the check says of a score that one version has more of and that is noise within each."""
    rows = clinic(5000 + seed)
    rows = rows[rows["variant"] != "brief"]
    noise = np.random.default_rng(9000 + seed).normal(scale=0.05, size=len(rows))
    rows = rows.assign(vendor_score=np.where(rows["variant"] == "clean", 0.8, 0.4) + noise)
    found = validity(rows, FIRST_DESIGN, candidates=["vendor_score"], rng=np.random.default_rng(0))
    (word,) = [p.word for p in found.signals if p.subject == "vendor_score" and p.outcome == "outcome.signed"]
    return word


if __name__ == "__main__":
    sys.exit(main())
