"""A design as text: TOML for people, JSON for programs, a link for a draft that nobody saved. Pure.

All three carry the same document: name, note, author, `signals` and `constraints`, each a list of lines. The id
is never read from the text, only computed from the recipe, so that an edited file cannot pass for another design.
"""

import base64
import json
import re
import tomllib
import zlib
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from enum import StrEnum
from math import log10
from typing import Any

from organism.digest.designs import GROUPS, check_groups, group_weights, moved
from organism.errors import DesignError, InputError
from organism.records import Constraint, RewardDesign, SignalSpec

MAX_TEXT, MAX_LINK = 64 * 1024, 8_000
UNNAMED = "draft"
_WORDS = ("name", "note", "author")
# What a list of designs says beside them; read back without complaint, and without being believed.
_DERIVED = ("reward_design_id", "version", "parent_id", "created_at", "weights")
_HEAD = """\
# Reward design {id}: this id is the hash of the recipe below, the same on any machine.
# Reward = sum of weight x utility / sum of weights, from 0 to 1. A signal's utility is 0 at `worst`, 1 at `best`,
# linear between and cut off outside. `missing` is the utility of an absent signal; without that line,
# interactions that lack the signal are left out.
# Try it:   organism reward what-if FILE.toml
# Keep it:  organism reward save FILE.toml --note "what should get better"
"""
_GUARD = "\n# A guardrail: a variant whose mean breaks it may not win, whatever its reward.\n"


class Form(StrEnum):
    """How a design is written down."""

    TOML = "toml"
    JSON = "json"


def document(design: RewardDesign) -> dict[str, Any]:
    """The design as plain data, with its id; `from_json` reads it back."""
    return {
        "reward_design_id": design.id,
        "name": design.name,
        "note": design.note,
        "author": design.author,
        "signals": [_numbers(spec) for spec in design.signals],
        "constraints": [_numbers(guardrail) for guardrail in design.constraints],
    }


def to_json(design: RewardDesign) -> str:
    """The design as a JSON object."""
    return json.dumps(document(design), indent=2, ensure_ascii=False)


def to_toml(design: RewardDesign) -> str:
    """The design as TOML with comments that say how to read and use it."""
    words = "".join(f"{key} = {_quoted(getattr(design, key))}\n" for key in _WORDS)
    signals = "".join(f"\n[[signals]]\n{_lines(spec)}" for spec in design.signals)
    guardrails = "".join(f"\n[[constraints]]\n{_lines(guardrail)}" for guardrail in design.constraints)
    return f"{_HEAD.format(id=design.id)}\n{words}{signals}{_GUARD if guardrails else ''}{guardrails}"


def from_toml(text: str, source: str = "the design") -> RewardDesign:
    """Read a design; `source` names the text in messages. Raises InputError with the line or field that is wrong."""
    return from_document(parse(text, Form.TOML, source), source)


def from_json(text: str, source: str = "the design") -> RewardDesign:
    """Read a design; `source` names the text in messages. Raises InputError with the line or field that is wrong."""
    return from_document(parse(text, Form.JSON, source), source)


def to_link(design: RewardDesign) -> str:
    """The design as text that is safe in an address; the same design gives the same text."""
    canonical = json.dumps(document(design), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    link = base64.urlsafe_b64encode(zlib.compress(canonical.encode(), 9)).decode().rstrip("=")
    if len(link) > MAX_LINK:
        raise DesignError(f"design {design.name!r} is too long for a link; hand it on as a TOML file instead")
    return link


def from_link(link: str) -> RewardDesign:
    """The design that a link carries; the recipe itself is not checked here.

    Raises InputError when the link is cut, changed or too long. Nothing in it is ever run.
    """
    broken = "this link holds no whole design; ask for the link again, or start from the live design"
    if not link or len(link) > MAX_LINK or not re.fullmatch(r"[A-Za-z0-9_-]+", link):
        raise InputError(broken)
    unpack = zlib.decompressobj()
    try:
        found = unpack.decompress(base64.urlsafe_b64decode(link + "=" * (-len(link) % 4)), MAX_TEXT)
        text = found.decode()
    except (ValueError, zlib.error) as error:
        raise InputError(broken) from error
    if not unpack.eof:
        raise InputError(broken)
    return from_json(text, "the design in this link")


def form_of(text: str) -> Form:
    """JSON when the text begins with a brace, as no TOML does; else TOML."""
    return Form.JSON if text.lstrip("\ufeff \t\r\n").startswith("{") else Form.TOML


def parse(text: str, form: Form, source: str = "the design") -> dict[str, Any]:
    """The text's table or object, not yet understood. Raises InputError with the line where it breaks off."""
    if len(text) > MAX_TEXT:
        raise InputError(f"{source} is longer than {MAX_TEXT // 1024} KB; a design is a short list of signals")
    text = text.removeprefix("\ufeff")
    try:
        found = tomllib.loads(text) if form is Form.TOML else json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        said = str(error)[:200] or "it is nested too deeply"
        raise InputError(f"{source} is not {form.upper()}: {said}; mend that line, or export a design anew") from error
    if not isinstance(found, dict):
        raise InputError(f"{source} is {_shown(found)}; wanted one JSON object with name and signals")
    return found


def from_document(found: Mapping[str, Any], source: str = "the design") -> RewardDesign:
    """A parsed document as a design. Raises InputError that names the wrong field."""
    _check_keys(found, (*_WORDS, "signals", "constraints", *_DERIVED), source, "a design")
    if "signals" not in found:
        raise InputError(
            f"{source} has no signals; add at least one with signal, weight, worst and best, "
            "or start from `organism reward show live --toml`"
        )
    words = {key: _text(found.get(key, UNNAMED if key == "name" else ""), f"{source}: {key}") for key in _WORDS}
    signals, guardrails = (list(_entries(found.get(key, []), f"{source}: {key}")) for key in ("signals", "constraints"))
    design = RewardDesign(
        **words,
        signals=tuple(_signal(line, where) for where, line in signals),
        constraints=tuple(_constraint(line, where) for where, line in guardrails),
    )
    if "weights" in found and found["weights"] != group_weights(design):
        raise InputError(
            f"{source} gives weights by group that its signals do not sum to; change the weight of each signal, "
            "or send price, performance and quality without signals"
        )
    return design


def from_weights(found: Mapping[str, Any], live: RewardDesign, source: str = "the body") -> RewardDesign:
    """The live design with other weights of its groups: {price, performance, quality}, each may be left out.

    Raises InputError for a weight that is no number, DesignError where the design has no signal to carry it.
    """
    _check_keys(found, (*GROUPS, *_WORDS), source, "a move of the live design's weights")
    asked = {group: _number(found[group], f"{source}: {group}") for group in GROUPS if group in found}
    check_groups(live, asked)
    words = {key: _text(found.get(key, live.name if key == "name" else ""), f"{source}: {key}") for key in _WORDS}
    design = moved(live, **{**group_weights(live), **asked})
    return RewardDesign(**words, signals=design.signals, constraints=design.constraints)


def has_weights_only(found: Mapping[str, Any]) -> bool:
    """Whether a document moves the live design's weights instead of spelling out a design."""
    return "signals" not in found and any(group in found for group in GROUPS)


def _signal(line: Mapping[str, Any], where: str) -> SignalSpec:
    _check_keys(line, SignalSpec._fields, where, "a signal", required=("signal", "weight", "worst", "best"))
    name = _text(line["signal"], f"{where}: signal")
    where = f"{where} ({name})"
    weight, worst, best = (_number(line[key], f"{where}: {key}") for key in ("weight", "worst", "best"))
    return SignalSpec(name, weight, worst, best, _number_or_none(line.get("missing"), f"{where}: missing"))


def _constraint(line: Mapping[str, Any], where: str) -> Constraint:
    _check_keys(line, Constraint._fields, where, "a constraint", required=("signal",))
    name = _text(line["signal"], f"{where}: signal")
    bounds = (_number_or_none(line.get(key), f"{where} ({name}): {key}") for key in ("at_least", "at_most"))
    return Constraint(name, *bounds)


def _entries(found: Any, where: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """The lines of a list of tables, each with words that say which one it is."""
    if not isinstance(found, list):
        raise InputError(f"{where} is {_shown(found)}; wanted a list, in TOML written as [[{where.split()[-1]}]]")
    for number, line in enumerate(found, 1):
        if not isinstance(line, dict):
            raise InputError(f"{where}, number {number} is {_shown(line)}; wanted named fields")
        yield f"{where}, number {number}", line


def _check_keys(
    found: Mapping[str, Any], allowed: Collection[str], where: str, what: str, required: Collection[str] = ()
) -> None:
    for key in found:
        if key not in allowed:
            near = get_close_matches(key, allowed, 1)
            guess = f"did you mean {near[0]}? " if near else ""
            takes = ", ".join(name for name in allowed if name not in _DERIVED)
            raise InputError(f"{where} has the unknown key {key[:40]!r}; {guess}{what} takes: {takes}")
    if absent := [key for key in required if key not in found]:
        raise InputError(f"{where} lacks {' and '.join(absent)}; {what} takes: {', '.join(allowed)}")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where} is {_shown(value)}; wanted text")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise InputError(f"{where} holds half of a character; write the text anew")
    return value.strip()


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where} is {_shown(value)}; wanted a number")
    try:
        return float(value)
    except OverflowError as error:
        raise InputError(f"{where} is a number of {_n_digits(int(value)):,} digits; wanted one that fits") from error


def _n_digits(value: int) -> int:
    """About how many decimal digits; TOML's hexadecimal numbers can be longer than Python will print."""
    return int(abs(value).bit_length() * log10(2)) + 1


def _number_or_none(value: Any, where: str) -> float | None:
    return None if value is None else _number(value, where)


def _shown(value: Any) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return str(value).lower()
        case str():
            return f"the text {value[:40]!r}"
        case dict():
            return "a table"
        case list():
            return "a list"
        case int() if abs(value) >= 10**40:
            return f"a number of {_n_digits(value):,} digits"
    return str(value)[:40]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, refused when it says a key twice: the last one would win in silence."""
    keys = [key for key, _ in pairs]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise ValueError(f"it says {twice[:40]!r} twice in one object")
    return dict(pairs)


def _numbers(line: SignalSpec | Constraint) -> dict[str, Any]:
    return {
        key: float(value) + 0.0 if isinstance(value, int | float) else value for key, value in line._asdict().items()
    }


def _lines(line: SignalSpec | Constraint) -> str:
    fields = {key: value for key, value in _numbers(line).items() if value is not None}
    return "".join(
        f"{key} = {_quoted(value) if isinstance(value, str) else repr(value)}\n" for key, value in fields.items()
    )


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are a subset of TOML's, save for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
