"""`organism reward choices|next-pair|choose|weights|off-policy`: what people chose, and untried policies."""

import argparse
import shlex
from typing import Any

import pandas as pd

from organism.cli.commands import loop_of, opened
from organism.cli.designs import REF, chosen_design, text_of
from organism.cli.output import Result, table
from organism.config import utcnow
from organism.digest.choices import ChoiceFit, ChoiceKind, design_from
from organism.digest.choices_flow import (
    PairToJudge,
    Side,
    blind,
    fit_choices,
    pair_for,
    record_choice,
    variant_strengths,
)
from organism.digest.design_files import to_link
from organism.digest.designs_flow import LIVE
from organism.digest.off_policy import Preview
from organism.digest.off_policy_flow import off_policy
from organism.digest.policies import FORMS
from organism.errors import DesignError
from organism.store.choices import read_choices, read_voters

COLUMNS_MEAN = (
    "weight: log odds that a draft worth 1 by this signal is chosen over one worth 0, with its 95% interval; share: of "
    "all weights' sizes; hand-set: the design's own share; in a design: the share to save, a negative weight being 0."
)
KINDS = [kind.value for kind in ChoiceKind]


def add_to(command: Any) -> None:
    """The members of the group `reward`."""
    command("choices", list_choices, "what people chose between, and who chose")
    leaf = command("next-pair", show_pair, "the two drafts (or variants) whose comparison would teach most, blind")
    leaf.add_argument(
        "--by", required=True, metavar="NAME", help="who will choose; nobody is asked the same pair twice"
    )
    leaf.add_argument("--design", default=LIVE, metavar="REF|FILE", help=REF)
    leaf.add_argument("--kind", choices=KINDS, default=KINDS[0], help="what is compared (default: drafts)")
    leaf = command("choose", choose, "record that one draft (or variant) is better than another")
    leaf.add_argument("left", metavar="LEFT", help="an interaction's id, or with --kind variants a variant's name")
    leaf.add_argument("right", metavar="RIGHT")
    leaf.add_argument("--better", required=True, choices=("left", "right", "skip"), help="which one is better")
    leaf.add_argument("--by", required=True, metavar="NAME", help="who chose")
    leaf.add_argument("--kind", choices=KINDS, default=KINDS[0], help="what is compared (default: drafts)")
    leaf = command("weights", weights, "the weights that the choices ask for, beside a design's own")
    leaf.add_argument("--design", default=LIVE, metavar="REF|FILE", help=f"whose signals and anchors: {REF}")
    leaf.add_argument("--kind", choices=KINDS, default=KINDS[0], help="which choices (default: drafts)")
    leaf.add_argument("--by", action="append", metavar="NAME", help="only this person's choices; repeatable")
    leaf = command("off-policy", estimate, "estimate what a router or policy would have earned, or say why not")
    leaf.add_argument("--policy", required=True, metavar="POLICY", help=FORMS)
    leaf.add_argument("--design", default=LIVE, metavar="REF|FILE", help=f"the design that rewards: {REF}")
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


def show_pair(args: argparse.Namespace) -> Result:
    """The next pair with both texts and ids, and the command that answers it."""
    text = text_of(args.design)
    with opened(args) as place:
        loop = loop_of(place.store, args.loop)
        design = chosen_design(args.design, text, place, loop)
        found = pair_for(place.store, loop, design, actor=args.by, kind=ChoiceKind(args.kind))
    words = f"{args.by} has seen every pair there is." if found is None else _pair_in_words(found, args.by)
    return Result(words, {"pair": blind(found)})


def _pair_in_words(pair: PairToJudge, by: str) -> str:
    kind = "" if pair.kind is ChoiceKind.DRAFTS else f" --kind {pair.kind}"
    answer = shlex.join(["organism", "reward", "choose", pair.left.id, pair.right.id, "--better", "left", "--by", by])
    return "\n\n".join(
        [
            _side_in_words("Left", pair.left),
            _side_in_words("Right", pair.right),
            f"Answer with left, right or skip (of {pair.n_candidates:,} pairs that {by} has not seen):\n{answer}{kind}",
        ]
    )


def _side_in_words(title: str, side: Side) -> str:
    figures = ", ".join(f"{name} {'-' if value is None else f'{value:.4g}'}" for name, value in side.signals.items())
    texts = [f"{name}:\n{text}" for name, text in (("Prompt", side.prompt), ("Draft", side.output)) if text is not None]
    return "\n".join([f"{title} ({side.id}): {figures}", *texts])


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
    text = text_of(args.design)
    with opened(args) as place:
        loop = loop_of(place.store, args.loop)
        design = chosen_design(args.design, text, place, loop)
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
    words = [
        f"{fit.n_pairs} choices. {_foreseen(fit)}",
        shown,
        COLUMNS_MEAN,
        *fit.sentences,
        "",
        ranked,
        found.sentence,
    ]
    return Result("\n".join(words), {**fit._asdict(), "strengths": found, "link": link})


def estimate(args: argparse.Namespace) -> Result:
    """The estimate by every method, or the refusal."""
    text = text_of(args.design)
    with opened(args) as place:
        loop = loop_of(place.store, args.loop)
        design = chosen_design(args.design, text, place, loop)
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
