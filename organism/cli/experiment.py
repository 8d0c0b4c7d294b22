"""`organism experiment …`: plan an experiment, see what it asks for, start it, change its plan in the open."""

import argparse
import json
from dataclasses import replace
from typing import Any

import pandas as pd

from organism.cli.commands import loop_of, opened
from organism.cli.output import Result, table
from organism.config import utcnow
from organism.errors import DesignError, InputError
from organism.experiment.plan import Guard, plan_from, plan_of
from organism.experiment.plan_flow import (
    PlanChange,
    Proposal,
    change_plan,
    check_proposal,
    drop_plan,
    plan_changes,
    plan_experiment,
    proposal_of,
    revise_plan,
    size_plan,
    start_planned,
    variants_of,
)
from organism.experiment.sizing import MetricSize, Sizing
from organism.experiment.thompson import Policy
from organism.store.database import Store
from organism.store.experiments import PLANNED, read_experiment, read_experiments
from organism.store.plans import read_plan_versions

OUTSIDE = "outside"


def add_to(command: Any) -> None:
    """The members of the group `experiment` that plan and start one."""
    leaf = command("plan", plan_one, "plan an experiment: users and days it asks for from this loop's own traffic")
    _plan_options(leaf)
    leaf.add_argument("--name", default="", help="how to call it (default: the variants)")
    leaf.add_argument("--hypothesis", default="", help="one sentence: what should get better, and why")
    leaf.add_argument(
        "--variant", action="append", default=[], metavar="NAME[=VERSION]",
        help="a version of the loop, a name for one (for a prompt), or NAME=outside for a model system that your "
        "product serves itself; repeatable, the control first",
    )  # fmt: skip
    leaf.add_argument("--share", action="append", default=[], metavar="NAME=SHARE", help="a share (default: equal)")
    leaf.add_argument("--prompt", action="append", default=[], metavar="NAME=TEXT", help="a variant's instruction")
    leaf.add_argument("--control", default="", metavar="NAME", help="the control (default: the first variant)")
    leaf.add_argument("--policy", choices=[str(one) for one in Policy], help="how variants are dealt (default: hash)")
    leaf.add_argument("--layer", help="take users of this layer only, which no other running experiment takes")
    leaf.add_argument("--range", metavar="LOW:HIGH", help="the part of the layer, such as 0:0.5 (default: all of it)")
    leaf.add_argument("--targeting", metavar="JSON", help='such as \'{"region": ["north"]}\'')
    leaf.add_argument("--by", default="", metavar="NAME", help="who plans it")
    leaf.add_argument("--draft", metavar="ID", help="put this draft anew instead of keeping another one")
    leaf.add_argument("--dry-run", action="store_true", help="only say what it would ask for; keep nothing")
    leaf = command("start", start, "freeze a draft's plan and start it")
    leaf.add_argument("experiment", metavar="ID")
    leaf.add_argument("--by", default="", metavar="NAME", help="who starts it")
    leaf = command("show", show, "an experiment's plan, what it asks for, and what was changed since it started")
    leaf.add_argument("experiment", metavar="ID")
    leaf = command("change", change, "change a running experiment's plan: a new version that says who and why")
    leaf.add_argument("experiment", metavar="ID")
    _plan_options(leaf)
    leaf.add_argument("--users", type=int, metavar="N", help="the users it is planned for")
    leaf.add_argument("--by", required=True, metavar="NAME", help="who changes it")
    leaf.add_argument("--why", required=True, help="one sentence: why")
    leaf = command("drop", drop, "take a draft away; what was started stays on record")
    leaf.add_argument("experiment", metavar="ID")
    command("list", list_all, "drafts, running and decided experiments of a loop")


def _plan_options(leaf: argparse.ArgumentParser) -> None:
    leaf.add_argument(
        "--metric", action="append", metavar="NAME", help="a primary metric; repeatable (default: retained_char_rate)"
    )
    leaf.add_argument(
        "--guardrail", action="append", metavar="NAME=MARGIN",
        help="may not get worse by MARGIN: 0.02 in its own unit, 50%% of the control's value; repeatable",
    )  # fmt: skip
    leaf.add_argument("--watch", action="append", metavar="NAME", help="a signal to watch, untested; repeatable")
    leaf.add_argument(
        "--covariate", action="append", metavar="NAME", help="a metric whose past takes noise out (CUPED); repeatable"
    )
    leaf.add_argument("--segment", action="append", metavar="NAME", help="what to group users by; repeatable")
    leaf.add_argument("--minimum-effect", type=float, metavar="X", help="least gain worth shipping, in its unit")
    leaf.add_argument("--alpha", type=float, metavar="A", help="error rate (default: 0.05)")
    leaf.add_argument("--power", type=float, metavar="P", help="chance to see the least gain (default: 0.8)")


def plan_one(args: argparse.Namespace) -> Result:
    """Keep a draft, or with --dry-run only say what it would ask for."""
    with opened(args) as place:
        store, now = place.store, utcnow()
        loop_id = read_experiment(store, args.draft).loop_id if args.draft else loop_of(store, args.loop)
        proposal = _proposal(store, loop_id, args)
        if args.dry_run:
            full = check_proposal(store, loop_id, proposal)
            found = size_plan(store, loop_id, full, now)
            return Result("\n".join(_sizing_lines(found)), {"experiment_id": None, "sizing": found})
        if args.draft:
            kept = revise_plan(store, args.draft, proposal, actor=args.by, now=now)
        else:
            kept = plan_experiment(store, loop_id, proposal, actor=args.by, now=now)
    head = f"Planned {kept.name!r}: {kept.experiment_id}"
    words = [head, *_sizing_lines(kept.sizing), f"Start it with: organism experiment start {kept.experiment_id}"]
    return Result("\n".join(words), kept._asdict())


def start(args: argparse.Namespace) -> Result:
    """Freeze and start."""
    with opened(args) as place:
        kept = start_planned(place.store, args.experiment, actor=args.by, now=utcnow())
        experiment = read_experiment(place.store, args.experiment)
    plan = plan_of(experiment.plan)
    size = f"{plan.n_users:,} users" if plan.n_users else "a size that nobody can tell yet"
    words = f"Started {kept.name!r}; its plan is frozen at {size}. {kept.sizing.sentence}"
    return Result(words, {**kept._asdict(), "plan": experiment.plan, "plan_version": experiment.plan_version})


def show(args: argparse.Namespace) -> Result:
    """The plan with its versions."""
    with opened(args) as place:
        experiment = read_experiment(place.store, args.experiment)
        found = size_plan(place.store, experiment.loop_id, proposal_of(experiment), utcnow())
        changes = plan_changes(place.store, args.experiment)
        versions = read_plan_versions(place.store, args.experiment)
    arms = ", ".join(f"{one.name} {one.share:.0%}" for one in experiment.variants)
    lines = [
        f"{experiment.name}: {experiment.status}; {arms}",
        *([experiment.hypothesis] * bool(experiment.hypothesis)),
    ]
    lines += _sizing_lines(found)
    lines += [_change_line(one) for one in changes] or [f"The plan is version {experiment.plan_version}, unchanged."]
    data = {"experiment": _plain(experiment), "sizing": found, "changes": changes, "versions": versions}
    return Result("\n".join(lines), data)


def change(args: argparse.Namespace) -> Result:
    """A new version of a running plan."""
    fields = _fields(args)
    if args.users is not None:
        fields["n_users"] = args.users
    with opened(args) as place:
        made = change_plan(place.store, args.experiment, fields, actor=args.by, why=args.why, now=utcnow())
    return Result(_change_line(made), made._asdict())


def drop(args: argparse.Namespace) -> Result:
    """Take a draft away."""
    with opened(args) as place:
        name = drop_plan(place.store, args.experiment)
    return Result(f"The draft {name!r} is gone.", {"dropped": args.experiment, "name": name})


def list_all(args: argparse.Namespace) -> Result:
    """All of a loop's experiments, drafts too."""
    with opened(args) as place:
        found = read_experiments(place.store, loop_of(place.store, args.loop))
    columns = {"experiment_id": "experiment", "name": "name", "status": "status", "n_variants": "variants"}
    empty = "No experiment yet; plan one with `organism experiment plan --variant CONTROL --variant TREATMENT`."
    return Result(table(found, {**columns, "n_assigned": "users"}, empty), {"experiments": found})


def _proposal(store: Store, loop_id: str, args: argparse.Namespace) -> Proposal:
    """The arguments over the draft that is put anew, or over the defaults."""
    kept = read_experiment(store, args.draft) if args.draft else None
    if kept is not None and kept.status != PLANNED:
        raise DesignError(f"{kept.name!r} is {kept.status}, no draft; change its plan with organism experiment change")
    base = proposal_of(kept) if kept else None
    said = _fields(args)
    changes: dict[str, Any] = {
        "name": args.name,
        "hypothesis": args.hypothesis,
        "variants": _variants(store, loop_id, args) if args.variant or base is None else None,
        "plan": plan_of({**base.plan.plain(), **said}) if base else plan_from(said),
        "policy": args.policy,
        "layer": args.layer,
        "targeting": None if args.targeting is None else _json(args.targeting),
    }
    if args.range is not None:
        changes["layer_low"], changes["layer_high"] = _range(args.range)
    given = {name: value for name, value in changes.items() if value not in (None, "")}
    return replace(base, **given) if base else Proposal(**given)


def _variants(store: Store, loop_id: str, args: argparse.Namespace) -> Any:
    shares = {name: _number(text, "--share") for name, text in (_pair(word, "--share") for word in args.share)}
    prompts = dict(_pair(word, "--prompt") for word in args.prompt)
    asked = []
    for word in args.variant:
        name, _, version = word.partition("=")
        asked.append({
            "name": name, "version": version or name, "is_outside": version == OUTSIDE,
            "share": shares.pop(name, None), "prompt": prompts.pop(name, None),
        })  # fmt: skip
    if left := [*shares, *prompts]:
        raise DesignError(f"{left[0]!r} is no variant of this plan; they are {', '.join(one['name'] for one in asked)}")
    if not asked:
        raise InputError(
            "no variant is named; give --variant twice or more, the control first (organism models lists the versions)"
        )
    return variants_of(store, loop_id, asked, args.control)


def _fields(args: argparse.Namespace) -> dict[str, Any]:
    """What was said about the plan, as its fields; nothing for what was left out."""
    said: dict[str, Any] = {
        "primary": args.metric,
        "watched": args.watch,
        "covariates": args.covariate,
        "segments": args.segment,
        "minimum_effect": args.minimum_effect,
        "alpha": args.alpha,
        "power": args.power,
        "guardrails": None if args.guardrail is None else [_guard(word)._asdict() for word in args.guardrail],
    }
    return {name: value for name, value in said.items() if value is not None}


def _guard(word: str) -> Guard:
    name, margin = _pair(word, "--guardrail")
    if margin.endswith("%"):
        return Guard(name, _number(margin[:-1], "--guardrail") / 100, True)
    return Guard(name, _number(margin, "--guardrail"), False)


def _pair(word: str, option: str) -> tuple[str, str]:
    name, sign, value = word.partition("=")
    if not sign or not name.strip() or not value.strip():
        raise InputError(f"{option} {word!r} is not NAME=VALUE; write it like base=0.5")
    return name.strip(), value.strip()


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{option} {text!r} is no number; write it like 0.5") from error


def _range(text: str) -> tuple[float, float]:
    low, sign, high = text.partition(":")
    if not sign:
        raise InputError(f"--range {text!r} is not LOW:HIGH; write it like 0:0.5")
    return _number(low, "--range"), _number(high, "--range")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f'--targeting is not JSON ({error}); write it as \'{{"region": ["north"]}}\'') from error


def _sizing_lines(found: Sizing) -> list[str]:
    lines = [found.sentence, found.adjustment, *found.warnings]
    lines += [f"{one.words}: {_size(one.n_users, one.days)}." for one in found.advice]
    shown = pd.DataFrame([_row(one) for one in found.metrics])
    lines += ["", table(shown, {name: name for name in shown.columns}, "No metric."), ""]
    curve = pd.DataFrame([one._asdict() for one in found.curve])
    named = {"metric": "metric", "weeks": "weeks", "n_users": "users", "effect": "smallest effect"}
    return [*lines, table(curve, {**named, "effect_sequential": "when watched"}, "No effect can be told yet."), ""]


def _row(one: MetricSize) -> dict[str, Any]:
    return {
        "metric": one.metric,
        "role": one.role,
        "mean": "-" if one.mean is None else f"{one.mean:.4g}",
        "gain or margin": "-" if one.effect is None else f"{one.effect:.3g}",
        "users": "-" if one.n_users is None else f"{one.n_users:,}",
        "days": "-" if one.days is None else str(one.days),
    }


def _size(n_users: int | None, days: int | None) -> str:
    users = f"{n_users:,} users" if n_users is not None else "users unknown"
    return f"{users}, {days} days" if days is not None else f"{users}, not within a year"


def _change_line(one: PlanChange) -> str:
    return (
        f"Version {one.version} by {one.actor}, {one.changed_at:%Y-%m-%d %H:%M} UTC ({one.why}): {'; '.join(one.words)}"
    )


def _plain(experiment: Any) -> dict[str, Any]:
    return {name: getattr(experiment, name) for name in experiment.__slots__ if name != "variants"} | {
        "variants": [{name: getattr(one, name) for name in one.__slots__} for one in experiment.variants]
    }
