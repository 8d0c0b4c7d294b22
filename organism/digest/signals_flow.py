"""Read, decide, write: a team's own signals."""

import re
from datetime import datetime
from typing import NamedTuple

import pandas as pd

from organism.errors import DesignError, InputError
from organism.store.database import Store
from organism.store.reward_designs import read_saved
from organism.store.signal_definitions import SignalInfo, SignalKind, mark_removed
from organism.store.signals import known_signals, read_coverage
from organism.store.sql_signals import compile_expression
from organism.store.team_signals import append_sql_signal, try_on_sample

RESERVED = frozenset(
    "interaction interaction_id feedback feedback_id loop_id user_key variant variant_id region source experiment_id "
    "model_version_id occurred_at answer outcome n_rows n_users reward draft_chars retained_chars final_chars "
    "first_feedback_at price performance quality".split()
)


class DefinedSignal(NamedTuple):
    """What was defined, and on how many of the loop's interactions it is there; `is_new` False: it was in force."""

    name: str
    is_new: bool
    n_present: int
    n_rows: int


class RemovedSignal(NamedTuple):
    """What was removed, and which saved designs name it ('v3 balanced'), newest first."""

    name: str
    removed_at: datetime
    designs: list[str]


def list_signals(store: Store, loop_id: str) -> pd.DataFrame:
    """Every signal that the loop has or had, and on how many of its interactions it is there.

    Columns: name, kind, note, expression, removed_at, n_present, n_rows (both None for a removed one).
    """
    known = known_signals(store, loop_id)
    measured = [name for name, info in known.items() if info.removed_at is None]
    covered = read_coverage(store, loop_id, measured).set_index("signal").astype(object)
    rows = [
        {
            **info._asdict(),
            "kind": str(info.kind),
            "n_present": covered["n_present"].get(name),
            "n_rows": covered["n_rows"].get(name),
        }
        for name, info in known.items()
    ]
    columns = ["name", "kind", "note", "expression", "removed_at", "n_present", "n_rows"]
    return pd.DataFrame(rows, dtype=object)[columns]


def define_signal(
    store: Store, loop_id: str, name: str, expression: str, *, note: str = "", author: str = "", now: datetime
) -> DefinedSignal:
    """Make a SQL expression over one interaction a signal of the loop, on all its interactions from the first on.

    The same definition again changes nothing. Raises DesignError, with what to do, for a name that is taken or
    no identifier, and for an expression that is not allowed or gives no usable number on a sample of real rows.
    """
    expression = expression.strip()
    _check_name(name)
    compiled = compile_expression(expression)
    known = known_signals(store, loop_id).get(name)
    _check_free(name, expression, known, _designs_with(store, loop_id, name) if known else [])
    try_on_sample(store, loop_id, name, compiled)
    n_present, n_rows = append_sql_signal(store, loop_id, name, expression, note=note, author=author, now=now)
    return DefinedSignal(name, known is None or known.removed_at is not None, n_present, n_rows)


def remove_signal(store: Store, loop_id: str, name: str, now: datetime) -> RemovedSignal:
    """Stop measuring a SQL signal; its name stays on record. Removing it again changes nothing.

    Raises InputError for a name that nothing has, or that came with the data.
    """
    known = known_signals(store, loop_id)
    if name not in known:
        own = ", ".join(sorted(signal for signal, info in known.items() if info.kind is SignalKind.SQL)) or "none yet"
        raise InputError(f"no signal is named {name!r}; signals that can be removed: {own}")
    found = known[name]
    if found.kind is not SignalKind.SQL:
        raise InputError(
            f"signal {name} comes with the data and cannot be removed; leave it out of the design, or give it weight 0"
        )
    mark_removed(store, loop_id, name, now)
    return RemovedSignal(name, found.removed_at or now, _designs_with(store, loop_id, name))


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        raise DesignError(
            f"{name!r} is no name for a signal; start with a small letter and use small letters, digits and _ "
            "(at most 63), as in vendor_score"
        )
    if name in RESERVED:
        raise DesignError(
            f"the name {name} already means something else here; choose another name, such as team_{name}"
        )


def _check_free(name: str, expression: str, known: SignalInfo | None, designs: list[str]) -> None:
    if known is None or known.expression == expression:
        return
    if known.kind is not SignalKind.SQL:
        raise DesignError(f"{name!r} is a signal that is there already; choose another name, such as team_{name}")
    if known.removed_at is None:
        raise DesignError(
            f"signal {name} is defined already, as {known.expression}; choose another name, or remove that one first"
        )
    if designs:
        raise DesignError(
            f"signal {name} was removed, but {', '.join(designs[:3])} named it as {known.expression}, and saved "
            f"designs never change their meaning; choose another name, such as {name}_2"
        )


def _designs_with(store: Store, loop_id: str, name: str) -> list[str]:
    return [
        f"v{saved.version} {saved.design.name}"
        for saved in read_saved(store, loop_id)
        if name in [spec.signal for spec in saved.design.signals] + [bound.signal for bound in saved.design.constraints]
    ]
