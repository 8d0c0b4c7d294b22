"""Policies in words: which version would write which drafts, for each segment. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from organism.digest.designs import listed
from organism.digest.prompt_kinds import KINDS_OF_PROMPT
from organism.errors import InputError

Shares = Mapping[str, float]

EVERYWHERE = "*"
SEGMENTS = ("region", "length")
FORMS = "always:VARIANT, region:SEGMENT=VARIANT,…,*=VARIANT, length:short=VARIANT,…, mix:VARIANT=SHARE,…, best:region"
_NOUNS = {"region": "region", "length": "length of prompt"}


class Policy(NamedTuple):
    """For each segment (or `*`) the share of drafts by variant. `learn` names a router that is learned first."""

    text: str
    segment_by: str | None
    rules: dict[str, dict[str, float]]
    learn: bool = False


def parse_policy(text: str) -> Policy:
    """A policy from its words, in one of the FORMS; raises InputError with what was found and what is wanted.

    Shares of a mixture are scaled to sum to 1.
    """
    kind, _, rest = (part.strip() for part in text.strip().partition(":"))
    if kind == "always" and rest:
        return Policy(text.strip(), None, {EVERYWHERE: {rest: 1.0}})
    if kind == "mix" and rest:
        return Policy(text.strip(), None, {EVERYWHERE: _mixture(rest, text)})
    if kind in SEGMENTS and rest:
        rules = {segment: {variant: 1.0} for segment, variant in _assignments(rest, text)}
        return Policy(text.strip(), kind, rules)
    if kind == "best" and rest in SEGMENTS:
        return Policy(text.strip(), rest, {}, learn=True)
    raise InputError(f"{text!r} is no policy; write one of: {FORMS}")


def check_segments(policy: Policy, found: Collection[str]) -> None:
    """Raise InputError when a rule is for a segment that no interaction is of: it would be followed by nobody."""
    known = sorted({*found, *(KINDS_OF_PROMPT if policy.segment_by == "length" else ())})
    for segment in policy.rules:
        if segment not in (EVERYWHERE, *known):
            raise InputError(
                f"no interaction is of the {policy.segment_by} {segment!r}; there are: {', '.join(known) or 'none yet'}"
            )


def in_words(policy: Policy) -> str:
    """The policy as a person would say it."""
    if policy.learn:
        return f"the best variant of each {_NOUNS[policy.segment_by or '']}, learned on half of the users"
    if policy.segment_by is None:
        shares = policy.rules[EVERYWHERE]
        mixed = _mixed(shares)
        return f"always {mixed}" if mixed in shares else mixed
    by_shares: dict[str, list[str]] = {}
    for segment, shares in policy.rules.items():
        by_shares.setdefault(_mixed(shares), []).append(named_segment(segment))
    return ", ".join(f"{shares} for {listed(segments)}" for shares, segments in by_shares.items())


def target_shares(policy: Policy, segments: Sequence[str], variants: Sequence[str]) -> npt.NDArray[np.float64]:
    """What the policy would do with each row, shape (rows, variants).

    Raises InputError when it names a variant that the loop does not have, or says nothing for a segment.
    """
    place = {variant: i for i, variant in enumerate(variants)}
    table: dict[str, npt.NDArray[np.float64]] = {}
    for segment, shares in policy.rules.items():
        if unknown := [variant for variant in shares if variant not in place]:
            raise InputError(f"no variant is called {unknown[0]!r}; there are: {', '.join(variants) or 'none yet'}")
        table[segment] = np.array([shares.get(variant, 0.0) for variant in variants])
    found = [table.get(segment, table.get(EVERYWHERE)) for segment in segments]
    if unsaid := sorted({s for s, shares in zip(segments, found, strict=True) if shares is None}):
        raise InputError(
            f"the policy says nothing for {policy.segment_by} {', '.join(unsaid)}; "
            f"add a rule such as {unsaid[0]}={variants[0]}, or *={variants[0]} for all the rest"
        )
    return np.array([shares for shares in found if shares is not None]).reshape(len(segments), len(variants))


def named_segment(segment: str) -> str:
    """A segment as a sentence names it."""
    if segment == EVERYWHERE:
        return "the rest"
    return f"{segment} prompts" if segment in KINDS_OF_PROMPT else segment


def _mixture(rest: str, text: str) -> dict[str, float]:
    shares = {}
    for variant, said in _assignments(rest, text):
        try:
            shares[variant] = float(said)
        except ValueError:
            raise InputError(f"the share of {variant} is {said!r}; write a number, as in mix:base=0.5,x=0.5") from None
        if not 0 <= shares[variant] < float("inf"):
            raise InputError(f"the share of {variant} is {said}; shares are 0 or more")
    largest = max(shares.values())
    if not largest:
        raise InputError(f"{text!r} gives no variant a share; give at least one a positive one")
    parts = {variant: share / largest for variant, share in shares.items()}  # a sum of huge shares would be infinite
    total = sum(parts.values())
    return {variant: part / total for variant, part in parts.items()}


def _assignments(rest: str, text: str) -> list[tuple[str, str]]:
    pairs = [tuple(part.strip() for part in piece.partition("=")[::2]) for piece in rest.split(",")]
    if any(not name or not value for name, value in pairs) or len({name for name, _ in pairs}) < len(pairs):
        raise InputError(f"{text!r} cannot be read; write NAME=VALUE with commas between, each name once: {FORMS}")
    return [(name, value) for name, value in pairs]


def _mixed(shares: Shares) -> str:
    some = {variant: share for variant, share in shares.items() if share > 0}
    if len(some) == 1:
        return next(iter(some))
    return listed([f"{share:.0%} {variant}" for variant, share in some.items()])
