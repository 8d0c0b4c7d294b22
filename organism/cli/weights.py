"""`organism reward map` and `organism reward growth`: what moving a weight would do."""

import argparse
from typing import Any

import pandas as pd

from organism.cli.commands import loop_of, opened
from organism.cli.designs import REF, chosen_design, text_of
from organism.cli.output import Result, table
from organism.digest.designs_flow import LIVE
from organism.digest.growth import Grown
from organism.digest.growth_flow import Growth, preview_growth
from organism.digest.pareto import COST, LATENCY, QUALITY
from organism.digest.weight_flow import WeightMap, map_weights

PLACES = {"place_live": "place under live", "place_draft": "place under this design"}
FIGURES = {
    "chars": "characters",
    "retained_char_rate": "retained",
    "written_share": "written",
    "facts_right": "facts right",
    "stops_share": "would stop early",
}


def add_to(command: Any) -> None:
    """The two commands, members of the group of rewards."""
    leaf = command("map", show_map, "who wins at which weights: flips, clear leads, what the reward is made of")
    leaf.add_argument("ref", nargs="?", default=LIVE, metavar="REF|FILE", help=REF)
    leaf = command("growth", growth, "what a design would grow: the best of the sampled drafts, and where the cliff is")
    leaf.add_argument("ref", nargs="?", default=LIVE, metavar="REF|FILE", help=REF)


def show_map(args: argparse.Namespace) -> Result:
    """Who wins now, the weights that change it, and the share of all mixes that each variant wins clearly."""
    text = text_of(args.ref)
    with opened(args) as place:
        loop = loop_of(place.store, args.loop)
        found = map_weights(place.store, loop, chosen_design(args.ref, text, place, loop))
    return Result(_map_in_words(found), found._asdict())


def growth(args: argparse.Namespace) -> Result:
    """The drafts as they were sampled beside those that the design would choose."""
    text = text_of(args.ref)
    with opened(args) as place:
        loop = loop_of(place.store, args.loop)
        found = preview_growth(place.store, loop, chosen_design(args.ref, text, place, loop))
    return Result(_growth_in_words(found), found._asdict())


def _map_in_words(found: WeightMap) -> str:
    if found.winner is None:
        why = f"each breaks a guardrail: {', '.join(found.barred)}" if found.barred else "nothing can be scored yet"
        return f"No variant may win: {why}."
    won = found.mixes.dropna(subset=["winner"])
    clear = won[won["is_clear"]]["winner"].value_counts()
    lines = [f"{found.winner} wins.", *(f"{name} may not: it breaks a guardrail." for name in found.barred)]
    lines += [f"{name} wins clearly on {n / len(won):.0%} of all mixes." for name, n in clear.items()]
    if found.effective_signals is not None:
        lines.append(f"Effective number of signals: {found.effective_signals:.1f} of {len(found.component_shares)}.")
    flips = [
        {"weight": flip.name, "now": flip.share_now, "flips at": flip.share_then, "to": flip.winner_then}
        for flip in found.flips
    ]
    heads = {"weight": "weight", "now": "share now", "flips at": "flips at", "to": "then wins"}
    lines += ["", table(pd.DataFrame(flips), heads, "No move of one weight alone flips it.")]
    return "\n\n".join(["\n".join(lines), *_front_in_words(found), *_moves_in_words(found)])


def _front_in_words(found: WeightMap) -> list[str]:
    """Which variants are on average beaten in everything, beside what each costs and gives."""
    if found.front.empty:
        return []
    rows = found.front.assign(
        cost=1000 * found.front[COST], stands=["no" if held else "yes" for held in found.front["on_front"]]
    )
    heads = {"variant": "variant", "cost": "USD per 1,000", LATENCY: "latency, ms", QUALITY: "quality part"}
    return [table(rows, heads | {"stands": "beaten in all means"}, "")]


def _moves_in_words(found: WeightMap) -> list[str]:
    """The drafts whose place changes most, by id."""
    if found.moves is None:
        return []
    rows = found.moves.assign(**{name: [f"{place:.0%}" for place in found.moves[name]] for name in PLACES})
    heads = {"interaction_id": "draft", "variant": "variant", **PLACES}
    shown = table(rows, heads, "No draft changes its place: the two designs rank the history alike.")
    return [
        f"Of {found.n_placed:,} drafts that both designs score, those that move most (0% worst, 100% best):\n{shown}"
    ]


def _growth_in_words(found: Growth) -> str:
    rows = [
        {"drafts": name, **{field: _figure(one, field) for field in FIGURES}}
        for name, one in (("as sampled", found.as_sampled), ("chosen by the design", found.grown))
    ]
    lines = [table(pd.DataFrame(rows), {"drafts": f"of {found.grown.n_prompts:,} prompts", **FIGURES}, "")]
    if found.cliff:
        lines += ["", found.cliff.sentence]
    if found.grown.left_out:
        lines += ["", f"Left out, since nobody saw these drafts: {', '.join(found.grown.left_out)}."]
    return "\n".join(lines)


def _figure(grown: Grown, field: str) -> str:
    value = getattr(grown, field)
    return "-" if value is None else f"{value:,.0f}" if field == "chars" else f"{value:.1%}"
