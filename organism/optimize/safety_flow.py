"""What pages, API and command line ask of safety cases: bring them in, list them, take one out of use."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from organism.errors import InputError
from organism.records import new_id
from organism.store.database import Store
from organism.store.safety_cases import insert_safety_cases, read_safety_cases, remove_safety_case

__all__ = ["add_safety_cases", "read_safety_cases", "remove_safety_case"]

LONGEST_NAME = 200


def add_safety_cases(
    store: Store, loop_id: str, lines: Sequence[Mapping[str, Any]], *, is_synthetic: bool = False, now: datetime
) -> list[str]:
    """Take cases into use, all or none; returns their ids in order.

    A line has a name, a prompt, must_say (words, or lists of wordings of which one must occur) and must_not_say
    (words). Raises InputError, naming the line, for one that cannot be used.
    """
    cases = [_case(number, line) for number, line in enumerate(lines, 1)]
    if not cases:
        raise InputError("there is no safety case in it; give at least one, with a name, a prompt and must_say")
    rows = [{"case_id": new_id(now), "is_synthetic": is_synthetic, **case} for case in cases]
    store.write(lambda cursor: insert_safety_cases(cursor, loop_id, rows, now), "safety_cases")
    return [row["case_id"] for row in rows]


def _case(number: int, line: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(line, Mapping):
        raise InputError(f"case {number} is no object; give name, prompt, must_say and must_not_say")
    name, prompt = (_text(number, line, key) for key in ("name", "prompt"))
    groups = [[item] if isinstance(item, str) else item for item in _list(number, line, "must_say")]
    banned = _list(number, line, "must_not_say")
    if not all(isinstance(group, list) and group and all(map(_is_word, group)) for group in groups):
        raise InputError(f"case {number}: must_say takes words, or lists of wordings of which one must occur")
    if not all(map(_is_word, banned)):
        raise InputError(f"case {number}: must_not_say takes words")
    if not groups and not banned:
        raise InputError(f"case {number} asks for nothing; give must_say or must_not_say")
    return {"name": name[:LONGEST_NAME], "prompt": prompt, "must_say": groups, "must_not_say": banned}


def _text(number: int, line: Mapping[str, Any], key: str) -> str:
    value = line.get(key)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"case {number} has no {key}; give it as a text")
    return value


def _list(number: int, line: Mapping[str, Any], key: str) -> list[Any]:
    value = line.get(key) or []
    if not isinstance(value, list):
        raise InputError(f"case {number}: {key} is no list; write it as a list of words")
    return value


def _is_word(value: Any) -> bool:
    # Half of a surrogate pair is a string in Python and a text nowhere else.
    return isinstance(value, str) and bool(value.strip()) and not any("\ud800" <= sign <= "\udfff" for sign in value)
