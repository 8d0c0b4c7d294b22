"""Read, decide, write: ballots are opened, voted on, closed and counted."""

import random
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import pandas as pd

from organism.digest.votes import (
    MAX_ITEMS,
    Answer,
    Shown,
    Side,
    Tally,
    check_voter,
    order_for,
    side_of,
    tally,
)
from organism.errors import DesignError, InputError
from organism.records import ModelVersion, Role, new_id
from organism.store.database import Cursor, Store
from organism.store.model_versions import version_by_name
from organism.store.votes import (
    Ballot,
    BallotItem,
    Vote,
    find_ballot,
    find_vote,
    insert_ballot,
    insert_votes,
    mark_closed,
    read_ballot,
    read_items,
    read_paired_drafts,
    read_unlearned_prompts,
    read_votes,
)

Write = Callable[[ModelVersion, Sequence[str]], Sequence[str]]
"""Drafts of these prompts by this version, in their order."""

MAX_SECONDS = 3600.0
RECENT_POOL = 400
MAX_DRAFTED = 4  # times the prompts asked for: two versions may write the same of most of them
MAX_NAME = 120
_CLOSED = "this ballot is closed; its result stands. Open another one to go on voting"


class BallotSource(StrEnum):
    """Where a ballot's prompts come from: the evaluation's held-out drafts as they are, or recent prompts that neither
    model has learned from, drafted anew. Votes on recent prompts can train the next run.
    """

    EVALUATION = "evaluation"
    RECENT = "recent"


class Opened(NamedTuple):
    """A new ballot."""

    ballot_id: str
    name: str
    n_items: int


class BlindItem(NamedTuple):
    """What a voter sees: the `place`-th of `n_items` in an order of their own, two texts without names."""

    item_number: int
    place: int
    n_items: int
    prompt: str
    first: str
    second: str


class Cast(NamedTuple):
    """A kept vote, and how far this voter is."""

    vote_id: str
    n_done: int
    n_items: int


class MyVote(NamedTuple):
    """One of a voter's own votes, with the names: only said once the ballot is closed."""

    item_number: int
    prompt: str
    first: str
    second: str
    first_version: str
    second_version: str
    answer: Answer


def open_ballot(
    store: Store,
    loop_id: str,
    *,
    version: str,
    against: str = "base",
    n_items: int = 10,
    source: BallotSource = BallotSource.EVALUATION,
    name: str | None = None,
    seed: int | None = None,
    write: Write | None = None,
    now: datetime,
) -> Opened:
    """Freeze a blind ballot of two versions: prompts drawn by the seed, both texts, in no particular order.

    `write` drafts recent prompts; the evaluation's need none. Raises InputError for an unknown version or a number of
    prompts out of range, DesignError for a judge, or when there is nothing to compare.
    """
    if not 1 <= n_items <= MAX_ITEMS:
        raise InputError(f"a ballot of {n_items} prompts is out of range; give 1 to {MAX_ITEMS}")
    if version == against:
        raise InputError(f"{version!r} is on both sides; compare two different versions")
    sides = [version_by_name(store, loop_id, asked) for asked in (against, version)]
    if judges := [side.name for side in sides if side.role is Role.JUDGE]:
        raise DesignError(f"version '{judges[0]}' is a judge and writes no drafts; compare two versions that write")
    drawn_by = random.SystemRandom().randrange(2**31) if seed is None else seed
    rng = random.Random(drawn_by)
    if source is BallotSource.EVALUATION:
        pairs = _from_evaluation(store, sides, n_items, rng)
    else:
        pairs = _from_recent(store, loop_id, sides, n_items, rng, write)
    ballot = Ballot(
        ballot_id=new_id(now),
        loop_id=loop_id,
        name=_title(name, version, against),
        version_a=against,
        version_b=version,
        eval_run_id=None if "eval_run_id" not in pairs else str(pairs["eval_run_id"].iloc[0]),
        seed=drawn_by,
        created_at=now,
    )
    items = _items(pairs)
    store.write(lambda cursor: insert_ballot(cursor, ballot, items), "ballots")
    return Opened(ballot.ballot_id, ballot.name, len(items))


def next_item(store: Store, ballot_id: str, voter: str) -> BlindItem | None:
    """The next item that this voter has not judged, in their own order; None when there is none left.

    Raises DesignError when the ballot is closed.
    """
    ballot, who, items = read_ballot(store, ballot_id), check_voter(voter), read_items(store, ballot_id)
    if ballot.closed_at is not None:
        raise DesignError(_CLOSED)
    done = _done(store, ballot_id, who)
    for place, shown in enumerate(order_for(ballot, who, [item.item_number for item in items]), start=1):
        if shown.item_number not in done:
            item = next(item for item in items if item.item_number == shown.item_number)
            return BlindItem(item.item_number, place, len(items), item.prompt, *_texts(item, shown))
    return None


def cast_vote(
    store: Store,
    ballot_id: str,
    *,
    item_number: int,
    voter: str,
    chosen: str,
    seconds: float | None = None,
    is_synthetic: bool = False,
    now: datetime,
) -> Cast:
    """Keep one vote, durable when this returns; sending it twice is sending it once.

    Raises InputError for an item or an answer that is none, or a second vote that says otherwise; DesignError when the
    ballot is closed.
    """
    answer, who = _answer(chosen), check_voter(voter)
    if seconds is not None and not 0 <= seconds <= MAX_SECONDS:
        seconds = None  # a page left open over lunch says nothing about the vote
    items = read_items(store, ballot_id)
    ballot = read_ballot(store, ballot_id)
    shown = {one.item_number: one for one in order_for(ballot, who, [item.item_number for item in items])}
    if item_number not in shown:
        raise InputError(f"ballot {ballot_id} has no item {item_number}; it has {len(items)}, numbered from 0")
    first = shown[item_number].first
    vote = Vote(
        vote_id=new_id(now),
        loop_id=ballot.loop_id,
        ballot_id=ballot_id,
        item_number=item_number,
        voter=who,
        chosen=side_of(answer, first),
        shown_first=first.value,
        seconds=seconds,
        is_synthetic=is_synthetic,
        created_at=now,
    )
    vote_id: str = store.write(lambda cursor: _keep(cursor, vote), "votes")
    return Cast(vote_id, len(_done(store, ballot_id, who)), len(items))


def close_ballot(store: Store, ballot_id: str, *, now: datetime) -> Tally:
    """End the vote and say the names; closing a closed one changes nothing."""
    store.write(lambda cursor: mark_closed(cursor, find_ballot(cursor, ballot_id).ballot_id, now), "ballots")
    return read_tally(store, ballot_id)


def read_tally(store: Store, ballot_id: str) -> Tally:
    """What the votes say so far, without names while the ballot is open."""
    ballot = read_ballot(store, ballot_id)
    return tally(ballot, read_items(store, ballot_id), read_votes(store, ballot_id))


def read_my_votes(store: Store, ballot_id: str, voter: str) -> list[MyVote]:
    """What this voter chose, in their own order, with the names; empty while the ballot is open."""
    ballot, who = read_ballot(store, ballot_id), check_voter(voter)
    if ballot.closed_at is None:
        return []
    items = {item.item_number: item for item in read_items(store, ballot_id)}
    votes = read_votes(store, ballot_id)
    chosen = votes[votes["voter"] == who].set_index("item_number")["chosen"]
    names = {Side.A: ballot.version_a, Side.B: ballot.version_b}
    return [
        MyVote(
            shown.item_number,
            items[shown.item_number].prompt,
            *_texts(items[shown.item_number], shown),
            names[shown.first],
            names[shown.first.other],
            _said(chosen[shown.item_number], shown.first),
        )
        for shown in order_for(ballot, who, list(items))
        if shown.item_number in chosen.index
    ]


def list_votes(store: Store, ballot_id: str) -> pd.DataFrame:
    """The votes of a closed ballot, oldest first; empty while it is open, so that it stays blind.

    Columns: vote_id, item_number, voter, version (None for neither), was_first (whether the chosen text was shown
    first, None for neither), seconds, is_synthetic, created_at.
    """
    ballot, votes = read_ballot(store, ballot_id), read_votes(store, ballot_id)
    if ballot.closed_at is None:
        votes = votes.iloc[:0]
    decided = votes["chosen"] != Answer.TIE
    names = {Side.A.value: ballot.version_a, Side.B.value: ballot.version_b}
    was_first = (votes["chosen"] == votes["shown_first"]).astype(object).where(decided, None)
    told = votes.assign(version=votes["chosen"].map(names).where(decided, None), was_first=was_first)
    return told[["vote_id", "item_number", "voter", "version", "was_first", "seconds", "is_synthetic", "created_at"]]


def _from_evaluation(store: Store, sides: Sequence[ModelVersion], n: int, rng: random.Random) -> pd.DataFrame:
    found = read_paired_drafts(store, sides[0].model_version_id, sides[1].model_version_id)
    if found.empty:
        raise DesignError(
            f"'{sides[0].name}' and '{sides[1].name}' were never evaluated on the same held-out prompts; evaluate them "
            "first, or draw recent prompts"
        )
    return _drawn(_telling(found), n, rng)


def _from_recent(
    store: Store, loop_id: str, sides: Sequence[ModelVersion], n: int, rng: random.Random, write: Write | None
) -> pd.DataFrame:
    if write is None:
        raise DesignError("recent prompts must be drafted first, and nobody here can; draw from the evaluation instead")
    learned = [side.dataset_id for side in sides if side.dataset_id]
    found = read_unlearned_prompts(store, loop_id, learned, RECENT_POOL)
    if found.empty:
        raise DesignError(
            "there is no prompt of a user who consents that neither model has learned from; collect some first"
        )
    order = _drawn(found, min(MAX_DRAFTED * n, len(found)), rng)
    written = pd.DataFrame()
    while len(written) < len(order) and (written.empty or _n_telling(written) < n):
        asked = order.iloc[len(written) : len(written) + n]
        texts = [list(write(side, asked["prompt"].tolist())) for side in sides]
        written = pd.concat([written, asked.assign(text_a=texts[0], text_b=texts[1])])
    return _telling(written).iloc[:n]


def _telling(pairs: pd.DataFrame) -> pd.DataFrame:
    """Without those where both wrote the same, or nothing: there is nothing to choose."""
    left = pairs[_differs(pairs)]
    if left.empty:
        raise DesignError(f"both versions wrote the same of all {len(pairs)} prompts; there is nothing to vote on")
    return left


def _differs(pairs: pd.DataFrame) -> pd.Series:
    a, b = (pairs[side].str.split().str.join(" ") for side in ("text_a", "text_b"))
    return (a != b) & (a != "") & (b != "")


def _n_telling(pairs: pd.DataFrame) -> int:
    return int(_differs(pairs).sum())


def _drawn(pairs: pd.DataFrame, n: int, rng: random.Random) -> pd.DataFrame:
    return pairs.iloc[rng.sample(range(len(pairs)), min(n, len(pairs)))]


def _items(pairs: pd.DataFrame) -> list[BallotItem]:
    return [
        BallotItem(
            number,
            _word(row.interaction_id),
            _word(row.user_key),
            str(row.prompt),
            str(row.text_a),
            str(row.text_b),
            _word(row.final_text),
        )
        for number, row in enumerate(pairs.itertuples(index=False))
    ]


def _title(name: str | None, version: str, against: str) -> str:
    title = " ".join((name or "").split()) or f"{version} against {against}"
    if len(title) > MAX_NAME or not title.isprintable():
        raise InputError(f"the name {title[:40]!r}… is too long; give a ballot one line of up to {MAX_NAME} letters")
    return title


def _word(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(item: BallotItem, shown: Shown) -> tuple[str, str]:
    texts = (item.text_a, item.text_b)
    return texts if shown.first is Side.A else texts[::-1]


def _said(chosen: str, first: Side) -> Answer:
    if chosen == Answer.TIE:
        return Answer.TIE
    return Answer.FIRST if chosen == first else Answer.SECOND


def _answer(chosen: str) -> Answer:
    if chosen not in list(Answer):
        raise InputError(f"the vote is {chosen!r}; say which text is better: {', '.join(Answer)}")
    return Answer(chosen)


def _done(store: Store, ballot_id: str, voter: str) -> set[int]:
    votes = read_votes(store, ballot_id)
    return set(votes.loc[votes["voter"] == voter, "item_number"])


def _keep(cursor: Cursor, vote: Vote) -> str:
    """In the writer, where two taps of one finger come one after the other."""
    before = find_vote(cursor, vote.ballot_id, vote.item_number, vote.voter)
    if before is not None:
        if before.chosen != vote.chosen:
            raise InputError(f"{vote.voter} has voted on item {vote.item_number} already; a vote is never changed")
        return before.vote_id
    if find_ballot(cursor, vote.ballot_id).closed_at is not None:
        raise DesignError(_CLOSED)
    insert_votes(cursor, [vote])
    return vote.vote_id
