"""The form that proposes an experiment: what is compared, what is measured, for whom."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from organism.deploy.flow import live_version
from organism.errors import InputError
from organism.experiment.plan import GUARDS, Guard, Plan
from organism.experiment.plan_flow import Proposal, metric_names, variants_of
from organism.experiment.thompson import Policy
from organism.measures.metric_names import SHARES, label_of
from organism.records import Role, Variant
from organism.store.model_versions import read_versions
from ui import runtime
from ui.words import literal

QUANTILES = ("latency_ms.p50", "latency_ms.p95", "latency_ms.p99")
POLICIES = {Policy.HASH: "Fixed shares (hash)", Policy.THOMPSON: "Thompson sampling"}


def form(loop: runtime.Loop, base: Proposal | None, key: str) -> Proposal:
    """The form, filled from a draft or the usual plan; raises InputError or DesignError for what cannot be read."""
    plan = base.plan if base else Plan()
    name = st.text_input("Name", base.name if base else "", key=f"{key}_name", placeholder="Named after its variants")
    hypothesis = st.text_area(
        "Hypothesis", base.hypothesis if base else "", key=f"{key}_hypothesis", height=68,
        placeholder="Physicians keep more of what it writes, since it learned from their edits",
        help="What should get better, and why. It stands above the verdict.",
    )  # fmt: skip
    asked, control = _variants(loop, base, key)
    st.subheader("What is measured", anchor=False)
    known = [*runtime.read(metric_names, loop.loop_id), *QUANTILES]
    fields = _metrics(plan, known, key) | {"guardrails": _guards(plan, known, key)} | _errors(plan, key)
    with st.expander("For whom, and how they are dealt", icon=":material/groups:"):
        audience = _audience(base, key)
    variants = runtime.read(variants_of, loop.loop_id, asked, control)
    agreed = Plan(**{**{field: getattr(plan, field) for field in Plan.__dataclass_fields__}, **fields})
    return Proposal(name=name, hypothesis=hypothesis, variants=variants, plan=agreed, **audience)


def _variants(loop: runtime.Loop, base: Proposal | None, key: str) -> tuple[list[dict[str, Any]], str]:
    """What is compared, as plain data, and the control's name."""
    found = runtime.read(read_versions, loop.loop_id)
    versions = list(found.loc[found["role"] == Role.WRITER, "name"]) if len(found) else []
    ids = dict(zip(found["model_version_id"], found["name"], strict=True)) if len(found) else {}
    kept = list(base.variants) if base else []
    plain = [one.name for one in kept if not one.prompt]
    prompted = [one for one in kept if one.prompt]
    usual = plain if base else _usual(loop.loop_id, versions)
    chosen = st.multiselect(
        "Variants", [*versions, *(name for name in usual if name not in versions)], usual, key=f"{key}_variants",
        accept_new_options=True, placeholder="Versions of this loop, or the name of another model system",
        help="Versions of this loop. Write another name for a model system that your product serves itself.",
    )  # fmt: skip
    asked: list[dict[str, Any]] = [{"name": one, "is_outside": one not in versions} for one in chosen]
    asked += _prompts(versions, prompted, ids, key)
    names = [one["name"] for one in asked]
    left, right = st.columns(2, vertical_alignment="bottom")
    control = left.selectbox(
        "Control", names, key=f"{key}_control", placeholder="What the others are compared with",
        help="What is served today: every other variant is compared with it.",
    )  # fmt: skip
    is_equal = not kept or max(one.share for one in kept) - min(one.share for one in kept) < 1e-9
    if not right.toggle("Equal shares", is_equal, key=f"{key}_equal", help="Give every variant as many users."):
        _shares(asked, kept, key)
    return asked, control or ""


def _usual(loop_id: str, versions: Sequence[str]) -> list[str]:
    """The live version against the newest other one."""
    live = runtime.read(live_version, loop_id)
    first = live.name if live and live.name in versions else None
    others = [name for name in versions if name != first]
    return [*([first] if first else []), *others[: 1 if first else 2]]


def _prompts(
    versions: Sequence[str], kept: Sequence[Variant], ids: Mapping[str, str], key: str
) -> list[dict[str, Any]]:
    """Variants that are a version under an instruction."""
    if not versions:
        return []
    with st.expander("Variants with an instruction prompt", expanded=bool(kept), icon=":material/edit_note:"):
        count = st.number_input(
            "How many", 0, 5, len(kept), key=f"{key}_prompts", help="Each is a version, instructed."
        )
        found = []
        for place in range(int(count)):
            old = kept[place] if place < len(kept) else None
            left, right = st.columns(2)
            called = old.name if old else f"instructed-{place + 1}"
            served_by = ids.get(old.model_version_id or "", "") if old else ""
            name = left.text_input("Called", called, key=f"{key}_called{place}")
            at = versions.index(served_by) if served_by in versions else 0
            version = right.selectbox("Version", versions, at, key=f"{key}_version{place}")
            text = (old.prompt or "") if old else ""
            prompt = st.text_area("Instruction", text, key=f"{key}_prompt{place}", height=68)
            found.append({"name": name, "version": version, "prompt": prompt})
    return found


def _shares(asked: list[dict[str, Any]], kept: Sequence[Variant], key: str) -> None:
    before = {one.name: one.share for one in kept}
    for one, column in zip(asked, st.columns(max(len(asked), 1)), strict=False):
        usual = before.get(one["name"], 1 / len(asked))
        percent = column.number_input(
            literal(one["name"]), 0.0, 100.0, round(100 * usual, 2), 5.0, key=f"{key}_share_{one['name']}",
            help="Its share of the users, in percent; in all 100.",
        )  # fmt: skip
        one["share"] = percent / 100


def _metrics(plan: Plan, known: Sequence[str], key: str) -> dict[str, Any]:
    told: dict[str, Any] = {}
    told["primary"] = tuple(st.multiselect(
        "Primary metrics", _with(known, plan.primary), plan.primary, key=f"{key}_primary", format_func=label_of,
        help="What decides. With several, Holm's correction shares the error rate among them.",
    ))  # fmt: skip
    first = told["primary"][0] if told["primary"] else ""
    in_points = first in SHARES
    unit = "points" if in_points else "its own unit"
    least = st.number_input(
        f"Least gain worth shipping, {unit}", 0.0, value=plan.minimum_effect * (100 if in_points else 1),
        key=f"{key}_least_{in_points}", format="%.4g",
        help="The smallest gain in the first primary metric that you would ship for. Users are counted for this.",
    )  # fmt: skip
    told["minimum_effect"] = least / 100 if in_points else least
    told["watched"] = tuple(st.multiselect(
        "Watch", _with(known, plan.watched), plan.watched, key=f"{key}_watched", format_func=label_of,
        help="Shown, but decides nothing.",
    ))  # fmt: skip
    left, right = st.columns(2)
    signals = [name for name in known if name not in QUANTILES]
    told["covariates"] = tuple(left.multiselect(
        "Adjust for the past of", _with(signals, plan.covariates), plan.covariates, key=f"{key}_covariates",
        format_func=label_of,
        placeholder="Nothing", help="CUPED: each user's own past takes noise out of the comparison.",
    ))  # fmt: skip
    told["segments"] = tuple(right.multiselect(
        "Segments", _with(["region"], plan.segments), plan.segments, key=f"{key}_segments", accept_new_options=True,
        placeholder="Nothing", help="What users are grouped by: the region, or an attribute that you send.",
    ))  # fmt: skip
    return told


def _guards(plan: Plan, known: Sequence[str], key: str) -> tuple[Guard, ...]:
    usual = {guard.metric: guard for guard in (*GUARDS, *plan.guardrails)}
    named = [guard.metric for guard in plan.guardrails]
    chosen = st.multiselect(
        "Guardrails", _with(known, named), named, key=f"{key}_guards", format_func=label_of, placeholder="Nothing",
        help="What must not get worse, whatever is gained: by a margin, tested on one side.",
    )  # fmt: skip
    found = []
    for metric in chosen:
        guard = usual.get(metric, Guard(metric, 0.02 if metric in SHARES else 0.2, metric not in SHARES))
        left, right = st.columns([1, 1], vertical_alignment="bottom")
        margin = left.number_input(
            f"Margin of {literal(label_of(metric))}", 0.0, value=guard.margin, format="%.4g",
            key=f"{key}_margin_{metric}",
            help="How much worse is still tolerated; more than that is a broken guardrail.",
        )  # fmt: skip
        is_relative = right.toggle(
            "Times the control's value", guard.is_relative, key=f"{key}_relative_{metric}",
            help="0.5 is half as much again as the control has; off: an amount in the metric's own unit.",
        )  # fmt: skip
        found.append(Guard(metric, margin, is_relative))
    return tuple(found)


def _errors(plan: Plan, key: str) -> dict[str, Any]:
    left, right = st.columns(2)
    alpha = left.number_input(
        "Alpha", 0.001, 0.49, plan.alpha, 0.01, key=f"{key}_alpha", format="%.3f",
        help="How often a variant without any effect may be taken for different.",
    )  # fmt: skip
    power = right.number_input(
        "Power", 0.5, 0.99, plan.power, 0.05, key=f"{key}_power",
        help="How often the least gain worth shipping is to be seen when it is there.",
    )  # fmt: skip
    return {"alpha": alpha, "power": power}


def _audience(base: Proposal | None, key: str) -> dict[str, Any]:
    policy = st.segmented_control(
        "Policy", list(Policy), format_func=POLICIES.__getitem__, default=Policy(base.policy) if base else Policy.HASH,
        required=True, key=f"{key}_policy", help="Thompson sampling gives more users to what does better as it learns.",
    )  # fmt: skip
    layer = st.text_input(
        "Layer", (base.layer or "") if base else "", key=f"{key}_layer", placeholder="Every user",
        help="Experiments in one layer never share a user.",
    )  # fmt: skip
    found: dict[str, Any] = {"policy": str(policy)}
    if layer.strip():
        kept = (base.layer_low or 0.0, base.layer_high or 1.0) if base and base.layer else (0.0, 1.0)
        low, high = st.slider(
            "Part of the layer", 0.0, 1.0, kept, 0.05, key=f"{key}_range", help="Users whose place is in this part."
        )
        found |= {"layer": layer.strip(), "layer_low": low, "layer_high": high}
    text = st.text_input(
        "Targeting, as JSON", json.dumps(base.targeting) if base and base.targeting else "", key=f"{key}_targeting",
        placeholder='{"region": ["north"]}', help="Conditions on what you tell of a user; empty means everyone.",
    )  # fmt: skip
    return found | {"targeting": _rules(text)}


def _rules(text: str) -> Any:
    try:
        return json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise InputError(f'targeting is not JSON ({error}); write it like {{"region": ["north"]}}') from error


def _with(known: Sequence[str], more: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*known, *more]))
