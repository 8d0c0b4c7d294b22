"""Parse, call one flow, print one result; exit 0 done, 1 failed (or nobody reads on), 2 bad input."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from organism import __version__
from organism.cli import (
    analyze,
    assign,
    bases,
    choices,
    commands,
    datasets,
    evaluate,
    experiment,
    records,
    rewards,
    runs,
    selftest,
    serve,
    signals,
    tracks,
    train,
    turns,
    validity,
    votes,
    weights,
)
from organism.cli.output import Result
from organism.errors import DesignError, InputError, OrganismError
from organism.wire import as_json

KINDS = ("interactions", "feedback", "outcomes")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code, 1 without a word when the reader closed the pipe (`… | head`)."""
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()  # here, since a failure at the interpreter's exit can be handled by nobody
    except BrokenPipeError:
        # As the signal module's documentation says: what is left to flush at exit must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(argv: Sequence[str] | None) -> int:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    args = build_parser().parse_args(argv)
    try:
        _check_text(vars(args))
        result: Result = args.run(args)
    except OrganismError as error:
        _complain(args, str(error))
        return 2 if isinstance(error, InputError | DesignError) else 1
    except KeyboardInterrupt:
        _complain(args, "interrupted; what was committed is kept")
        return 1
    print(as_json(result.data) if args.json else result.text)
    return result.code


def _check_text(args: Mapping[str, Any]) -> None:
    """Raise InputError for an argument in bytes that are no UTF-8: neither the store nor a terminal takes it."""
    for name, given in args.items():
        for text in given if isinstance(given, list) else [given]:
            if isinstance(text, str) and any("\ud800" <= letter <= "\udfff" for letter in text):
                raise InputError(f"{name} is not UTF-8 text; write it anew")


def _complain(args: argparse.Namespace, sentence: str) -> None:
    if args.json:
        print(json.dumps({"error": sentence}))
    print(f"organism: {sentence}", file=sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    """The whole command tree; the docs test walks it."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--workspace", metavar="DIR", help="the workspace folder (default: ORGANISM_WORKSPACE or ./workspace)"
    )
    shared.add_argument("--json", action="store_true", help="print one JSON object instead of words")
    shared.add_argument("--no-demo", action="store_true", help="do not fill a new workspace with the synthetic demo")
    parser = argparse.ArgumentParser(prog="organism", description="A workbench for AI products that keep learning.")
    parser.add_argument("--version", action="version", version=f"organism {__version__}")
    tree = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Any, help_text: str) -> argparse.ArgumentParser:
        leaf = tree.add_parser(name, parents=[shared], help=help_text, description=help_text)
        leaf.set_defaults(run=run)
        return leaf

    def group(name: str, help_text: str) -> Any:
        branch = tree.add_parser(name, help=help_text, description=help_text)
        leaves = branch.add_subparsers(title="commands", required=True, metavar="COMMAND")

        def member(leaf_name: str, run: Any, leaf_help: str) -> argparse.ArgumentParser:
            leaf: argparse.ArgumentParser = leaves.add_parser(
                leaf_name, parents=[shared], help=leaf_help, description=leaf_help
            )
            leaf.add_argument("--loop", help="the loop (default: the demo's)")
            leaf.set_defaults(run=run)
            return leaf

        return member

    _process_commands(command)
    _data_commands(command)
    _model_commands(command)
    _experiment_commands(command)
    _groups(group)
    return parser


def _groups(group: Any) -> None:
    reward = group("reward", "reward designs: what they are, what they would change, whether they are right")
    rewards.add_to(reward)
    weights.add_to(reward)
    choices.add_to(reward)
    validity.add_to(reward)
    signals.add_to(reward)
    runs.add_to(group("run", "one training run: look, stop, pause, go on, clone, try again"))
    evaluate.add_safety_to(group("safety", "safety cases: what every version must keep saying"))
    bases.add_to(group("base", "base models that fine-tunes grow from: the shipped one, folders, ids of a hub"))
    datasets.add_to(group("dataset", "training sets: freeze, look at, hand out"))
    tracks.add_to(group("tracks", "improvement tracks: recipes by reward designs by data cuts, side by side"))
    experiments = group("experiment", "plan an experiment, start it, change its plan in the open; replay its record")
    experiment.add_to(experiments)
    records.add_to(experiments)
    selftest.add_to(experiments)
    votes.add_to(group("vote", "blind votes: which of two versions people prefer"))


def _process_commands(command: Any) -> None:
    leaf = command("serve", serve.serve, "start the app: pages and HTTP API in one process")
    leaf.add_argument("--port", type=int, default=8501, help="the port to listen at (default: 8501)")
    leaf.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: 127.0.0.1)")
    leaf.add_argument("--open", action="store_true", help="open the app in a browser once it answers")
    leaf = command("loop", turns.loop, "turn the whole loop on the synthetic demo, without a browser")
    leaf.add_argument("--turns", type=int, default=1, help="how many turns (default: 1)")
    leaf.add_argument("--rows", type=int, default=400, help="expert notes to train on (default: 400)")
    leaf.add_argument("--heldout-rows", type=int, default=300, help="held-out notes to measure on (default: 300)")
    leaf.add_argument("--visits", type=int, default=10, help="fresh visits per simulated physician (default: 10)")
    leaf.add_argument("--seed", type=int, default=0, help="seed of the run (default: 0)")
    leaf = command("doctor", commands.doctor, "check the installation, the workspace and the model; say what to mend")
    leaf.add_argument("--port", type=int, default=8501, help="the port that serve would take (default: 8501)")


def _data_commands(command: Any) -> None:
    leaf = command("import", commands.import_file, "bring a CSV, Parquet or JSONL file in; bad rows go to quarantine")
    leaf.add_argument("file", metavar="FILE")
    leaf.add_argument("--kind", required=True, choices=KINDS, help="what the rows are")
    leaf.add_argument("--loop", help="the loop of rows that do not name one; made on first sight")
    leaf.add_argument("--source", help="the source of rows that do not name one (default: the file's name)")
    leaf.add_argument(
        "--map", action="append", default=[], metavar="FIELD=COLUMN", help="which column is a field; repeatable"
    )
    leaf.add_argument("--preview", action="store_true", help="show the mapping and the first rows; import nothing")
    command("sources", commands.sources, "every source: volume, freshness, quarantined rows")
    leaf = command("quarantine", commands.quarantine, "list the rows that could not be read, or mend one and retry it")
    leaf.add_argument("--retry", metavar="ID", help="send this row again")
    leaf.add_argument("--patch", default="{}", metavar="JSON", help="fields to change before the retry")
    leaf = command("backup", commands.backup, "copy the database while the workspace is open here")
    leaf.add_argument("file", metavar="FILE")
    leaf = command(
        "restore", commands.restore, "put a backup in place of the workspace's database; the old one is kept"
    )
    leaf.add_argument("file", metavar="FILE")


def _model_commands(command: Any) -> None:
    train.add_to(command("train", train.train, "fine-tune by a recipe, on a training set that is named or frozen now"))
    command("recipes", train.recipes, "the recipes: what each learns from, its presets and knobs")
    leaf = command("runs", runs.runs, "training runs and how they stand")
    leaf.add_argument("--loop", help="only this loop's runs")
    evaluate.add_to(command)
    leaf = command("models", commands.models, "model versions, their lineage, and which one is live")
    leaf.add_argument("--loop", help="the loop (default: the demo's)")
    leaf = command("promote", commands.promote, "make a version live; refused when its facts got worse than the margin")
    leaf.add_argument("version", metavar="VERSION")
    leaf.add_argument("--loop", help="the loop (default: the demo's)")
    leaf.add_argument("--reason", required=True, help="one sentence: why")
    leaf = command("rollback", commands.rollback, "make the version that was live before live again")
    leaf.add_argument("--loop", help="the loop (default: the demo's)")
    leaf.add_argument("--reason", required=True, help="one sentence: why")


def _experiment_commands(command: Any) -> None:
    analyze.add_to(command)
    assign.add_to(command)
    selftest.add_simulate_to(command)
    leaf = command("experiments", commands.experiments, "experiments and their verdicts")
    leaf.add_argument("--loop", help="only this loop's experiments")
    leaf = command(
        "decide", commands.decide, "record the decision on an experiment; ship also makes the treatment live"
    )
    leaf.add_argument("experiment", metavar="ID")
    leaf.add_argument(
        "--verdict",
        required=True,
        choices=("ship", "keep_running", "hold", "stop", "roll_back"),
        help="what was decided (hold is keep_running)",
    )
    leaf.add_argument("--note", required=True, help="one sentence: why")
    leaf.add_argument("--by", required=True, metavar="NAME", help="who decided")
    leaf.add_argument("--treatment", metavar="NAME", help="of several, the one it is about (default: the best)")
    leaf = command("vitals", commands.vitals, "the loop's metabolism, and what needs you")
    leaf.add_argument("--loop", help="the loop (default: the demo's)")
