"""Who gets which variant: a hash of the user, the same on every machine, without a table. Pure.

The hash, ranges and choice are GrowthBook's (its SDK conformance cases, specVersion 5): a product that uses one of its
SDKs with this salt as the seed deals the same users to the same variants.
"""

from collections.abc import Sequence
from typing import NamedTuple

from organism.errors import DesignError
from organism.records import Variant

MAX_VARIANTS = 50
Ranges = Sequence[tuple[float, float]]


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


def bucket_ranges(n: int, coverage: float = 1.0, weights: Sequence[float] | None = None) -> list[tuple[float, float]]:
    """The part of [0, 1) that each of n variants takes, in their order: each covers the first `coverage` of its own.

    So a user keeps the variant when coverage grows. GrowthBook's rules: coverage is held to [0, 1]; weights of another
    number or whose sum is not 1 within 0.01 are replaced by equal ones.
    """
    covered = min(max(coverage, 0.0), 1.0)
    if weights is None or len(weights) != n or not 0.99 <= sum(weights) <= 1.01:
        weights = [1 / n] * n
    ranges, start = [], 0.0
    for weight in weights:
        ranges.append((start, start + covered * weight))
        start += weight
    return ranges


def choose(place: float, ranges: Ranges) -> int | None:
    """Which of the ranges [low, high) holds this place; None where none does."""
    return next((number for number, (low, high) in enumerate(ranges) if low <= place < high), None)


def assign(salt: str, user_key: str, variants: Sequence[Variant]) -> Arm:
    """The user's variant: the buckets are dealt out in the variants' order, by their shares.

    Raises DesignError for shares that leave a variant empty or do not sum to 1.
    """
    check_shares(variants)
    return deal(salt, user_key, variants, [variant.share for variant in variants])


def deal(salt: str, user_key: str, variants: Sequence[Variant], probabilities: Sequence[float]) -> Arm:
    """The variant that the user's hash picks under these probabilities, one a variant, in all 1."""
    chosen = choose(bucket(salt, user_key), bucket_ranges(len(variants), weights=probabilities))
    place = len(variants) - 1 if chosen is None else chosen
    return Arm(variants[place].name, probabilities[place])


def check_shares(variants: Sequence[Variant]) -> None:
    """Raise DesignError unless there are 2 to 50 variants of different names, whose shares are above 0 and sum to 1."""
    names = [variant.name for variant in variants]
    if len(names) < 2:
        raise DesignError(f"found {len(names)} variant; an experiment compares two or more, the control first")
    if len(names) > MAX_VARIANTS:
        raise DesignError(f"found {len(names)} variants; an experiment compares at most {MAX_VARIANTS}: run fewer")
    if len(set(names)) < len(names) or not all(name.strip() for name in names):
        raise DesignError(f"variants need different names; found {', '.join(map(repr, names))}")
    shares = [variant.share for variant in variants]
    if not all(0 < share < 1 for share in shares) or abs(sum(shares) - 1) > 1e-9:
        raise DesignError(
            f"found shares of {', '.join(f'{share:g}' for share in shares)}; "
            "give each variant a share between 0 and 1, in all 1"
        )
