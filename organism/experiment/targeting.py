"""Whom an experiment is for: conditions on what is known of a user, as data. Pure.

    {"region": ["north", "south"], "plan": {"not": ["free"]}, "age": {"at_least": 18}}

Every condition must hold. An attribute that nobody gave meets none of them, not even a `not`: silence is not a value.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from organism.errors import DesignError, InputError

Attributes = Mapping[str, Any]
LARGEST = sys.float_info.max
MOST_ATTRIBUTES, MOST_VALUES = 50, 1000
IN, NOT, AT_LEAST, AT_MOST = "in", "not", "at_least", "at_most"
_FORM = '{"region": ["north", "south"], "plan": {"not": ["free"]}, "age": {"at_least": 18}}'


def check_targeting(rules: Any) -> dict[str, dict[str, Any]]:
    """The rules in their full form (a list is short for {"in": list}); raises DesignError for what is no condition."""
    if rules is None:
        return {}
    if not isinstance(rules, Mapping):
        raise DesignError(f"targeting is {_shown(rules)}; wanted attributes with a condition each, such as {_FORM}")
    if len(rules) > MOST_ATTRIBUTES:
        raise DesignError(f"targeting names {len(rules):,} attributes; give a condition on at most {MOST_ATTRIBUTES}")
    return {_checked_name(name): _condition(name, said) for name, said in rules.items()}


def check_attributes(attributes: Any) -> dict[str, Any]:
    """What is known of a user as plain values; raises InputError for a list, an object, or a number that is none."""
    if attributes is None:
        return {}
    if not isinstance(attributes, Mapping):
        raise InputError(f'attributes are {_shown(attributes)}; send an object, such as {{"region": "north"}}')
    for name, value in attributes.items():
        if value is not None and not _is_plain(value):
            raise InputError(f"attribute {name!r} is {_shown(value)}; wanted a text, a number, true or false")
    return {str(name): value for name, value in attributes.items() if value is not None}


def is_targeted(rules: Mapping[str, Any], attributes: Attributes) -> bool:
    """Whether a user of these attributes meets every condition; raises InputError where a number was wanted."""
    return all(_holds(name, condition, attributes.get(name)) for name, condition in check_targeting(rules).items())


def in_words(rules: Mapping[str, Any]) -> str:
    """The conditions as one sentence part: region is north or south, age is at least 18; `everyone` without any."""
    said = [f"{name} {_worded(condition)}" for name, condition in check_targeting(rules).items()]
    return ", ".join(said) or "everyone"


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name.strip():
        raise DesignError(f"targeting names the attribute {_shown(name)}; wanted a word, such as region")
    return name


def _condition(name: str, said: Any) -> dict[str, Any]:
    parts = dict(said) if isinstance(said, Mapping) else {IN: said}
    if unknown := [word for word in parts if word not in (IN, NOT, AT_LEAST, AT_MOST)]:
        raise DesignError(
            f"targeting of {name!r} says {_shown(unknown[0])}; the conditions are {IN}, {NOT}, {AT_LEAST}, {AT_MOST}"
        )
    if not parts:
        raise DesignError(f"targeting of {name!r} has no condition; give a list of values, or leave the attribute out")
    for word, wanted in parts.items():
        if word in (IN, NOT):
            if not isinstance(wanted, list | tuple) or not wanted or not all(map(_is_plain, wanted)):
                raise DesignError(
                    f"targeting of {name!r} is {_shown(wanted)}; wanted a list of texts or numbers, with one or more"
                )
            if len(wanted) > MOST_VALUES:
                raise DesignError(
                    f"targeting of {name!r} lists {len(wanted):,} values; list at most {MOST_VALUES:,}, or send an "
                    "attribute that groups them"
                )
            parts[word] = list(wanted)
        elif not _is_number(wanted):
            raise DesignError(f"targeting of {name!r} has {word} {_shown(wanted)}; wanted a number")
    low, high = parts.get(AT_LEAST), parts.get(AT_MOST)
    if low is not None and high is not None and low > high:
        raise DesignError(f"targeting of {name!r} is at least {low:g} and at most {high:g}: nobody is that; swap them")
    return parts


def _holds(name: str, condition: Mapping[str, Any], value: Any) -> bool:
    if value is None:
        return False
    if (AT_LEAST in condition or AT_MOST in condition) and not _is_number(value):
        raise InputError(f"attribute {name!r} is {_shown(value)}; the experiment's targeting wants a number")
    return (
        (IN not in condition or _among(value, condition[IN]))
        and not (NOT in condition and _among(value, condition[NOT]))
        and not (AT_LEAST in condition and value < condition[AT_LEAST])
        and not (AT_MOST in condition and value > condition[AT_MOST])
    )


def _among(value: Any, wanted: Sequence[Any]) -> bool:
    """Equality that tells true from 1, as JSON does and Python does not."""
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in wanted)


def _is_number(value: Any) -> bool:
    """A finite float, or a whole number of a float's size."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | bool) or _is_number(value)


def _worded(condition: Mapping[str, Any]) -> str:
    verbs = {IN: "is", NOT: "is not", AT_LEAST: "is at least", AT_MOST: "is at most"}
    return " and ".join(f"{verb} {_listed(condition[word])}" for word, verb in verbs.items() if word in condition)


def _listed(wanted: Any) -> str:
    return " or ".join(map(str, wanted)) if isinstance(wanted, list) else f"{wanted:g}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
