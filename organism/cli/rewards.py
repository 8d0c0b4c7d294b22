"""`organism reward …`: designs, and what they make of the history."""

import argparse
from typing import Any

from organism.cli.commands import loop_of, opened
from organism.cli.output import Result, table
from organism.store.reward_designs import read_designs


def add_to(command: Any) -> None:
    """The members of the group."""
    command("list", list_designs, "saved designs, the newest first")


def list_designs(args: argparse.Namespace) -> Result:
    """Every saved version."""
    with opened(args) as place:
        found = read_designs(place.store, loop_of(place.store, args.loop))
    columns = {"version": "version", "name": "name", "note": "what should get better", "author": "by"}
    return Result(table(found, columns, "No design was saved yet."), {"designs": found})
