"""`organism reward …`: designs, and what they make of the history."""

import argparse
from typing import Any

import pandas as pd

from organism.cli.commands import loop_of, opened
from organism.cli.designs import REF, chosen_design, design_of, read_design, text_of
from organism.cli.output import Result, table
from organism.config import utcnow
from organism.digest.design_diff import bounds_in_words, diff
from organism.digest.design_files import document, to_toml
from organism.digest.designs import DEFAULT_DESIGN, group_of, number
from organism.digest.designs_flow import LIVE, find_design, list_designs
from organism.digest.flow import save_design, what_if
from organism.digest.presets import PRESETS
from organism.digest.what_if import Bounds, WhatIf
from organism.errors import InputError
from organism.records import RewardDesign


def add_to(command: Any) -> None:
    """The members of the group."""
    command("list", list_all, "the live design, the presets, and the saved versions, the newest first")
    leaf = command("show", show, "one design: as words, with --toml as a file, with --json as data")
    leaf.add_argument(
        "ref", metavar="REF", help="live, price, performance, quality, balanced, a version (v3), a name or an id"
    )
    leaf.add_argument("--toml", action="store_true", help="print a TOML file that save and what-if read")
    leaf = command("diff", difference, "what changes from one design to another, in words")
    leaf.add_argument("before", metavar="A")
    leaf.add_argument("after", metavar="B")
    leaf = command("save", save, "keep a design as the next version and make it live")
    leaf.add_argument("file", metavar="FILE", help="a .toml or .json file, or - for standard input")
    leaf.add_argument("--note", help="one sentence: what should get better (default: the file's own)")
    leaf.add_argument("--by", metavar="NAME", help="who saves it (default: the file's author)")
    leaf.add_argument("--name", help="the design's name (default: the file's)")
    leaf = command("what-if", try_out, "try a design on the history without saving it")
    leaf.add_argument("ref", nargs="?", default=LIVE, metavar="REF|FILE", help=REF)
    leaf.add_argument("--control", metavar="V", help="the variant to compare with (default: the base's)")


def list_all(args: argparse.Namespace) -> Result:
    """The live design, presets and every saved version."""
    with opened(args) as place:
        found = list_designs(place.store, loop_of(place.store, args.loop))
    rows = [{"ref": f"v{design['version']}", **design} for design in found.saved]
    rows += [{"ref": name, **design} for name, design in found.presets.items()]
    for row in rows:
        row |= {group: row["weights"][group] for group in row["weights"]}
    heads = ("ref", "name", "price", "performance", "quality", "note", "author")
    live = f"v{found.live['version']}" if found.live["version"] else "the default, since none was saved"
    shown = table(pd.DataFrame(rows), {head: head for head in heads}, "")
    return Result(f"Live: {live} ({found.live['name']}).\n\n{shown}", found._asdict())


def show(args: argparse.Namespace) -> Result:
    """One design. With --toml and --json the object carries the TOML as a text beside the id."""
    with opened(args) as place:
        design = find_design(place.store, loop_of(place.store, args.loop), args.ref)
    if args.toml:
        text = to_toml(design)
        return Result(text.rstrip("\n"), {"reward_design_id": design.id, "name": design.name, "toml": text})
    return Result(_in_words(design), document(design))


def difference(args: argparse.Namespace) -> Result:
    """A line a change."""
    with opened(args) as place:
        loop = loop_of(place.store, args.loop)
        before, after = (find_design(place.store, loop, ref) for ref in (args.before, args.after))
    changes = diff(before, after)
    text = "\n".join(changes) or f"The two are the same recipe, {before.id}."
    return Result(text, {"before": before.id, "after": after.id, "changes": changes})


def save(args: argparse.Namespace) -> Result:
    """Keep the file's design, under the note, name and author of the arguments where they are given."""
    text = read_design(args.file)
    with opened(args) as place:
        loop = loop_of(place.store, args.loop)
        design = design_of(text, args.file, place, loop)
        named = RewardDesign(
            name=design.name if args.name is None else args.name,
            signals=design.signals,
            constraints=design.constraints,
            note=_own_note(design) if args.note is None else args.note,
            author=design.author if args.by is None else args.by,
        )
        done = save_design(place.store, loop, named, now=utcnow())
    text = (
        f"Saved as v{done.version} ({done.reward_design_id}); it is live."
        if done.is_new
        else f"Nothing new: this recipe is live already, as v{done.version}; its note stays as it was."
    )
    return Result(text, done._asdict())


def _own_note(design: RewardDesign) -> str:
    """The file's note, if its writer wrote one: that of a design to start from does not say why this one was saved."""
    shipped = {preset.note: name for name, preset in PRESETS.items()} | {DEFAULT_DESIGN.note: DEFAULT_DESIGN.name}
    start = shipped.get(design.note.strip())
    if start is None and design.note.strip():
        return design.note
    whose = f"the file's note is still that of the design {start}" if start else "the file has no note"
    raise InputError(f'{whose}; say in one sentence what should get better: --note "…"')


def try_out(args: argparse.Namespace) -> Result:
    """Rewards by variant, differences from the control, the nearest flip, coverage, warnings."""
    text = text_of(args.ref)
    with opened(args) as place:
        loop = loop_of(place.store, args.loop)
        found = what_if(place.store, loop, chosen_design(args.ref, text, place, loop), control=args.control)
    return Result(_report(found), found._asdict())


def _in_words(design: RewardDesign) -> str:
    rows = [
        {
            "signal": spec.signal,
            "group": group_of(spec.signal),
            "weight": number(spec.weight),
            "worth 0 at": number(spec.worst),
            "worth 1 at": number(spec.best),
            "when missing": "left out" if spec.missing is None else f"counts as {number(spec.missing)}",
        }
        for spec in design.signals
    ]
    by = f" By {design.author}." if design.author else ""
    guardrails = "".join(f"\nguardrail: {c.signal} {bounds_in_words(c)}" for c in design.constraints)
    signals = pd.DataFrame(rows).to_string(index=False)
    return f"{design.name} ({design.id}). {design.note}{by}\n\n{signals}{guardrails}"


def _report(found: WhatIf) -> str:
    variants = [
        {
            "variant": one.variant,
            "users": one.n_users,
            "interactions": one.n_interactions,
            "mean reward": one.mean,
            "95% interval": _range(one.ci),
        }
        for one in found.variants
    ]
    differences = [
        {
            "variant": one.variant,
            "against": one.control,
            "effect": one.effect,
            "95% interval": _range(one.ci),
            "p": _p(one.p_value),
        }
        for one in found.differences
    ]
    coverage = [{"signal": c.signal, "known for": c.n_present, "of": c.n_rows} for c in found.coverage]
    parts = [_table(rows) for rows in (variants, differences, coverage) if rows]
    parts += [_flip(found)] if found.differences else []
    parts += [f"Warning: {sentence}." for sentence in found.warnings]
    return "\n\n".join(parts)


def _p(value: float | None) -> str:
    return "unknown" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def _flip(found: WhatIf) -> str:
    flip = found.nearest_flip
    if flip is None:
        return "No move of one weight alone makes another variant win."
    return (
        f"Nearest flip: with {flip.name} {flip.weight_now:.3g} → {flip.weight_then:.3g} (its share of the weights "
        f"{flip.share_now:.0%} → {flip.share_then:.0%}), {flip.winner_then} would win instead of {flip.winner_now}."
    )


def _table(rows: list[dict[str, Any]]) -> str:
    return table(pd.DataFrame(rows), {name: name for name in rows[0]}, "")


def _range(bounds: Bounds | None) -> str:
    return "unknown" if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"
