"""Texts that are nearly the same on both sides of a split: a model that trained on one has seen the other. Pure.

Near means: the sets of runs of five words (all words, when a text has fewer) share at least a stated part,
Jaccard's |A ∩ B| / |A ∪ B| (Broder, "On the resemblance and containment of documents", 1997). Runs of five words
and a threshold of 0.8 are those of Lee et al., "Deduplicating training data makes language models better" (2022).
MinHash finds the pairs worth comparing; each is then compared exactly, so that none is counted by chance.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SHINGLE = 5
NEAR = 0.8
N_HASHES = 252
BAND_SIZES = (6, 4, 3, 2, 1)
MISSES = 1e-4
"""A pair that shares s is missed with probability (1 - s^r)^b in b bands of r hashes; at 0.8 that is 3 in a million."""

Shingles = NDArray[np.uint64]
_IDEOGRAMS = "\u3040-\u30ff\u3400-\u9fff"  # scripts without spaces between words: each sign stands for a word
_WORD = re.compile(rf"[{_IDEOGRAMS}]|[^\W{_IDEOGRAMS}]+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class NearPair(NamedTuple):
    """Positions of a training and a held-out text, and the share of their shingles that they have in common."""

    train: int
    heldout: int
    similarity: float


class Nearest(NamedTuple):
    """The position of the nearest training text, and the share of their shingles that both have."""

    train: int | None
    similarity: float


def near_pairs(train: Sequence[str], heldout: Sequence[str], *, threshold: float = NEAR) -> list[NearPair]:
    """Each training text that is near to a held-out one, with the nearest of those, in the order of `train`.

    Case, white space and punctuation do not count. `threshold` is in (0, 1].
    """
    vocabulary: dict[str, int] = {}
    sides = ([shingles(text, vocabulary) for text in train], [shingles(text, vocabulary) for text in heldout])
    nearest: dict[int, NearPair] = {}
    for left, right in sorted(_candidates(*sides, band_size(threshold))):
        shared = jaccard(sides[0][left], sides[1][right])
        if shared >= threshold and (left not in nearest or shared > nearest[left].similarity):
            nearest[left] = NearPair(left, right, shared)
    return [nearest[left] for left in sorted(nearest)]


def nearest(train: Sequence[str], texts: Sequence[str]) -> list[Nearest]:
    """Of each text the training text with which it shares most of its runs of five words, exactly; one a text.

    Without any training text, or where nothing is shared, the place is None and the similarity 0.
    """
    vocabulary: dict[str, int] = {}
    known = [shingles(text, vocabulary) for text in train]
    holders: dict[int, list[int]] = defaultdict(list)
    for place, found in enumerate(known):
        for shingle in found.tolist():
            holders[shingle].append(place)
    sizes = np.array([len(found) for found in known], dtype=np.int64)
    return [_nearest_of(shingles(text, vocabulary), holders, sizes) for text in texts]


def _nearest_of(text: Shingles, holders: Mapping[int, list[int]], sizes: NDArray[np.int64]) -> Nearest:
    shared = np.zeros(len(sizes), dtype=np.int64)
    for shingle in text.tolist():
        shared[holders.get(shingle, [])] += 1
    if not shared.any():
        return Nearest(None, 0.0)
    similarity = shared / (sizes + len(text) - shared)
    place = int(similarity.argmax())
    return Nearest(place, float(similarity[place]))


def shingles(text: str, vocabulary: dict[str, int] | None = None) -> Shingles:
    """The text's runs of five words as sorted 64-bit hashes, each once; none for a text without a word.

    `vocabulary` keeps the hashes of words from one text to the next.
    """
    known = {} if vocabulary is None else vocabulary
    words = np.array([_hash(word, known) for word in _WORD.findall(text.lower())], dtype=np.uint64)
    if not len(words):
        return words
    size = min(SHINGLE, len(words))
    total = np.zeros(len(words) - size + 1, dtype=np.uint64)
    for place in range(size):
        total = _mixed(total * _MULTIPLIER + words[place : place + len(total)])
    return np.unique(total)


def jaccard(left: Shingles, right: Shingles) -> float:
    """The share of all shingles of both texts that both have; 0 when a text has none."""
    if not len(left) or not len(right):
        return 0.0
    shared = len(np.intersect1d(left, right, assume_unique=True))
    return shared / (len(left) + len(right) - shared)


def band_size(threshold: float) -> int:
    """The most hashes a band may have so that a pair at the threshold is missed less than once in 10,000 times."""
    misses = {size: (1 - threshold**size) ** (N_HASHES // size) for size in BAND_SIZES}
    return next((size for size in BAND_SIZES if misses[size] < MISSES), 1)


def _candidates(train: Sequence[Shingles], heldout: Sequence[Shingles], size: int) -> set[tuple[int, int]]:
    """Pairs that agree in at least one band of their signatures."""
    buckets: Mapping[bytes, list[int]] = _buckets(heldout, size)
    pairs: set[tuple[int, int]] = set()
    for place, bands in _signatures(train, size):
        for band in bands:
            pairs.update((place, other) for other in buckets.get(band, ()))
    return pairs


def _buckets(texts: Sequence[Shingles], size: int) -> dict[bytes, list[int]]:
    buckets: dict[bytes, list[int]] = defaultdict(list)
    for place, bands in _signatures(texts, size):
        for band in bands:
            buckets[band].append(place)
    return dict(buckets)


def _signatures(texts: Sequence[Shingles], size: int) -> Iterable[tuple[int, list[bytes]]]:
    """Of each text with a word its MinHash bands: the least of its shingles under each of 252 permutations."""
    salts = np.random.default_rng(1997).integers(0, 2**64, N_HASHES, dtype=np.uint64)
    for place, text in enumerate(texts):
        if len(text):
            least = _mixed(text[None, :] ^ salts[:, None]).min(axis=1).reshape(-1, size)
            yield place, [bytes([number]) + band.tobytes() for number, band in enumerate(least)]


def _hash(word: str, known: dict[str, int]) -> int:
    if word not in known:
        known[word] = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())
    return known[word]


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64 (Steele, Lea, Flood 2014): every bit of the input moves every bit of the output."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
