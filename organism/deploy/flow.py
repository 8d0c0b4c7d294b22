"""Which model is on duty: versions with their lineage, an alias that moves and moves back, and the gate before it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from organism.errors import DesignError
from organism.records import ModelVersion, Role, new_id
from organism.store.database import Cursor, Store
from organism.store.evaluations import read_evaluation
from organism.store.model_versions import (
    alias_target,
    alias_trail,
    ensure_base,
    insert_alias_event,
    insert_version,
    read_alias_events,
    read_version,
    read_versions,
    version_by_name,
)

__all__ = [
    "FACTS_MARGIN",
    "LIVE",
    "Moved",
    "live_version",
    "promote",
    "read_alias_events",
    "read_version",
    "read_versions",
    "register_base",
    "register_version",
    "rollback",
    "version_by_name",
]

LIVE = "live"
FACTS_MARGIN = 0.02


class Moved(NamedTuple):
    """An alias that moved: to which version, and from which; previous is None at the first time."""

    alias: str
    version: str
    previous: str | None


def register_base(store: Store, loop_id: str, base_path: str, *, now: datetime) -> ModelVersion:
    """The version that is this base alone, made on first sight."""
    model_version_id = store.write(lambda cursor: ensure_base(cursor, loop_id, base_path, now), "model_versions")
    return read_version(store, model_version_id)


def register_version(
    store: Store,
    loop_id: str,
    *,
    name: str,
    base_path: str,
    adapter_path: str | None = None,
    run_id: str | None = None,
    dataset_id: str | None = None,
    reward_design_id: str | None = None,
    role: Role = Role.WRITER,
    now: datetime,
) -> ModelVersion:
    """Add a version that was made elsewhere; raises DesignError when the loop has one with this name."""
    version = ModelVersion(
        model_version_id=new_id(now),
        loop_id=loop_id,
        name=name,
        base_path=base_path,
        adapter_path=adapter_path,
        run_id=run_id,
        dataset_id=dataset_id,
        reward_design_id=reward_design_id,
        created_at=now,
        role=role,
    )
    if name in set(read_versions(store, loop_id)["name"]):
        raise DesignError(f"this loop already has a model version named '{name}'; choose another name")
    store.write(lambda cursor: insert_version(cursor, version), "model_versions")
    return version


def live_version(store: Store, loop_id: str, alias: str = LIVE) -> ModelVersion | None:
    """The version that the alias points at now; None while nothing was ever promoted."""
    with store.cursor() as cursor:
        model_version_id = alias_target(cursor, loop_id, alias)
    return None if model_version_id is None else read_version(store, model_version_id)


def promote(
    store: Store,
    loop_id: str,
    model_version_id: str,
    *,
    actor: str,
    reason: str,
    now: datetime,
    alias: str = LIVE,
    facts_margin: float = FACTS_MARGIN,
    force: bool = False,
) -> Moved:
    """Point the alias at a version. Raises DesignError when its facts got worse (see `facts_objection`), a safety case
    did, or nothing was measured, unless forced; the reason then says so. A judge is refused even then. Promoting what
    is live already adds no event.
    """
    version = read_version(store, model_version_id)
    if version.loop_id != loop_id:
        raise DesignError(f"version '{version.name}' belongs to another loop; promote one of this loop's versions")
    if version.role is Role.JUDGE:
        raise DesignError(
            f"version '{version.name}' is a judge: it grades drafts and cannot write one, so it never goes live; "
            "promote a version that writes, and use the judge in evaluations, rlaif or grpo"
        )
    objection = None if version.adapter_path is None else _objection(store, version, facts_margin)
    if objection and not force:
        raise DesignError(objection)
    current = live_version(store, loop_id, alias)
    if current is not None and current.model_version_id == model_version_id:
        return Moved(alias, version.name, version.name)
    noted = f"{reason} (forced: {objection})" if objection else reason

    def work(cursor: Cursor) -> None:
        insert_alias_event(cursor, loop_id, alias, model_version_id, actor=actor, reason=noted, now=now)

    store.write(work, "alias_events")
    return Moved(alias, version.name, current.name if current else None)


def rollback(
    store: Store, loop_id: str, *, actor: str, reason: str = "", now: datetime, alias: str = LIVE
) -> ModelVersion:
    """Point the alias at the version before the one that is live, by one more event; returns that version.

    Going back again goes further back. Raises DesignError when there is no earlier version.
    """

    def work(cursor: Cursor) -> str:
        standing = standing_versions(alias_trail(cursor, loop_id, alias)[::-1])
        if len(standing) < 2:
            found = "only one version was ever" if standing else "no version was ever"
            raise DesignError(
                f"{found} '{alias}' in this loop, so there is none to go back to; promote a version instead"
            )
        insert_alias_event(cursor, loop_id, alias, standing[-2], actor=actor, reason=reason or "Rolled back", now=now)
        return standing[-2]

    model_version_id: str = store.write(work, "alias_events")
    return read_version(store, model_version_id)


def standing_versions(trail: list[str]) -> list[str]:
    """The versions that still stand behind the live one, oldest first: a move to the one before takes the last away."""
    standing: list[str] = []
    for model_version_id in trail:
        if len(standing) > 1 and standing[-2] == model_version_id:
            standing.pop()
        else:
            standing.append(model_version_id)
    return standing


def _objection(store: Store, version: ModelVersion, margin: float) -> str | None:
    """Why this version should not go live, in a sentence; None when nothing speaks against it."""
    evaluation = read_evaluation(store, version.model_version_id)
    if evaluation is None:
        return (
            f"version '{version.name}' was never evaluated, so nobody knows whether its facts hold; "
            "evaluate it on held-out rows first"
        )
    return facts_objection(version.name, evaluation, margin)


def facts_objection(name: str, evaluation: Mapping[str, Any], margin: float) -> str | None:
    """The gate, in a sentence that names what went wrong; None when nothing speaks against the version.

    Refused: facts that fall by more than the margin, or surely (their whole interval is below zero), and any safety
    case that passed before and fails now. Without facts to check or cases there is no objection.
    """
    found = [_facts_fall(evaluation, margin), _safety_fall(evaluation)]
    reasons = [reason for reason in found if reason]
    return f"version '{name}' {', and '.join(reasons)}" if reasons else None


def _facts_fall(evaluation: Mapping[str, Any], margin: float) -> str | None:
    before, after, ends = (evaluation.get(f"facts_{key}") for key in ("before", "after", "gain_ci"))
    if before is None or after is None:
        return None
    is_sure = ends is not None and ends[1] < 0
    if after >= before - margin and not is_sure:
        return None
    fewer = f"gets {after:.1%} of the facts right and its base {before:.1%}: {100 * (before - after):.1f} points fewer"
    why = (
        f"surely fewer ({100 * ends[0]:+.1f} to {100 * ends[1]:+.1f} at 95%)"
        if ends is not None and after >= before - margin
        else f"and the margin is {100 * margin:.1f}"
    )
    return f"{fewer}, {why}{_which_facts(evaluation)}; train again with replay or fewer epochs"


def _which_facts(evaluation: Mapping[str, Any]) -> str:
    """The kinds that fell, and some of the facts themselves where they were kept."""
    kinds = [
        f"{kind.replace('_', ' ')} {facts['before']:.1%} to {facts['after']:.1%}"
        for kind, facts in (evaluation.get("facts_by_kind") or {}).items()
        if facts["before"] is not None and facts["after"] is not None and facts["after"] < facts["before"]
    ]
    lost = [f"'{fact['wanted']}'" for fact in (evaluation.get("facts_lost") or [])[:3]]
    words = "; ".join(kinds) + (f"; wrong now, for example: {', '.join(lost)}" if lost else "")
    return f" ({words})" if words else ""


def _safety_fall(evaluation: Mapping[str, Any]) -> str | None:
    worse = (evaluation.get("safety") or {}).get("worse") or []
    if not worse:
        return None
    some = "; ".join(f"{case['name']}: {', '.join(case['faults'])}" for case in worse[:3])
    cases = "1 safety case" if len(worse) == 1 else f"{len(worse)} safety cases"
    return f"fails {cases} that its base passes ({some})"
