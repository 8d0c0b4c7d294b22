"""`organism vote …`: blind ballots of two versions, from opening one to the names."""

import argparse
from collections.abc import Sequence
from typing import Any

from organism.cli.commands import loop_of, opened
from organism.cli.output import Result, table
from organism.config import utcnow
from organism.deploy.serving import DraftServer
from organism.digest.training_sets import MIN_TRAIN_ROWS
from organism.digest.votes import N_TO_JUDGE, N_TO_TRAIN, Answer, Tally, usual_pairs
from organism.digest.votes_flow import (
    BallotSource,
    BlindItem,
    cast_vote,
    close_ballot,
    next_item,
    open_ballot,
    read_tally,
)
from organism.records import ModelVersion
from organism.store.votes import read_ballots


def add_to(command: Any) -> None:
    """The members of the group `vote`."""
    command("list", list_ballots, "the ballots, and how many people voted")
    leaf = command("open", open_one, "open a blind ballot: two versions, the same prompts, no names until it is closed")
    leaf.add_argument("version", metavar="VERSION", help="the version to judge")
    leaf.add_argument("--against", default="base", metavar="VERSION", help="the other one (default: base)")
    leaf.add_argument(
        "--pairs", type=int, metavar="N", help=f"how many prompts (default: {N_TO_JUDGE}; {N_TO_TRAIN} recent ones)"
    )
    leaf.add_argument(
        "--source",
        choices=[str(source) for source in BallotSource],
        default=str(BallotSource.EVALUATION),
        help="held-out prompts as they were evaluated, or recent ones, drafted now, whose votes can train "
        "(default: evaluation)",
    )
    leaf.add_argument("--name", help="how to call it")
    leaf.add_argument("--seed", type=int, help="draws the prompts and every voter's order (default: by chance)")
    for name, run, what in (
        ("next", show_next, "the next pair of texts for a voter, without names"),
        ("cast", cast, "vote on a pair: whether its first text is better, its second, or neither"),
        ("tally", show_tally, "what the votes say so far, with its interval"),
        ("close", close, "close a ballot and say the names"),
    ):
        leaf = command(name, run, what)
        leaf.add_argument("ballot", metavar="BALLOT", help="a ballot's id")
        if name in ("next", "cast"):
            leaf.add_argument("--by", required=True, metavar="NAME", help="who votes")
        if name == "cast":
            leaf.add_argument("--item", required=True, type=int, metavar="N", help="the pair's item number")
            leaf.add_argument("--better", required=True, choices=[str(word) for word in Answer], help="which one")


def list_ballots(args: argparse.Namespace) -> Result:
    """Every ballot, the newest first."""
    with opened(args) as place:
        found = read_ballots(place.store, loop_of(place.store, args.loop))
    columns = {"ballot_id": "ballot", "name": "name", "n_items": "pairs", "n_voters": "voters", "n_votes": "votes"}
    shown = found.assign(state=found["closed_at"].isna().map({True: "open", False: "closed"}))
    words = table(shown, {**columns, "state": "state"}, "No ballot yet; open one with `organism vote open VERSION`.")
    return Result(words, {"ballots": found})


def open_one(args: argparse.Namespace) -> Result:
    """A new ballot, and where people vote."""
    with opened(args) as place, DraftServer(place.workspace) as drafts:

        def write(side: ModelVersion, prompts: Sequence[str]) -> list[str]:
            return [draft.text for draft in drafts.drafts(side, prompts)]

        made = open_ballot(
            place.store,
            loop_of(place.store, args.loop),
            version=args.version,
            against=args.against,
            n_items=usual_pairs(args.source == BallotSource.RECENT) if args.pairs is None else args.pairs,
            source=BallotSource(args.source),
            name=args.name,
            seed=args.seed,
            write=write,
            now=utcnow(),
        )
    path = f"/vote?ballot={made.ballot_id}"
    opening = f"Opened '{made.name}' with {made.n_items} pairs: {made.ballot_id}"
    needs = f"\nA training set of votes needs at least {MIN_TRAIN_ROWS} decided pairs of users who are not held out."
    words = f"{opening}\nPeople vote at {path} of the running app." + needs * (args.source == BallotSource.RECENT)
    return Result(words, {**made._asdict(), "path": path})


def show_next(args: argparse.Namespace) -> Result:
    """The pair, and the command that answers it."""
    with opened(args) as place:
        found = next_item(place.store, args.ballot, args.by)
    words = f"{args.by} has judged every pair of this ballot." if found is None else _in_words(found, args)
    return Result(words, {"item": found})


def _in_words(item: BlindItem, args: argparse.Namespace) -> str:
    head = f"Pair {item.place} of {item.n_items}"
    named = (("Prompt", item.prompt), ("First", item.first), ("Second", item.second))
    texts = [f"{name}:\n{text}" for name, text in named]
    answer = f"organism vote cast {args.ballot} --by {args.by!r} --item {item.item_number} --better first"
    return "\n\n".join([head, *texts, f"Answer with first, second or tie:\n{answer}"])


def cast(args: argparse.Namespace) -> Result:
    """Keep one vote."""
    with opened(args) as place:
        done = cast_vote(
            place.store, args.ballot, item_number=args.item, voter=args.by, chosen=args.better, now=utcnow()
        )
    return Result(f"Kept. {args.by} has judged {done.n_done} of {done.n_items} pairs.", done._asdict())


def show_tally(args: argparse.Namespace) -> Result:
    """What the votes say."""
    with opened(args) as place:
        return _tallied(read_tally(place.store, args.ballot))


def close(args: argparse.Namespace) -> Result:
    """The names."""
    with opened(args) as place:
        return _tallied(close_ballot(place.store, args.ballot, now=utcnow()))


def _tallied(tally: Tally) -> Result:
    lines = [tally.sentence]
    if tally.n_votes:
        lines.append(f"{tally.n_right} for {tally.right}, {tally.n_left} for {tally.left}, {tally.n_ties} for neither.")
    if tally.n_synthetic:
        lines.append(f"{tally.n_synthetic} of {tally.n_votes} votes are by simulated people.")
    if not tally.is_revealed:
        lines.append("The names are said once it is closed: organism vote close BALLOT.")
    return Result("\n".join(lines), tally._asdict())
