"""Plan an experiment: a draft with what it asks for, frozen at its start, changed only by a version that says why."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from organism.errors import DesignError, InputError
from organism.experiment.assignment import check_shares
from organism.experiment.layers import check_range
from organism.experiment.plan import Difference, Plan, check_plan, differences, plan_of
from organism.experiment.sizing import Sizing
from organism.experiment.sizing_flow import Proposal as Proposal
from organism.experiment.sizing_flow import check_metrics, with_size
from organism.experiment.sizing_flow import metric_names as metric_names
from organism.experiment.sizing_flow import size_plan as size_plan
from organism.experiment.sizing_flow import sized as sized
from organism.experiment.targeting import check_targeting
from organism.experiment.thompson import check_policy
from organism.records import Variant, new_id
from organism.store import plans
from organism.store.database import Store
from organism.store.experiments import PLANNED, Experiment, insert_experiment, read_experiment
from organism.store.model_versions import read_version, read_versions, version_by_name
from organism.store.reward_designs import read_saved


class Planned(NamedTuple):
    """A kept draft and what it asks for."""

    experiment_id: str
    name: str
    sizing: Sizing


class PlanChange(NamedTuple):
    """What one version of a plan changed over the one before, in words; `flagged` could bend a verdict after a look."""

    version: int
    changed_at: datetime
    actor: str
    why: str
    words: tuple[str, ...]
    flagged: tuple[str, ...]


def check_proposal(store: Store, loop_id: str, proposal: Proposal) -> Proposal:
    """The proposal in its full form; raises DesignError with one sentence for what no experiment could follow."""
    check_plan(proposal.plan)
    check_shares(proposal.variants)
    check_policy(proposal.policy, proposal.plan)
    place = check_range(proposal.layer, proposal.layer_low, proposal.layer_high)
    versions = [read_version(store, one.model_version_id) for one in proposal.variants if one.model_version_id]
    if other := [version.name for version in versions if version.loop_id != loop_id]:
        raise DesignError(f"{other[0]} belongs to another loop; compare versions of one loop")
    check_metrics(store, loop_id, proposal.plan)
    low, high = place if place else (None, None)
    name = proposal.name.strip() or " against ".join(variant.name for variant in reversed(proposal.variants))
    full = replace(proposal, name=name, hypothesis=proposal.hypothesis.strip(), layer_low=low, layer_high=high)
    return replace(full, targeting=check_targeting(proposal.targeting))


def variants_of(
    store: Store, loop_id: str, asked: Sequence[Mapping[str, Any]], control: str = ""
) -> tuple[Variant, ...]:
    """Variants from plain data, the control first: name, share (equal without any), version (by name; without one the
    variant's own name), prompt, is_outside (a model system that the product serves itself).

    Raises DesignError or InputError for a version or a control that is not there, or shares on some only.
    """
    shares = [one.get("share") for one in asked]
    if any(share is None for share in shares) and any(share is not None for share in shares):
        raise DesignError("some variants have a share and some have none; give all of them one, or none for equal ones")
    found = [_variant(store, loop_id, one, 1 / len(asked)) for one in asked]
    names = [variant.name for variant in found]
    if control and control not in names:
        raise DesignError(f"the control {control!r} is not among the variants; they are {', '.join(names) or 'none'}")
    return tuple(sorted(found, key=lambda variant: variant.name != control)) if control else tuple(found)


def _variant(store: Store, loop_id: str, asked: Mapping[str, Any], equal: float) -> Variant:
    name, share = str(asked.get("name") or "").strip(), asked.get("share")
    prompt = str(asked.get("prompt") or "").strip() or None
    version_id = None
    if not asked.get("is_outside"):
        version = str(asked.get("version") or name)
        known = list(read_versions(store, loop_id)["name"])
        if version not in known:
            raise DesignError(
                f"this loop has no version {version!r}; it has {', '.join(known) or 'none yet'}. A model system that "
                "your product serves itself is a variant that is outside"
            )
        version_id = version_by_name(store, loop_id, version).model_version_id
    elif prompt:
        raise DesignError(f"{name} is served outside, so this workbench cannot put a prompt before what it is asked")
    return Variant(
        name=name, share=equal if share is None else float(share), model_version_id=version_id, prompt=prompt
    )


def plan_experiment(
    store: Store, loop_id: str, proposal: Proposal, *, actor: str = "", is_synthetic: bool = False, now: datetime
) -> Planned:
    """Keep a draft: status planned, not started, no user assigned. Raises DesignError for an impossible plan."""
    full = check_proposal(store, loop_id, proposal)
    experiment_id = new_id(now)
    row = {
        "experiment_id": experiment_id,
        "loop_id": loop_id,
        "status": PLANNED,
        "created_at": now,
        "started_at": None,
        "is_synthetic": is_synthetic,
        **_row(full),
    }
    insert_experiment(store, row, full.variants, full.plan.plain(), actor=actor)
    return Planned(experiment_id, full.name, size_plan(store, loop_id, full, now))


def revise_plan(store: Store, experiment_id: str, proposal: Proposal, *, actor: str = "", now: datetime) -> Planned:
    """Put a draft anew; raises DesignError once it has started."""
    loop_id = read_experiment(store, experiment_id).loop_id
    full = check_proposal(store, loop_id, proposal)
    plans.rewrite_draft(store, experiment_id, _row(full), full.variants, full.plan.plain(), actor=actor, now=now)
    return Planned(experiment_id, full.name, size_plan(store, loop_id, full, now))


def proposal_of(experiment: Experiment) -> Proposal:
    """What a kept draft proposes, to look at it again or to put it anew."""
    return Proposal(
        name=experiment.name,
        hypothesis=experiment.hypothesis,
        variants=experiment.variants,
        plan=plan_of(experiment.plan),
        policy=experiment.policy,
        layer=experiment.layer,
        layer_low=experiment.layer_low,
        layer_high=experiment.layer_high,
        targeting=experiment.targeting,
    )


def _row(full: Proposal) -> dict[str, Any]:
    return {
        "name": full.name,
        "hypothesis": full.hypothesis,
        "policy": full.policy,
        "layer": full.layer,
        "layer_low": full.layer_low,
        "layer_high": full.layer_high,
        "targeting": dict(full.targeting),
    }


def start_planned(store: Store, experiment_id: str, *, actor: str = "", now: datetime) -> Planned:
    """Freeze a draft's plan, with the users that it is sized for and the reward it means, and start it.

    A size that the loop does not reach within a year stays out of the plan, and the version says why.

    Raises DesignError when it runs already, when its variants do, or when its part of a layer is taken.
    """
    experiment = read_experiment(store, experiment_id)
    proposal = check_proposal(store, experiment.loop_id, proposal_of(experiment))
    sizing = size_plan(store, experiment.loop_id, proposal, now)
    plan, why = with_size(proposal.plan, sizing)
    if plan.reward_design_id is None and (saved := read_saved(store, experiment.loop_id)):
        plan = replace(plan, reward_design_id=saved[0].design.id)
    plans.start_draft(store, experiment_id, experiment.variants, plan.plain(), actor=actor, why=why, now=now)
    return Planned(experiment_id, experiment.name, sizing)


def drop_plan(store: Store, experiment_id: str) -> str:
    """Take a draft away; returns its name. Raises DesignError once it has started: what ran stays on record."""
    name = read_experiment(store, experiment_id).name
    plans.delete_draft(store, experiment_id)
    return name


def change_plan(
    store: Store, experiment_id: str, changes: Mapping[str, Any], *, actor: str, why: str, now: datetime
) -> PlanChange:
    """Keep the next version of a running experiment's plan, which says who changed what, and why.

    `changes` are fields of the plan as plain data. Raises InputError without a name or a reason, DesignError for an
    unknown field, an impossible plan, no change at all, or an experiment that does not run.
    """
    if not actor.strip() or not why.strip():
        raise InputError("a change of the plan needs the name of who makes it, and one sentence that says why")
    experiment = read_experiment(store, experiment_id)
    if experiment.status == PLANNED:
        raise DesignError(f"{experiment.name!r} is a draft that nobody has started; put the draft itself anew")
    if unknown := [name for name in changes if name not in Plan.__dataclass_fields__]:
        raise DesignError(
            f"a running plan has no {unknown[0]!r} to change; it has {', '.join(Plan.__dataclass_fields__)}. Variants, "
            "shares, layer and targeting stand as long as it runs: end it and plan another"
        )
    before, after = plan_of(experiment.plan), plan_of({**experiment.plan, **changes})
    check_plan(after)
    check_metrics(store, experiment.loop_id, after)
    found = differences(before, after)
    if not found:
        raise DesignError("nothing would change; name a field and its new value")
    version = plans.append_plan_version(
        store, experiment_id, after.plain(), actor=actor.strip(), why=why.strip(), now=now
    )
    return _change(plans.PlanVersion(version, after.plain(), actor.strip(), why.strip(), now), found)


def plan_changes(store: Store, experiment_id: str) -> list[PlanChange]:
    """What each later version of the plan changed, oldest first; empty where the plan stands as it was started."""
    kept = plans.read_plan_versions(store, experiment_id)
    return [_change(new, differences(plan_of(old.plan), plan_of(new.plan))) for old, new in pairwise(kept)]


def _change(new: plans.PlanVersion, found: Sequence[Difference]) -> PlanChange:
    flagged = tuple(f"{one.words} (changed after start)" for one in found if one.is_telling)
    words = tuple(one.words for one in found if not one.is_telling)
    return PlanChange(new.version, new.created_at, new.actor, new.why, words + flagged, flagged)
