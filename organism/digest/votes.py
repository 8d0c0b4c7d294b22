"""Blind votes: in which order a voter sees what, and what all votes say together. Pure."""

import random
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

import pandas as pd

from organism.errors import InputError
from organism.stats.shared_votes import VoteShare, vote_share
from organism.store.votes import Ballot, BallotItem

MAX_VOTER = 60
MAX_ITEMS = 100
N_TO_JUDGE, N_TO_TRAIN = 8, 40  # pairs a ballot: four minutes of a voter, and twice what a training set needs
HIDDEN = ("Model 1", "Model 2")


class Side(StrEnum):
    """Which of a ballot's two texts: the one of version_a or of version_b."""

    A = "a"
    B = "b"

    @property
    def other(self) -> "Side":
        return Side.B if self is Side.A else Side.A


class Answer(StrEnum):
    """What a voter says, who only knows which text came first."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"


class Shown(NamedTuple):
    """One item in a voter's own order, and whose text comes first there."""

    item_number: int
    first: Side


class ItemTally(NamedTuple):
    """The votes on one item: for the left side, for neither, for the right side."""

    item_number: int
    n_left: int
    n_ties: int
    n_right: int


class Tally(NamedTuple):
    """What the votes say so far. While a ballot is open its sides are called HIDDEN, in an order that says nothing.

    `share` is of the votes for the right side, a tie counting half, with its interval for other voters and prompts.
    `first_share` is how often the text that was shown first won: far from one half, people did not choose by the text.
    """

    left: str
    right: str
    is_revealed: bool
    n_left: int
    n_ties: int
    n_right: int
    n_voters: int
    n_synthetic: int
    share: VoteShare
    first_share: float | None
    items: list[ItemTally]
    sentence: str

    @property
    def n_votes(self) -> int:
        return self.n_left + self.n_ties + self.n_right


def usual_pairs(can_train: bool) -> int:
    """How many pairs a ballot has unless somebody says otherwise; more where its votes can train."""
    return N_TO_TRAIN if can_train else N_TO_JUDGE


def check_voter(voter: str) -> str:
    """The name as it is kept: single spaces, none around; raises InputError when it is none."""
    name = " ".join(voter.split())
    if not name or len(name) > MAX_VOTER or not name.isprintable():
        raise InputError(f"a vote needs the name of who votes, in one line of at most {MAX_VOTER} letters")
    return name


def order_for(ballot: Ballot, voter: str, item_numbers: Sequence[int]) -> list[Shown]:
    """The items in this voter's order, each with the side that is shown first: the same every time it is asked."""
    rng = random.Random(f"{ballot.seed} {voter}")
    return [Shown(number, rng.choice((Side.A, Side.B))) for number in rng.sample(list(item_numbers), len(item_numbers))]


def side_of(answer: Answer, first: Side) -> str:
    """The word that is kept: 'a', 'b' or 'tie'."""
    return {Answer.FIRST: first.value, Answer.SECOND: first.other.value, Answer.TIE: Answer.TIE.value}[answer]


def tally(ballot: Ballot, items: Sequence[BallotItem], votes: pd.DataFrame) -> Tally:
    """Count the votes (columns of Vote) and say what they mean."""
    is_revealed = ballot.closed_at is not None
    left = Side.A if is_revealed or ballot.seed % 2 == 0 else Side.B
    names = (ballot.version_a, ballot.version_b) if is_revealed else HIDDEN
    worth = votes["chosen"].map({left.value: 0.0, left.other.value: 1.0, Answer.TIE.value: 0.5})
    share = vote_share(worth.to_list(), votes["voter"].to_list(), votes["item_number"].to_list())
    decided = votes[votes["chosen"] != Answer.TIE]
    counts = [_item_tally(item.item_number, votes[votes["item_number"] == item.item_number], left) for item in items]
    n_voters = int(votes["voter"].nunique())
    return Tally(
        *names,
        is_revealed,
        sum(item.n_left for item in counts),
        sum(item.n_ties for item in counts),
        sum(item.n_right for item in counts),
        n_voters,
        int(votes["is_synthetic"].sum()),
        share,
        float((decided["chosen"] == decided["shown_first"]).mean()) if len(decided) else None,
        counts,
        _sentence(names, share, n_voters),
    )


def _item_tally(number: int, votes: pd.DataFrame, left: Side) -> ItemTally:
    n = votes["chosen"].value_counts()
    return ItemTally(number, *(int(n.get(word, 0)) for word in (left.value, Answer.TIE.value, left.other.value)))


def _sentence(names: tuple[str, str], share: VoteShare, n_voters: int) -> str:
    """The finding, as far as there is one."""
    if share.share is None:
        return "Nobody has voted yet."
    said = f"{_counted(n_voters, 'voter')} cast {_counted(share.n, 'vote')}"
    if share.low is None or share.high is None:
        return f"{said}: too few to tell."
    if share.low > 0.5:
        return f"{said}: {names[1]} is preferred in {share.share:.0%} ({share.low:.0%} to {share.high:.0%})."
    if share.high < 0.5:
        return (
            f"{said}: {names[0]} is preferred in {1 - share.share:.0%} ({1 - share.high:.0%} to {1 - share.low:.0%})."
        )
    ahead, low, high = share.share, share.low, share.high
    if ahead < 0.5:
        names, ahead, low, high = names[::-1], 1 - ahead, 1 - high, 1 - low
    interval = f"the interval ({low:.0%} to {high:.0%}) holds one half"
    return f"{said}: not settled. {names[1]} leads with {ahead:.0%}, and {interval}."


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
