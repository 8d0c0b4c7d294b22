"""Everything that the store was asked for about one experiment, as one plain value.

`judge` makes the scorecard from it alone, so a kept one can be judged again, anywhere, to the same bytes: as JSON it
loses nothing (Python writes the shortest text that reads back as the same float).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from organism.errors import InputError
from organism.records import SignalSpec, Variant
from organism.store.experiment_units import Sums

T = TypeVar("T")


class Measure(NamedTuple):
    """A metric as it is read: its label, which way is better, its unit, and its role.

    `probability` is that of a quantile, None for a ratio of sums. `is_known` is False where nothing measures it.
    """

    name: str
    label: str
    better: int
    probability: float | None
    is_known: bool


class Design(NamedTuple):
    """The reward design that `reward` is computed by; its signals in the order of their names."""

    reward_design_id: str
    name: str
    signals: tuple[SignalSpec, ...]


class PlanKept(NamedTuple):
    """One version of the plan, as plain data."""

    version: int
    plan: dict[str, Any]
    actor: str
    why: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the verdict on an experiment is made of, as of `read_at`.

    `measures` are the plan's metrics and those that every scorecard shows. `n_assigned` users were given a variant,
    served or not; `data_version` counts the changes of the tables that were read.
    """

    experiment_id: str
    name: str
    hypothesis: str
    policy: str
    status: str
    started_at: datetime | None
    ended_at: datetime | None
    is_synthetic: bool
    read_at: datetime
    variants: tuple[Variant, ...]
    plans: tuple[PlanKept, ...]
    measures: tuple[Measure, ...]
    covariates: tuple[str, ...]
    design: Design | None
    n_assigned: int
    data_version: str
    sums: Sums

    @property
    def measure(self) -> dict[str, Measure]:
        """The measures by their names."""
        return {one.name: one for one in self.measures}


def to_json(evidence: Evidence) -> str:
    """The evidence as one JSON text: the same evidence always gives the same bytes."""
    return json.dumps(_plain(evidence), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def from_json(text: str) -> Evidence:
    """The evidence in a text that `to_json` wrote; raises InputError for any other."""
    try:
        found = _built(Evidence, json.loads(text))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"this is no evidence of an experiment ({error}); give the text as it was kept") from error
    if not isinstance(found, Evidence):
        raise InputError(f"this is no evidence of an experiment but {text[:40]!r}; give the text as it was kept")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(one) for name, one in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value


def _built(kind: Any, found: Any) -> Any:
    """The value of a type in plain data: named tuples and dataclasses by their fields, tuples, mappings, times."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any or found is None:
        return found
    if origin in (Union, UnionType):
        return _built(next(one for one in inner if one is not NoneType), found)
    if origin is tuple:
        each = inner[:1] * len(found) if inner[-1] is Ellipsis else inner
        return tuple(_built(one, value) for one, value in zip(each, found, strict=True))
    if origin is dict:
        return {name: _built(inner[1], value) for name, value in found.items()}
    if kind is datetime:
        return datetime.fromisoformat(found)
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        return kind(**{name: _built(one, found[name]) for name, one in get_type_hints(kind).items()})
    if kind in (float, int, str, bool) or issubclass(kind, StrEnum):
        return kind(found)
    return found
