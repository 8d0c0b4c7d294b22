"""Who gets which arm: a hash of the user, the same on every machine, without a table."""

from typing import NamedTuple

from organism.errors import DesignError

CONTROL = "control"
TREATMENT = "treatment"


class Arm(NamedTuple):
    """Where a user was put, and how probable that was: without it no later counterfactual can be computed."""

    arm: str
    probability: float


def fnv1a32(text: str) -> int:
    """The 32-bit FNV-1a hash of a text's code points (Fowler, Noll and Vo)."""
    digest = 0x811C9DC5
    for character in text:
        digest = ((digest ^ ord(character)) * 0x01000193) & 0xFFFFFFFF
    return digest


def bucket(salt: str, key: str, version: int = 2) -> float:
    """Where a key falls in [0, 1): GrowthBook's hash, in its versions 1 and 2, so that its SDKs agree."""
    if version == 2:
        return fnv1a32(str(fnv1a32(salt + key))) % 10_000 / 10_000
    if version == 1:
        return fnv1a32(key + salt) % 1_000 / 1_000
    raise ValueError(f"hash version {version} is unknown; use 1 or 2")


def assign(salt: str, user_key: str, treatment_share: float) -> Arm:
    """The user's arm: the first 1 − share of the buckets are control, the rest treatment.

    Raises DesignError for a share that leaves an arm empty.
    """
    if not 0 < treatment_share < 1:
        raise DesignError(
            f"a treatment share of {treatment_share} leaves an arm empty; give a share between 0 and 1, such as 0.5"
        )
    if bucket(salt, user_key) < 1 - treatment_share:
        return Arm(CONTROL, 1 - treatment_share)
    return Arm(TREATMENT, treatment_share)
