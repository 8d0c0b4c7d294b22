"""`organism assign`, `holdout`, `layers`: who gets which variant, who gets none, which ranges are taken."""

import argparse
import json
from typing import Any

import pandas as pd

from organism.cli.commands import loop_of, opened
from organism.cli.output import Result, table
from organism.config import utcnow
from organism.errors import InputError
from organism.experiment import assign_flow
from organism.experiment.assign_flow import Assigned
from organism.store.holdouts import Holdout, read_holdout
from organism.store.layers import in_words


def add_to(command: Any) -> None:
    """The three commands."""
    leaf = command("assign", assign, "put a user into the variants of one experiment, or of all that run in a loop")
    leaf.add_argument("--user", required=True, metavar="KEY", help="the key of the user who is to be served")
    leaf.add_argument("--experiment", metavar="ID", help="only this experiment")
    leaf.add_argument("--loop", help="all running experiments of this loop (default: the demo's)")
    leaf.add_argument(
        "--attributes", default="{}", metavar="JSON", help='what is known of the user, such as {"region": "north"}'
    )
    leaf = command("holdout", holdout, "the share of users who take part in no experiment: show it, or set it")
    leaf.add_argument("--share", type=float, help="the share from now on, such as 0.05; 0 ends the holdout")
    leaf.add_argument("--by", default="", metavar="NAME", help="who sets it")
    leaf.add_argument("--loop", help="the loop (default: the demo's)")
    leaf = command("layers", layers, "layers: which experiment holds which part of the users, and what is free")
    leaf.add_argument("--loop", help="the loop (default: the demo's)")


def assign(args: argparse.Namespace) -> Result:
    """The variant, its probability and the reason; the same user always gets the same answer."""
    attributes = _attributes(args.attributes)
    with opened(args) as place:
        if args.experiment:
            found = [assign_flow.assign_user(place.store, args.experiment, args.user, utcnow(), attributes)]
        else:
            loop_id = loop_of(place.store, args.loop)
            found = assign_flow.assign_loop(place.store, loop_id, args.user, utcnow(), attributes)
    text = "\n".join(map(_said, found)) or "No experiment of this loop runs: serve the live version."
    return Result(text, {"user_key": args.user.strip(), "assignments": found})


def holdout(args: argparse.Namespace) -> Result:
    """What the holdout is now."""
    with opened(args) as place:
        loop_id = loop_of(place.store, args.loop)
        if args.share is not None:
            assign_flow.set_holdout(place.store, loop_id, args.share, args.by, now=utcnow())
        found = read_holdout(place.store, loop_id)
    return Result(_holdout_words(found), {"holdout": found})


def layers(args: argparse.Namespace) -> Result:
    """One line a range that is held, and what is free of each layer."""
    with opened(args) as place:
        found = assign_flow.layer_map(place.store, loop_of(place.store, args.loop))
    held = pd.DataFrame(
        [(layer.layer, in_words([slot[2:]]), slot.experiment) for layer in found for slot in layer.slots],
        columns=["layer", "range", "experiment"],
    )
    free = [f"Free in {layer.layer}: {in_words(layer.free) or 'nothing'}." for layer in found]
    shown = table(held, {name: name for name in held.columns}, "No running experiment takes a part of a layer.")
    return Result("\n".join([shown, *free]), {"layers": found})


def _attributes(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f'--attributes is not JSON ({error}); write it as \'{{"region": "north"}}\'') from error
    if not isinstance(found, dict):
        raise InputError(f"--attributes is a JSON {type(found).__name__}; wanted an object, one field an attribute")
    return found


def _said(one: Assigned) -> str:
    if one.variant is None:
        return f"{one.experiment}: no variant ({one.reason}); serve the live version."
    by = one.model_version or "the product's own system"
    asked = f", asked with {one.prompt!r} before" if one.prompt else ""
    return f"{one.experiment}: {one.variant}, by {by}{asked} (probability {one.probability:g}, {one.reason})."


def _holdout_words(found: Holdout | None) -> str:
    if found is None or not found.share:
        return "Nobody is held out: every user may take part in experiments."
    who = f"set by {found.actor}, {found.created_at:%Y-%m-%d}"
    return f"{found.share:.2%} of the users take part in no experiment ({who})."
