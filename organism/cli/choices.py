"""`organism reward choices|choose|weights|off-policy`: what people chose, and what untried policies would earn."""

import argparse
from typing import Any

import pandas as pd

from organism.cli.commands import loop_of, opened
from organism.cli.output import Result, table
from organism.config import utcnow
from organism.digest.choices import ChoiceFit, ChoiceKind, design_from
from organism.digest.choices_flow import fit_choices, record_choice, variant_strengths
from organism.digest.design_files import to_link
from organism.digest.designs_flow import find_design
from organism.digest.off_policy import Preview
from organism.digest.off_policy_flow import off_policy
from organism.digest.policies import FORMS
from organism.errors import DesignError
from organism.store.choices import read_choices, read_voters

KINDS = [kind.value for kind in ChoiceKind]


def add_to(command: Any) -> None:
    """The members of the group `reward`."""
    command("choices", list_choices, "what people chose between, and who chose")
    leaf = command("choose", choose, "record that one draft (or variant) is better than another")
    leaf.add_argument("left", metavar="LEFT", help="an interaction's id, or with --kind variants a variant's name")
    leaf.add_argument("right", metavar="RIGHT")
    leaf.add_argument("--better", required=True, choices=("left", "right", "skip"), help="which one is better")
    leaf.add_argument("--by", required=True, metavar="NAME", help="who chose")
    leaf.add_argument("--kind", choices=KINDS, default=KINDS[0], help="what is compared (default: drafts)")
    leaf = command("weights", weights, "the weights that the choices ask for, beside a design's own")
    leaf.add_argument("--design", default="live", metavar="REF", help="whose signals and anchors (default: live)")
    leaf.add_argument("--kind", choices=KINDS, default=KINDS[0], help="which choices (default: drafts)")
    leaf.add_argument("--by", action="append", metavar="NAME", help="only this person's choices; repeatable")
    leaf = command("off-policy", estimate, "estimate what a router or policy would have earned, or say why not")
    leaf.add_argument("--policy", required=True, metavar="POLICY", help=FORMS)
    leaf.add_argument("--design", default="live", metavar="REF", help="the design that rewards (default: live)")
    leaf.add_argument("--seed", type=int, default=0, help="seed of the resampling (default: 0)")


def list_choices(args: argparse.Namespace) -> Result:
    """Every choice, and the voters."""
    with opened(args) as place:
        loop = loop_of(place.store, args.loop)
        found, voters = read_choices(place.store, loop), read_voters(place.store, loop)
    shown = voters.assign(who=[_who(row) for row in voters.itertuples()])
    columns = {"who": "who chose", "n_choices": "choices", "n_skipped": "skipped", "last_at": "last (UTC)"}
    words = table(shown, columns, "Nobody chose yet; use `organism reward choose`, or the page Weights from choices.")
    return Result(words, {"choices": found, "voters": voters})


def choose(args: argparse.Namespace) -> Result:
    """Keep one choice."""
    with opened(args) as place:
        done = record_choice(
            place.store,
            loop_of(place.store, args.loop),
            left=args.left,
            right=args.right,
            chosen=args.better,
            actor=args.by,
            kind=ChoiceKind(args.kind),
            now=utcnow(),
        )
    sides = f"left was {done.left_variant}, right was {done.right_variant}"
    return Result(f"Kept: {done.chosen} ({sides}). {args.by} has made {done.n_by_actor} choices.", done._asdict())


def weights(args: argparse.Namespace) -> Result:
    """Fitted weights, how loose they are, and the variants' strengths."""
    with opened(args) as place:
        loop = loop_of(place.store, args.loop)
        design = find_design(place.store, loop, args.design)
        fit = fit_choices(place.store, loop, design, kind=ChoiceKind(args.kind), actors=args.by)
        found = variant_strengths(place.store, loop, actors=args.by)
    try:
        link = to_link(design_from(fit, design))
    except DesignError:
        link = None
    rows = pd.DataFrame([weight._asdict() for weight in fit.weights])
    heads = {"signal": "signal", "weight": "weight", "low": "low", "high": "high", "share": "share"}
    shown = table(rows, heads | {"hand_share": "hand-set", "saved_share": "in a design"}, "")
    ranked = table(
        pd.DataFrame([row._asdict() for row in found.variants]),
        {"variant": "variant", "log_strength": "log strength", "low": "low", "high": "high"},
        "",
    )
    words = [f"{fit.n_pairs} choices. {_foreseen(fit)}", shown, *fit.sentences, "", ranked, found.sentence]
    return Result("\n".join(words), {**fit._asdict(), "strengths": found, "link": link})


def estimate(args: argparse.Namespace) -> Result:
    """The estimate by every method, or the refusal."""
    with opened(args) as place:
        loop = loop_of(place.store, args.loop)
        design = find_design(place.store, loop, args.design)
        found = off_policy(place.store, loop, design, args.policy, seed=args.seed)
    return Result("\n".join(_preview_lines(found)), found._asdict())


def _preview_lines(found: Preview) -> list[str]:
    rows = pd.DataFrame([row._asdict() for row in found.estimates])
    columns = {"label": "method", "estimate": "mean reward", "low": "low", "high": "high"}
    check = found.check
    effective = "no" if check.effective is None else f"{check.effective:.1f}"
    largest = "" if check.largest_share is None else f"; the largest weight's share is {check.largest_share:.0%}"
    return [
        *([f"Refused. {found.refusal}"] if found.refusal else []),
        found.sentence,
        "An estimate about choices that were not made; re-weighting the same drafts is exact: organism reward what-if.",
        table(rows, columns, "No estimate."),
        f"{found.n_rows:,} drafts of {found.n_users} users, {effective} effective users{largest}.",
        *(f"Left out: {count:,} drafts, {reason}." for reason, count in found.left_out.items()),
    ]


def _foreseen(fit: ChoiceFit) -> str:
    if fit.foreseen_by_hand is None or fit.foreseen_by_fit is None:
        return ""
    return f"The design's weights foresee {fit.foreseen_by_hand:.0%} of them, the fitted {fit.foreseen_by_fit:.0%}."


def _who(row: Any) -> str:
    return f"{row.actor} (simulated)" if row.is_synthetic else str(row.actor)
