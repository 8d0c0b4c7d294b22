"""`organism base …`: the models that a fine-tune may grow from."""

import argparse
from typing import Any

from organism.cli.output import Result
from organism.config import workspace
from organism.lm.base_models import BaseCheck, add_base, check_base, read_bases, uri_of


def add_to(command: Any) -> None:
    """The members of the group; they work while a server holds the workspace."""
    command("list", list_bases, "the bases that this workspace knows, and whether they can be used")
    leaf = command("check", check, "read a base's files: architecture, size, context, card, and what does not fit")
    leaf.add_argument("uri", metavar="URI", help="a folder, bundled:…, workspace:…, hub:ORG/NAME, or a known name")
    leaf = command("add", add, "keep a base under a name; refused when it cannot be trained or cannot draft")
    leaf.add_argument("uri", metavar="URI", help="a folder, workspace:…, or hub:ORG/NAME[@REVISION]")
    leaf.add_argument("--name", help="what to call it (default: the last part of its address)")
    leaf.add_argument("--download", action="store_true", help="fetch a hub's model first; needs a network")


def list_bases(args: argparse.Namespace) -> Result:
    """Every base with a name."""
    place = workspace(args.workspace)
    bases = [base._asdict() for base in read_bases(place)]
    return Result("\n".join(f"{base['name']:<24} {base['uri']}" for base in bases), {"bases": bases})


def check(args: argparse.Namespace) -> Result:
    """What the files say; exit code 1 when it cannot be used."""
    place = workspace(args.workspace)
    found = check_base(place, uri_of(place, args.uri))
    return Result(_told(found), {**found._asdict(), "is_usable": found.is_usable}, 0 if found.is_usable else 1)


def add(args: argparse.Namespace) -> Result:
    """Keep it."""
    found = add_base(workspace(args.workspace), args.uri, args.name, download=args.download)
    return Result(f"Kept.\n{_told(found)}", {**found._asdict(), "is_usable": True})


def _told(found: BaseCheck) -> str:
    size = f"{found.n_parameters / 1e6:,.1f} million parameters" if found.n_parameters else "size unknown"
    context = f"context {found.context or 'unknown'} tokens, vocabulary {found.n_vocabulary or 'unknown'}"
    lines = [
        f"{found.uri}: {found.architecture or 'architecture unknown'}, {size}",
        f"{context}, license {found.license or 'not named'}",
        *([found.card] if found.card else []),
        *(f"MEND  {problem}" for problem in found.problems),
        *(f"note  {warning}" for warning in found.warnings),
    ]
    return "\n".join(lines)
