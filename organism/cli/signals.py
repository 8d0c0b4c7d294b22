"""`organism reward signals …`: what a reward can be made of, and a team's own signals in SQL."""

import argparse
from typing import Any

from organism.cli.commands import loop_of, opened
from organism.cli.output import Result, table
from organism.config import utcnow
from organism.digest import signals_flow


def add_to(command: Any) -> None:
    """The members of the group."""
    command("signals", list_signals, "what a reward can be made of, and how many interactions carry each")
    leaf = command("define-signal", define_signal, "make a SQL expression over one interaction a signal")
    leaf.add_argument("name", metavar="NAME", help="small letters, digits and _")
    leaf.add_argument(
        "expression", metavar="EXPRESSION", help="over interaction.X, feedback.X and built-in signals by their names"
    )
    leaf.add_argument("--note", default="", help="one sentence: what it tells")
    leaf.add_argument("--by", default="", metavar="NAME", help="who defines it")
    leaf = command("remove-signal", remove_signal, "stop measuring a SQL signal; its name stays on record")
    leaf.add_argument("name", metavar="NAME")


def list_signals(args: argparse.Namespace) -> Result:
    """Every signal with its coverage; removed ones say when they went."""
    with opened(args) as place:
        found = signals_flow.list_signals(place.store, loop_of(place.store, args.loop))
    columns = {"name": "signal", "kind": "kind", "n_present": "there on", "n_rows": "of", "note": "what it tells"}
    shown = found.where(found.notna(), "-")
    return Result(table(shown, columns | {"removed_at": "removed"}, "No signal."), {"signals": found})


def define_signal(args: argparse.Namespace) -> Result:
    """Check it, try it, fill it in."""
    with opened(args) as place:
        found = signals_flow.define_signal(
            place.store,
            loop_of(place.store, args.loop),
            args.name,
            args.expression,
            note=args.note,
            author=args.by,
            now=utcnow(),
        )
    said = "is a signal now" if found.is_new else "was defined so already"
    text = f"{found.name} {said}: there on {found.n_present:,} of {found.n_rows:,} interactions."
    return Result(text, found._asdict())


def remove_signal(args: argparse.Namespace) -> Result:
    """Take it out of force, and name the designs that weigh it."""
    with opened(args) as place:
        found = signals_flow.remove_signal(place.store, loop_of(place.store, args.loop), args.name, utcnow())
    named = f" Saved designs that name it: {', '.join(found.designs)}." if found.designs else ""
    return Result(f"{found.name} is no longer measured.{named}", found._asdict())
