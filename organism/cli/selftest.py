"""`organism experiment selftest` and `organism simulate`: what tests promise, tried on logs and made-up users."""

import argparse
import time
from typing import Any

import pandas as pd

from organism.cli.commands import loop_of, opened
from organism.cli.output import ProgressLine, Result, table
from organism.config import utcnow
from organism.errors import InputError
from organism.experiment.selftest import PERMUTATIONS, SelfTest, rate_words
from organism.experiment.selftest_flow import WEEKS, self_test_experiment, self_test_loop
from organism.experiment.simulate import Kind, Method, Setting, Simulation, document, simulate
from organism.records import Interval

USUAL = Setting()
PATIENCE = 2.0


def add_to(command: Any) -> None:
    """The member of the group `experiment` that tests the tests."""
    leaf = command("selftest", self_test, "A/A self-test: split own users at random, count false alarms of both tests")
    leaf.add_argument("experiment", metavar="ID", nargs="?", help="on its users (default: on the loop's last weeks)")
    leaf.add_argument("--metric", metavar="NAME", help="any metric of a plan (default: the plan's first)")
    leaf.add_argument("--treatment", metavar="NAME", help="of several: whose users join the control's")
    leaf.add_argument("--weeks", type=int, metavar="N", help=f"without ID: so many weeks (default: {WEEKS})")
    leaf.add_argument("--permutations", type=int, default=PERMUTATIONS, metavar="N", help="random splits")
    leaf.add_argument("--alpha", type=float, metavar="A", help="error rate (default: the plan's, else 0.05)")
    leaf.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the splits (default: 0)")


def add_simulate_to(command: Any) -> None:
    """The command that makes experiments up."""
    leaf = command("simulate", simulate_one, "power and peeking on made-up users: what a test is worth before a start")
    leaf.add_argument("--users", type=int, default=USUAL.users, metavar="N", help="users an arm (default: 500)")
    leaf.add_argument(
        "--requests", type=float, default=USUAL.requests, metavar="X", help="requests a user, on average (default: 10)"
    )
    leaf.add_argument(
        "--correlation", type=float, default=USUAL.correlation, metavar="R",
        help="between two requests of one user (default: 0.25)",
    )  # fmt: skip
    leaf.add_argument(
        "--effect", type=float, default=USUAL.effect, metavar="X",
        help="in standard deviations of a request, of a proportion in shares (default: 0, none)",
    )  # fmt: skip
    leaf.add_argument("--looks", type=int, default=USUAL.looks, metavar="N", help="how often it is read (default: 1)")
    leaf.add_argument("--alpha", type=float, default=USUAL.alpha, metavar="A", help="error rate (default: 0.05)")
    leaf.add_argument(
        "--experiments", type=int, default=USUAL.experiments, metavar="N", help="how many to make up (default: 2000)"
    )
    leaf.add_argument(
        "--kind", choices=[str(one) for one in Kind], default=str(USUAL.kind), help="the metric (default: ratio)"
    )
    leaf.add_argument(
        "--method", action="append", choices=[str(one) for one in Method], help="repeatable (default: all three)"
    )
    leaf.add_argument(
        "--baseline", type=float, default=USUAL.baseline, metavar="P", help="control's share of a proportion (0.1)"
    )
    leaf.add_argument("--tuning", type=float, metavar="N", help="users at which the sequence is tightest (all)")
    leaf.add_argument("--seed", type=int, default=USUAL.seed, metavar="N", help="seed (default: 0)")


class LateProgress:
    """Progress on stderr once the work has taken two seconds; of shorter work nobody wants to read."""

    def __init__(self) -> None:
        self._line, self._began = ProgressLine(), time.monotonic()

    def __call__(self, stage: str, share: float, text: str) -> None:
        if time.monotonic() - self._began > PATIENCE:
            self._line(stage, share, text)


def self_test(args: argparse.Namespace) -> Result:
    """On an experiment's users, or on all of the loop's last weeks."""
    if args.experiment and args.weeks is not None:
        raise InputError("--weeks is for a loop; leave out the experiment's id, or the weeks")
    if args.treatment and not args.experiment:
        raise InputError("--treatment is for an experiment; give its id, or leave the treatment out")
    same: dict[str, Any] = {"metric": args.metric, "permutations": args.permutations, "seed": args.seed}
    with opened(args) as place:
        store, progress = place.store, LateProgress()
        if args.experiment:
            found = self_test_experiment(
                store, args.experiment, treatment=args.treatment, alpha=args.alpha, progress=progress, **same
            )
        else:
            alpha = 0.05 if args.alpha is None else args.alpha
            weeks = WEEKS if args.weeks is None else args.weeks
            loop_id = loop_of(store, args.loop)
            found = self_test_loop(store, loop_id, weeks=weeks, alpha=alpha, now=utcnow(), progress=progress, **same)
    return Result("\n".join(_self_test_lines(found)), found._asdict())


def _self_test_lines(found: SelfTest) -> list[str]:
    widest = max(1, *(max(one.ours, one.naive) for one in found.histogram))
    bars = [
        f"{one.low:4.2f}-{one.high:4.2f}  {_bar(one.ours, widest)} {one.ours:>6,}   {_bar(one.naive, widest)} "
        f"{one.naive:>6,}"
        for one in found.histogram
    ]
    factor = "unknown" if found.design_effect is None else f"{found.design_effect:.2f}"
    return [
        found.sentence,
        "",
        f"on              {found.source}",
        f"by user         {rate_words(found.ours)}",
        f"by request      {rate_words(found.naive)}",
        f"design effect   {factor} (the variance by user over that by request)",
        f"seed            {found.seed}",
        "",
        "p               by user, splits             by request, splits",
        *bars,
        *found.notes,
    ]


def _bar(number: int, widest: int) -> str:
    return f"{'#' * round(20 * number / widest):<20}"


def simulate_one(args: argparse.Namespace) -> Result:
    """Make experiments up; needs no workspace."""
    setting = Setting(
        users=args.users,
        requests=args.requests,
        correlation=args.correlation,
        effect=args.effect,
        looks=args.looks,
        alpha=args.alpha,
        experiments=args.experiments,
        kind=Kind(args.kind),
        methods=tuple(Method(one) for one in args.method) if args.method else USUAL.methods,
        baseline=args.baseline,
        tuning=args.tuning,
        seed=args.seed,
    )
    found = simulate(setting, LateProgress())
    return Result(f"{found.sentence}\n\n{_table(found)}", document(found))


def _table(found: Simulation) -> str:
    rows = [
        {
            "method": str(one.method),
            f"{found.measures} (99%)": _share(one.called),
            "at the last look alone": _share(one.called_at_end),
            "stopped early": _share(one.stopped_early),
            "users at stop": _users(one.users_at_stop),
        }
        for one in found.outcomes
    ]
    shown = pd.DataFrame(rows)
    return table(shown, {name: name for name in shown.columns}, "No method.")


def _share(found: Interval) -> str:
    return "-" if found.estimate is None else f"{found.estimate:.1%} ({found.low:.1%}-{found.high:.1%})"


def _users(found: Interval) -> str:
    return "-" if found.estimate is None else f"{found.estimate:,.0f} ({found.low:,.0f}-{found.high:,.0f})"
