"""`organism dataset …`: frozen training sets."""

import argparse
from typing import Any

from organism.cli.commands import loop_of, opened
from organism.cli.output import Result, table
from organism.store.datasets import read_datasets


def add_to(command: Any) -> None:
    """The members of the group."""
    command("list", list_datasets, "frozen training sets, the newest first")


def list_datasets(args: argparse.Namespace) -> Result:
    """Every set with its size."""
    with opened(args) as place:
        found = read_datasets(place.store, loop_of(place.store, args.loop))
    columns = {"dataset_id": "set", "name": "name", "n_train": "train", "n_heldout": "held out"}
    return Result(table(found, columns, "No set was frozen yet."), {"datasets": found})
