"""`organism experiment replay` and `report`: the record of a decision judged anew, and the report as one file."""

import argparse
from pathlib import Path
from typing import Any

from organism.cli.commands import opened
from organism.cli.output import Result
from organism.errors import InputError
from organism.experiment.record import Outcome, Replayed, replay
from organism.experiment.record_flow import replay_decision, since_decision
from organism.experiment.report_flow import report_of


def add_to(command: Any) -> None:
    """The members of the group `experiment` about decision records."""
    leaf = command(
        "replay",
        replay_one,
        "judge a decision's record anew: the same bytes, the same to rounding, or what differs (exit code 1)",
    )
    leaf.add_argument(
        "what", metavar="ID", help="an experiment (its last decision), a decision, or a record's JSON file"
    )
    leaf.add_argument(
        "--from-data", action="store_true", help="ask the database again too, and say what has come in since"
    )
    leaf = command("report", report, "an experiment as one HTML file that needs nothing else, to send or to print")
    leaf.add_argument("experiment", metavar="ID")
    leaf.add_argument("--out", required=True, metavar="FILE", help="where to write it, such as report.html")


def replay_one(args: argparse.Namespace) -> Result:
    """Recompute a record; exit code 1 when it differs by more than rounding. A file needs no workspace."""
    if Path(args.what).is_file():
        if args.from_data:
            raise InputError("a record's file has no database to ask again; give the experiment's id with --from-data")
        return _result(replay(_text(Path(args.what))))
    with opened(args) as place:
        found = replay_decision(place.store, args.what)
        since = since_decision(place.store, args.what) if args.from_data else None
    done = _result(found)
    if since is None:
        return done
    return Result(f"{done.text}\n{since.sentence}", {**done.data, "since": since._asdict()}, done.code)


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as UTF-8 ({error}); give the file as it was downloaded") from error


def _result(found: Replayed) -> Result:
    return Result(found.sentence, found._asdict(), 1 if found.outcome is Outcome.DIFFERS else 0)


def report(args: argparse.Namespace) -> Result:
    """Write the report; of a decided experiment it is the same file every time."""
    with opened(args) as place:
        found = report_of(place.store, args.experiment)
    n_bytes = write_report(Path(args.out), found)
    return Result(f"Wrote {args.out} ({n_bytes / 1000:,.0f} kB).", {"file": args.out, "bytes": n_bytes})


def write_report(out: Path, text: str) -> int:
    """Write a report's bytes and count them; raises InputError where the file cannot be written."""
    content = text.encode()
    try:
        out.write_bytes(content)
    except OSError as error:
        raise InputError(
            f"{out} cannot be written ({error.strerror}); name a file in a folder that is there"
        ) from error
    return len(content)
