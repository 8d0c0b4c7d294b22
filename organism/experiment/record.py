"""The decision record: one canonical JSON text of all that a decision rests on, and its judgment anew. Pure.

Canonical means sorted keys, no spaces, UTF-8, and the shortest text that reads back as the same float; so the same
evidence gives the same bytes, and the record's name is the SHA-256 of them. A record says:

format, organism, software      how it is written, and what wrote it, with the build of organism
experiment                      name, hypothesis, variants with shares, policy, and how users were dealt (salt, layer …)
data                            the version of the tables that were read, when, and the counts
evidence                        all that the store answered: moments, counts, days, quantiles, every version of the plan
scorecard, tracks, rule         what follows from the evidence, with the exact SQL and the plan; recomputed by `replay`
decision                        verdict, sentence, name and time; null where nobody has decided yet
content_sha256                  the SHA-256 of all the rest: a file that was changed by hand tells it by itself
"""

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from importlib.metadata import version
from math import isclose
from typing import Any, NamedTuple

from organism import __version__
from organism.errors import InputError
from organism.experiment.analysis import settings_of
from organism.experiment.build import build
from organism.experiment.evidence import Evidence, from_json, to_json
from organism.experiment.rules import RULES, judge
from organism.experiment.scorecard import Scorecard
from organism.experiment.track import track
from organism.wire import plain

FORMAT = 1
DEALT = ("loop_id", "loop_name", "salt", "layer", "layer_low", "layer_high", "targeting")
"""How an experiment dealt its users: what the evidence has no use for, and a record keeps."""
SHOWN = 20
ABSENT = "(not there)"
SEAL = "content_sha256"
ROUNDING = 1e-9
"""Relative: no order of additions moves a figure as far, and no reader sees it."""
TINY = 1e-12
"""Absolute: below it a figure is what rounding left of a 0, or a p that means 0."""


class Made(NamedTuple):
    """What a person decided, when, and about which treatment: None stands for the one that does best."""

    decision_id: str
    verdict: str
    note: str
    actor: str
    decided_at: datetime
    treatment: str | None = None


class Record(NamedTuple):
    """A record's text and the SHA-256 of its UTF-8 bytes."""

    text: str
    sha256: str

    @property
    def content(self) -> bytes:
        """The bytes that the hash is of."""
        return self.text.encode()


class Difference(NamedTuple):
    """One value of a record that comes out otherwise: where, what is written there, and what it is now."""

    path: str
    was: Any
    now: Any


class Outcome(StrEnum):
    """What a replay comes to."""

    SAME_BYTES = "same bytes"
    SAME_TO_ROUNDING = "the same to rounding"
    DIFFERS = "differs"


class Replayed(NamedTuple):
    """A record judged anew. `is_same` when every byte is the same, and the hash is the one that was kept.

    `outcome` is the same to rounding where the hashes hold and each number comes within a relative ROUNDING (or TINY),
    all else equal. `kept_sha256` is None where the record came without one. `software` says what differs from what
    wrote the record.
    """

    outcome: Outcome
    is_same: bool
    sha256: str
    kept_sha256: str | None
    n_bytes: int
    n_differences: int
    differences: tuple[Difference, ...]
    software: tuple[str, ...]
    sentence: str


def make_record(evidence: Evidence, dealt: Mapping[str, Any], made: Made | None = None) -> tuple[Record, Scorecard]:
    """The record of a decision, or with none the record as of now; and the scorecard that stands in it.

    `dealt` has the entries of DEALT. The scorecard is judged from the evidence as it is read back, as `replay` does.
    """
    kept = from_json(to_json(evidence))
    card = judge(kept)
    decision = None if made is None else plain(made._replace(treatment=made.treatment or card.treatment))
    software = {"organism": __version__, "software": software_now()}
    document = _document(kept, card, {name: plain(dealt[name]) for name in DEALT}, decision, software)
    return _sealed(document), card


def software_now() -> dict[str, str]:
    """What computes here: a float's last digit may depend on it."""
    found = {name: version(name) for name in ("numpy", "scipy", "duckdb")}
    own = build()
    return {
        **({"build": own} if own else {}),
        "python": platform.python_version(),
        **found,
        "machine": platform.machine(),
    }


def read_record(text: str) -> dict[str, Any]:
    """A record's document; raises InputError for a text that is none, or of a format that is not known here."""
    try:
        document = json.loads(text)
        found = document["format"]
    except (ValueError, TypeError, KeyError) as error:
        why = "it has no entry 'format'" if isinstance(error, KeyError) else "it is no JSON object"
        raise InputError(f"this is no decision record: {why}; give the JSON file as it was downloaded") from error
    if found != FORMAT:
        raise InputError(f"the record has format {found!r}, this is organism {__version__}, which reads {FORMAT}")
    return dict(document)


def evidence_in(document: Mapping[str, Any]) -> Evidence:
    """The evidence in a record's document; raises InputError where it is none any more."""
    return from_json(json.dumps(document.get("evidence")))


def replay(text: str, kept_sha256: str | None = None) -> Replayed:
    """Check a record's hashes, then recompute all that follows from its evidence, and compare every byte.

    Raises InputError for a text that is no record, or whose evidence cannot be judged any more.
    """
    document = read_record(text)
    again = _again(document)
    found = list(differences({**document, SEAL: None}, {**again, SEAL: None}))
    sha256 = _sha256(text)
    broken = _broken(document, sha256, kept_sha256)
    outcome = Outcome.DIFFERS
    if not broken and canonical(document) == text:
        if not found:
            outcome = Outcome.SAME_BYTES
        elif all(_is_rounding(one) for one in found):
            outcome = Outcome.SAME_TO_ROUNDING
    software = _other_software(document)
    return Replayed(
        outcome=outcome,
        is_same=outcome is Outcome.SAME_BYTES,
        sha256=sha256,
        kept_sha256=kept_sha256,
        n_bytes=len(text.encode()),
        n_differences=len(found),
        differences=tuple(found[:SHOWN]),
        software=software,
        sentence=_sentence(document, sha256, found, software, outcome, broken),
    )


def differences(was: Any, now: Any, path: str = "") -> Iterator[Difference]:
    """Where two documents differ, in the order of their canonical text."""
    if isinstance(was, dict) and isinstance(now, dict):
        for name in sorted({*was, *now}):
            here = f"{path}.{name}" if path else name
            if name not in was or name not in now:
                yield Difference(here, was.get(name, ABSENT), now.get(name, ABSENT))
            else:
                yield from differences(was[name], now[name], here)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for place, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from differences(one, other, f"{path}[{place}]")
    elif canonical(was) != canonical(now):
        yield Difference(path, was, now)


def canonical(value: Any) -> str:
    """The one text of plain data."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _sealed(document: Mapping[str, Any]) -> Record:
    text = canonical({**document, SEAL: _sha256(canonical(document))})
    return Record(text, _sha256(text))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _broken(document: Mapping[str, Any], sha256: str, kept: str | None) -> str:
    """What a hash that does not hold says; empty where each that is there holds."""
    if kept is not None and kept != sha256:
        return f"The record was changed after it was kept: its SHA-256 is {sha256}, {kept} was kept."
    if SEAL not in document:
        return ""
    content = _sha256(canonical({name: value for name, value in document.items() if name != SEAL}))
    if content == document[SEAL]:
        return ""
    return f"The record was changed after it was written: its content has the SHA-256 {content}, not its {SEAL}."


def _is_rounding(one: Difference) -> bool:
    """Two numbers, not both whole, that differ by rounding only: a count never does."""
    pair = (one.was, one.now)
    if not all(type(value) in (int, float) for value in pair) or all(type(value) is int for value in pair):
        return False
    return isclose(one.was, one.now, rel_tol=ROUNDING, abs_tol=TINY)


def _largest(found: list[Difference]) -> Difference:
    """The difference that is largest for the size of its figures; those within TINY count for least."""
    return max(found, key=lambda one: abs(one.was - one.now) / max(abs(one.was), abs(one.now), TINY / ROUNDING))


def _again(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document made anew from its evidence and what is only carried along."""
    evidence = evidence_in(document)
    try:
        dealt = {name: document["experiment"][name] for name in DEALT}
        software = {name: document[name] for name in ("organism", "software")}
        return _document(evidence, judge(evidence), dealt, document["decision"], software)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"the record's evidence can be judged no more ({type(error).__name__}: {error}); it was changed after it "
            "was kept, or is not complete"
        ) from error


def _document(
    evidence: Evidence,
    card: Scorecard,
    dealt: Mapping[str, Any],
    decision: Mapping[str, Any] | None,
    software: Mapping[str, Any],
) -> dict[str, Any]:
    settings = settings_of(evidence)
    rule = next(rule for rule in RULES if rule.name == card.rule)
    return {
        "format": FORMAT,
        **software,
        "experiment": {
            "experiment_id": evidence.experiment_id,
            "name": evidence.name,
            "hypothesis": evidence.hypothesis,
            "policy": evidence.policy,
            "control": card.control,
            "variants": [
                {"name": one.name, "share": one.share, "model_version_id": one.model_version_id, "prompt": one.prompt}
                for one in evidence.variants
            ],
            **dealt,
        },
        "data": {
            "version": evidence.data_version,
            "read_at": plain(evidence.read_at),
            "n_assigned": evidence.n_assigned,
            "n_users": plain(card.n_users),
            "n_interactions": card.n_interactions,
            "n_in_two_variants": card.n_in_both,
        },
        "evidence": json.loads(to_json(evidence)),
        "scorecard": plain(card),
        "tracks": {name: plain(track(evidence, settings, name)) for name in settings.treatments},
        "rule": plain(rule),
        "decision": decision,
    }


def _other_software(document: Mapping[str, Any]) -> tuple[str, ...]:
    then = {"organism": document.get("organism"), **dict(document.get("software") or {})}
    now = {"organism": __version__, **software_now()}
    named = [name for name in now if name in then or name != "build"]  # a record from before builds were named
    return tuple(f"{name} was {then.get(name)}, is {now[name]}" for name in named if then.get(name) != now[name])


def _writer(document: Mapping[str, Any]) -> str:
    """Which build wrote a record that comes out with other last digits."""
    then, now = dict(document.get("software") or {}).get("build"), build()
    if then is None or now is None:
        return "It names no build of organism, so another one may have written it."
    if then != now:
        return f"Another build of organism wrote it ({then}, this is {now})."
    return f"This build of organism wrote it ({now}), so its libraries or its processor were others."


def _sentence(
    document: Mapping[str, Any],
    sha256: str,
    found: list[Difference],
    software: tuple[str, ...],
    outcome: Outcome,
    broken: str,
) -> str:
    by_other = f" Computed by other software: {'; '.join(software)}." if software else ""
    if outcome is Outcome.SAME_BYTES:
        return f"Same bytes: SHA-256 {sha256}. {said_of(document)}{by_other}"
    if outcome is Outcome.SAME_TO_ROUNDING:
        most = _largest(found)
        return (
            f"The same to rounding: {_values(found)} out otherwise by less than one part in {1 / ROUNDING:,.0f}, all "
            f"else is equal. The largest difference: {most.path} was {most.was!r}, is {most.now!r}. "
            f"{_writer(document)} SHA-256 {sha256}. {said_of(document)}{by_other}"
        )
    said = [part for part in (broken, _differing(found)) if part]
    if not said:
        said = ["The same values, but not in their canonical text: the file was written anew."]
    return f"Differs. {' '.join(said)}{by_other}"


def _values(found: list[Difference]) -> str:
    return "1 value comes" if len(found) == 1 else f"{len(found)} values come"


def _differing(found: list[Difference]) -> str:
    """How many values come out otherwise, the first of them, and where the next are; empty where none does."""
    if not found:
        return ""
    first = found[0]
    if all(one.was == ABSENT for one in found):
        return (
            f"No recorded value comes out otherwise, but {len(found)} that this organism adds are not there, such as "
            f"{first.path}: it was written by an earlier one."
        )
    then = f" Then: {', '.join(one.path for one in found[1:4])}." if len(found) > 1 else ""
    return (
        f"{_values(found)} out otherwise from the record's own evidence. The first: {first.path} was "
        f"{_shown(first.was)}, is {_shown(first.now)}.{then}"
    )


def said_of(document: Mapping[str, Any]) -> str:
    """Whose record it is, in one sentence."""
    name, decision, rule = document["experiment"]["name"], document["decision"], document["rule"]["name"]
    if decision is None:
        return f"{name!r} as of {document['data']['read_at']}, not decided; the rule that fires is {rule}."
    return (
        f"{name!r}: {decision['actor']} decided {decision['verdict'].replace('_', ' ')} at {decision['decided_at']}; "
        f"the rule that fired is {rule}."
    )


def _shown(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
