"""`organism evaluate`, `evaluations`, `compare` and `safety …`: measure versions, and what must not get worse."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from organism.cli.commands import loop_of, opened
from organism.cli.output import ProgressLine, Result, table
from organism.config import utcnow
from organism.errors import InputError
from organism.optimize.evaluation_flow import (
    compare_versions,
    describe_evaluation,
    evaluate_by_name,
    read_evaluations,
    worst_rows,
)
from organism.optimize.flow import Supervisor, wait_for_run
from organism.optimize.safety_flow import add_safety_cases, read_safety_cases, remove_safety_case
from organism.records import RunStatus
from organism.store.evaluations import read_run_evaluation

LOOP_HELP = "the loop (default: the demo's)"


def add_to(command: Any) -> None:
    """The commands at the top of the tree."""
    leaf = command("evaluate", evaluate, "measure a version against another on held-out rows, as a run of the queue")
    leaf.add_argument("version", metavar="VERSION", help="its name, or the name or id of the run that made it")
    leaf.add_argument("--against", metavar="VERSION", help="the version to measure against (default: its base)")
    leaf.add_argument("--dataset", metavar="ID", help="whose held-out rows (default: those of its last evaluation)")
    leaf.add_argument("--judge", metavar="JUDGE", help="a judge version, or an endpoint as http://HOST/v1#MODEL")
    leaf.add_argument("--rows", type=int, metavar="N", help="only so many held-out rows, drawn by a seed")
    leaf.add_argument("--name", help="what to call it")
    leaf.add_argument("--wait", action="store_true", help="see it through here, and print its figures")
    leaf.add_argument("--loop", help=LOOP_HELP)
    leaf = command("evaluations", evaluations, "evaluations with their figures, the newest first; or one of them")
    leaf.add_argument("evaluation", nargs="?", metavar="ID", help="only this one, with slices, safety and worst rows")
    leaf.add_argument("--version", metavar="VERSION", help="only those of this version")
    leaf.add_argument("--worst", type=int, default=5, metavar="N", help="worst rows of the one (default: 5)")
    leaf.add_argument("--loop", help=LOOP_HELP)
    leaf = command("compare", compare, "compare two versions on the held-out rows that both have drafted")
    leaf.add_argument("version", metavar="A")
    leaf.add_argument("against", metavar="B")
    leaf.add_argument("--worst", type=int, default=5, metavar="N", help="worst rows to show (default: 5)")
    leaf.add_argument("--loop", help=LOOP_HELP)


def add_safety_to(command: Any) -> None:
    """The members of the group `safety`."""
    command("list", safety_list, "the cases that every evaluation runs")
    leaf = command("add", safety_add, "take cases into use from a JSONL file: name, prompt, must_say, must_not_say")
    leaf.add_argument("file", metavar="FILE")
    leaf = command("remove", safety_remove, "take a case out of use; it stays on record")
    leaf.add_argument("case_id", metavar="ID")


def evaluate(args: argparse.Namespace) -> Result:
    """Queue an evaluation; with --wait see it through."""
    progress = ProgressLine()
    with opened(args) as place:
        run_id = evaluate_by_name(
            place.store,
            place.workspace,
            loop_of(place.store, args.loop),
            args.version,
            against=args.against,
            dataset_id=args.dataset,
            judge=args.judge,
            name=args.name,
            max_rows=args.rows,
            now=utcnow(),
        )
        if not args.wait:
            text = (
                f"Queued as {run_id}. It starts when `organism serve` is at work on this workspace; "
                f"or see it through here: organism run resume {run_id} --wait"
            )
            return Result(text, {"run_id": run_id, "status": RunStatus.QUEUED})
        with Supervisor(place.store, place.workspace):
            run = wait_for_run(place.store, run_id, lambda share, text: progress("evaluate", share, text))
        found = read_run_evaluation(place.store, run_id)
    data = {"run_id": run_id, "status": run.status, "evaluation": found}
    if run.status is not RunStatus.DONE or found is None:
        sentence = f"run {run_id} ended as {run.status}: {run.message}"
        return Result(f"{sentence}. See: organism run log {run_id}", {**data, "error": sentence}, 1)
    return Result("\n".join(_said(found)), data)


def evaluations(args: argparse.Namespace) -> Result:
    """The list, or one evaluation in full."""
    if args.evaluation:
        return _one(args)
    with opened(args) as place:
        found = read_evaluations(place.store, loop_of(place.store, args.loop))
    if args.version:
        found = found[found["version"] == args.version]
    columns = {
        "eval_run_id": "evaluation",
        "version": "version",
        "baseline": "against",
        "n_rows": "rows",
        "before": "before",
        "after": "after",
        "facts_after": "facts",
        "win_rate": "win rate",
        "n_safety_worse": "unsafe",
    }
    return Result(table(found, columns, "No evaluation yet: try organism evaluate."), {"evaluations": found})


def _one(args: argparse.Namespace) -> Result:
    with opened(args) as place:
        found = describe_evaluation(place.store, args.evaluation)
    header, figures = found.header, found.figures
    worst = worst_rows(found.results, args.worst) if "win_rate" in figures else []
    lines = [f"{header['version']} against {header['baseline']}, {header['created_at']:%Y-%m-%d %H:%M} UTC."]
    return Result(
        "\n".join([*lines, *_said(figures), *_regressions(worst)]), {**header, "figures": figures, "worst": worst}
    )


def compare(args: argparse.Namespace) -> Result:
    """Two versions by what they drafted before; no model is run."""
    with opened(args) as place:
        found = compare_versions(place.store, loop_of(place.store, args.loop), args.version, args.against)
    worst = worst_rows(found.results, args.worst)
    lines = [f"{args.version} against {args.against}:", *_said(found.figures), *_regressions(worst)]
    data = {"version": found.version, "against": found.against, "figures": found.figures, "worst": worst}
    return Result("\n".join(lines), data)


def safety_list(args: argparse.Namespace) -> Result:
    """The cases in use."""
    with opened(args) as place:
        found = read_safety_cases(place.store, loop_of(place.store, args.loop))
    columns = {"case_id": "case", "name": "name", "must_say": "must say", "must_not_say": "must not say"}
    return Result(table(found, columns, "No safety case is in use: try organism safety add."), {"safety_cases": found})


def safety_add(args: argparse.Namespace) -> Result:
    """Cases from a file, all or none."""
    file = Path(args.file)
    try:
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}; give a JSONL file") from error
    except ValueError as error:
        raise InputError(f"{file} is no JSONL ({error}); write one JSON object a line") from error
    with opened(args) as place:
        ids = add_safety_cases(place.store, loop_of(place.store, args.loop), lines, now=utcnow())
    return Result(f"{len(ids)} safety cases are in use from now on.", {"case_ids": ids})


def safety_remove(args: argparse.Namespace) -> Result:
    """One case less."""
    with opened(args) as place:
        remove_safety_case(place.store, loop_of(place.store, args.loop), args.case_id, utcnow())
    return Result(f"Case {args.case_id} is out of use.", {"case_id": args.case_id, "removed": True})


def _said(figures: Mapping[str, Any]) -> list[str]:
    """The figures in words, one line each; what is not known is left out."""
    if "win_rate" not in figures:
        return [f"  {name:<24} {value}" for name, value in figures.items() if isinstance(value, int | float | str)]
    win = figures["win_rate"]
    lines = [
        f"{figures['n_rows']:,} held-out rows of {figures['n_users']:,} users.",
        _line("retained characters", figures["before"], figures["after"], figures["gain_ci"]),
        _line("facts right", figures["facts_before"], figures["facts_after"], figures["facts_gain_ci"]),
        _line("tokens a draft", figures["tokens_before"], figures["tokens_after"], figures.get("tokens_gain_ci")),
        _line("perplexity", figures.get("perplexity_before"), figures.get("perplexity_after"), None),
        f"  {'win rate':<22} {win['rate']:.3f}{_spread(win['ci'])}: {win['wins']} won, {win['losses']} lost",
    ]
    if seen := figures.get("contamination"):
        lines.append(f"  {'seen in training':<22} {seen['n_overlapping']} of {seen['n_checked']} held-out prompts")
    if (safety := figures.get("safety")) and safety["n"]:
        worse = "; ".join(f"{case['name']}: {', '.join(case['faults'])}" for case in safety["worse"])
        lines.append(f"  {'safety cases':<22} {worse or 'none got worse'} ({safety['n']} run)")
    if judge := figures.get("judge"):
        lines.append(f"  {'judge prefers it':<22} {judge['rate']:.3f}{_spread(judge['ci'])} ({judge['judge']})")
    worse_slices = [f"{part['dimension']} {part['value']}" for part in figures.get("slices", []) if part["is_worse"]]
    lines += [f"  {'surely worse':<22} {name}" for name in worse_slices]
    return [line for line in lines if line]


def _line(name: str, before: float | None, after: float | None, ends: Any) -> str:
    if before is None or after is None:
        return ""
    return f"  {name:<22} {before:.3f} before, {after:.3f} after{_spread(ends, 'change ')}"


def _spread(ends: Any, of: str = "") -> str:
    sign = "+" if of else ""
    return f" ({of}{ends[0]:{sign}.3f} to {ends[1]:{sign}.3f})" if ends else ""


def _regressions(rows: list[dict[str, Any]]) -> list[str]:
    worse = [row for row in rows if row["agreement"]["after"] < row["agreement"]["before"]]
    if not worse:
        return ["No prompt got worse."]
    return [
        "Worst prompts:",
        *(
            f"  {row['agreement']['before']:.2f} to {row['agreement']['after']:.2f}  {row['prompt'][:80]!r}"
            for row in worse
        ),
    ]
