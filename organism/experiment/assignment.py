"""Who gets which arm: a hash of the user, the same on every machine, without a table."""

from collections.abc import Sequence
from typing import NamedTuple

from organism.errors import DesignError
from organism.records import Variant


class Arm(NamedTuple):
    """Where a user was put, and how probable that was: without it no later counterfactual can be computed."""

    variant: str
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


def assign(salt: str, user_key: str, variants: Sequence[Variant]) -> Arm:
    """The user's variant: the buckets are dealt out in the variants' order, by their shares.

    Raises DesignError for shares that leave a variant empty or do not sum to 1.
    """
    check_shares(variants)
    place, until = bucket(salt, user_key), 0.0
    for variant in variants:
        until += variant.share
        if place < until:
            break
    return Arm(variant.name, variant.share)


def check_shares(variants: Sequence[Variant]) -> None:
    """Raise DesignError unless there are two variants or more, of different names, whose shares are above 0 and sum
    to 1.
    """
    names = [variant.name for variant in variants]
    if len(names) < 2:
        raise DesignError(f"found {len(names)} variant; an experiment compares two or more, the control first")
    if len(set(names)) < len(names) or not all(name.strip() for name in names):
        raise DesignError(f"variants need different names; found {', '.join(map(repr, names))}")
    shares = [variant.share for variant in variants]
    if not all(0 < share < 1 for share in shares) or abs(sum(shares) - 1) > 1e-9:
        raise DesignError(
            f"found shares of {', '.join(f'{share:g}' for share in shares)}; "
            "give each variant a share between 0 and 1, in all 1"
        )
