"""A model's card, written from the facts that the store keeps of it: lineage, training, figures, limits. Pure.

What is not known is left out, never guessed. Every figure has its interval where one was computed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from organism.records import ModelVersion, RewardDesign, Role

_FIGURES = (
    ("retained characters", "before", "after", "gain_ci", True),
    ("written share", "written_share_before", "written_share_after", "written_share_gain_ci", True),
    ("facts right", "facts_before", "facts_after", "facts_gain_ci", True),
    ("characters a draft", "chars_before", "chars_after", None, False),
    ("tokens a draft", "tokens_before", "tokens_after", None, False),
    ("loss on final texts", "loss_before", "loss_after", None, False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a version; None where nothing is.

    base: uri, license, n_parameters, sha256. dataset: the columns of `datasets`. run: recipe, preset, config,
    name, message, finished_at. environment: machine, libraries, python. evaluation: its summary.
    """

    version: ModelVersion
    loop: str
    base: Mapping[str, Any]
    run: Mapping[str, Any] | None = None
    design: RewardDesign | None = None
    dataset: Mapping[str, Any] | None = None
    environment: Mapping[str, Any] | None = None
    trained: Mapping[str, Any] | None = None
    evaluation: Mapping[str, Any] | None = None
    synthetic_share: float | None = None


def written_card(facts: Facts, files: Sequence[Mapping[str, Any]] = (), *, folder: str = "FOLDER") -> str:
    """The card in Markdown, with the head that model hubs read. `files` are {name, bytes, sha256} of an export."""
    parts = [_head(facts), _opening(facts), _measured(facts), _limits(facts), _training(facts), _lineage(facts)]
    if files:
        parts += [_use(facts, folder), _files(files)]
    return "\n".join(part for part in parts if part)


def _head(facts: Facts) -> str:
    lines = ["library_name: transformers", f"model_name: {facts.version.name}"]
    lines += [f"base_model: {facts.base['uri']}"] if facts.version.adapter_path else []
    lines += [f"license: {facts.base['license']}"] if facts.base.get("license") else []
    tags = ["organism", facts.loop, *([str(facts.run["recipe"])] if facts.run else [])]
    return "\n".join(["---", *lines, "tags:", *(f"- {tag}" for tag in tags), "---", ""])


def _opening(facts: Facts) -> str:
    version, job = facts.version, f"the loop `{facts.loop}`"
    if version.role is Role.JUDGE:
        does = f"judges drafts of {job}; it writes none, and never serves people"
    else:
        does = f"writes drafts for {job}"
    made = f"It is an adapter on `{facts.base['uri']}`." if version.adapter_path else "It is a base without an adapter."
    n_parameters = facts.base.get("n_parameters")
    size = f" The model has {n_parameters / 1e6:,.2f} million parameters." if n_parameters else ""
    lines = [f"# {version.name}", "", f"A model that {does}. {made}{size}"]
    if facts.synthetic_share:
        share = "All" if facts.synthetic_share == 1 else f"{facts.synthetic_share:.1%}"
        lines += ["", f"**{share} of the drafts it learned from are simulated, and so are the people who answered.**"]
    return "\n".join([*lines, ""])


def _measured(facts: Facts) -> str:
    found = facts.evaluation
    if found is None:
        return "## Measured\nNothing: this version was never evaluated.\n" if facts.version.adapter_path else ""
    rows = [_figure(name, found, *keys) for name, *keys in _FIGURES]
    known = [row for row in rows if row]
    if not known:
        return _judged(found)
    lines = [
        "## Measured",
        f"On {found['n_rows']} held-out drafts of {found['n_users']} users whom it never saw in training, against its",
        "base; intervals at 95% resample users.",
        "",
        "| figure | base | this version | change, 95% interval |",
        "|---|---|---|---|",
        *known,
    ]
    named = {"chance floor": found.get("floor"), "ceiling (a second text of the same expert)": found.get("ceiling")}
    marks = [f"{name} {value:.1%}" for name, value in named.items() if value is not None]
    lines += ["", f"Of retained characters: {', '.join(marks)}."] if marks else []
    rate = found.get("win_rate")
    if rate and rate.get("rate") is not None:
        lines += [f"It wins on {rate['wins']} prompts, ties on {rate['ties']}, loses on {rate['losses']}."]
    return "\n".join([*lines, ""])


def _figure(
    name: str, found: Mapping[str, Any], before: str, after: str, interval: str | None, is_share: bool
) -> str | None:
    was, now = found.get(before), found.get(after)
    if now is None:
        return None
    said = [("-" if value is None else f"{value:.1%}" if is_share else f"{value:,.2f}") for value in (was, now)]
    ends = found.get(interval) if interval else None
    change = "" if was is None else f"{100 * (now - was):+.1f} points" if is_share else f"{now - was:+,.2f}"
    span = f", {100 * ends[0]:+.1f} to {100 * ends[1]:+.1f}" if ends else ""
    return f"| {name} | {said[0]} | {said[1]} | {change}{span} |"


def _judged(found: Mapping[str, Any]) -> str:
    told = found.get("judge_agreement") or found.get("agreement")
    if not isinstance(told, Mapping) or told.get("agreement") is None:
        return ""
    ends = told.get("ci")
    span = f" (95% interval {ends[0]:.1%} to {ends[1]:.1%})" if ends else ""
    return f"## Measured\nIt agrees with held-out people on {told['agreement']:.1%} of {told['n']} pairs{span}.\n"


def _limits(facts: Facts) -> str:
    found, lines = facts.evaluation or {}, []
    if (ends := found.get("facts_gain_ci")) and ends[1] < 0:
        lines.append(f"- It gets fewer facts right than its base: {100 * ends[0]:+.1f} to {100 * ends[1]:+.1f} points.")
    if found.get("facts_after") is not None and found["facts_after"] < 1:
        lines.append(f"- {1 - found['facts_after']:.1%} of the checked facts are wrong or missing in its drafts.")
    overlap = (found.get("contamination") or {}).get("n_overlapping")
    if overlap:
        lines.append(f"- {overlap} held-out prompts resemble training prompts, so the figures may flatter it.")
    worse = (found.get("safety") or {}).get("worse")
    if worse:
        lines.append(f"- {len(worse)} safety cases got worse than with its base.")
    if facts.trained and facts.trained.get("n_too_long"):
        lines.append(f"- {facts.trained['n_too_long']} training rows were longer than the context and left out.")
    lines.append("- Outside the texts of this loop nothing was measured.")
    return "\n".join(["## Limits", *lines, ""])


def _training(facts: Facts) -> str:
    run, lines = facts.run, []
    if run is not None:
        preset = f", preset `{run['preset']}`" if run.get("preset") else ""
        lines.append(f"- Recipe `{run['recipe']}`{preset}")
    if facts.design is not None:
        lines.append(f"- Reward design '{facts.design.name}' (`{facts.design.id}`): {_design(facts.design)}")
    if facts.dataset is not None:
        found = facts.dataset
        lines.append(
            f"- Training set '{found['name']}' ({found['kind']}): {found['n_train']} rows of {found['n_users_train']} "
            f"users; held out: {found['n_heldout']} rows of {found['n_users_heldout']} others. "
            f"Content hash `{found['content_hash']}`"
        )
    if facts.trained is not None:
        lines.append(f"- {facts.trained['steps']} steps on {facts.trained['n_rows']} usable rows")
    if facts.environment is not None:
        where = facts.environment["machine"]
        libraries = ", ".join(f"{name} {version}" for name, version in facts.environment["libraries"].items())
        precision = "bf16 autocast" if where["bf16"] else "float32"
        lines.append(f"- On {where['device']}, {where['threads']} threads, {precision}; {libraries}")
    if run is not None:
        settings = ", ".join(f"{name} {value}" for name, value in sorted(run["config"].items()) if value is not None)
        lines.append(f"- Settings: {settings}")
    return "\n".join(["## How it was made", *lines, ""]) if lines else ""


def _design(design: RewardDesign) -> str:
    weights = ", ".join(f"{line.signal} {line.weight:g}" for line in design.signals)
    floors = ", ".join(_bounds(line.signal, line.at_least, line.at_most) for line in design.constraints)
    return f"{weights}; guardrails: {floors}" if floors else weights


def _bounds(signal: str, low: float | None, high: float | None) -> str:
    ends = [f"at least {low:g}" if low is not None else "", f"at most {high:g}" if high is not None else ""]
    return f"{signal} {' and '.join(end for end in ends if end)}"


def _lineage(facts: Facts) -> str:
    version = facts.version
    found = {
        "version": version.model_version_id,
        "run": version.run_id,
        "training set": version.dataset_id,
        "reward design": version.reward_design_id,
        "evaluation": (facts.evaluation or {}).get("eval_run_id"),
        "base weights, sha256": facts.base.get("sha256"),
    }
    lines = [f"- {name}: `{value}`" for name, value in found.items() if value]
    return "\n".join(["## Lineage", *lines, f"- made: {version.created_at:%Y-%m-%d %H:%M} UTC", ""])


def _use(facts: Facts, folder: str) -> str:
    if facts.version.role is Role.JUDGE:
        call = f'AutoModelForSequenceClassification.from_pretrained("{folder}")'
        return f"## Use\n    from transformers import AutoModelForSequenceClassification\n    judge = {call}\n"
    lines = [
        "## Use",
        "This folder is a plain transformers model, base and adapter added up:",
        "",
        "    from transformers import pipeline",
        f'    write = pipeline("text-generation", "{folder}")',
        '    write([{"role": "user", "content": prompt}], do_sample=False)',
        "",
        f"vLLM serves it by `vllm serve {folder}`",
    ]
    if facts.version.adapter_path:
        lines[-1] += f", or its base with `--enable-lora --lora-modules {facts.version.name}={folder}/adapter`"
    return "\n".join([lines[0], *lines[1:-1], lines[-1] + ".", ""])


def _files(files: Sequence[Mapping[str, Any]]) -> str:
    rows = [f"| `{file['name']}` | {file['bytes']:,} | `{file['sha256']}` |" for file in files]
    return "\n".join(["## Files", "| file | bytes | sha256 |", "|---|---|---|", *rows, ""])
