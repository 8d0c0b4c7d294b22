"""Write the shipped blind vote into a workspace: scribe-1 against the base, judged by simulated physicians."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from data.scribe import votes
from data.scribe.first_turn import EXPERIMENT_ENDS
from data.scribe.seed_turn import BASE, TUNED, Turn
from organism.digest.votes import Side, order_for, side_of
from organism.digest.votes_flow import close_ballot, open_ballot
from organism.records import event_id
from organism.store.database import Store
from organism.store.votes import Ballot, BallotItem, Vote, insert_votes, read_ballot, read_items

NAME = "scribe-1 against base"
BALLOT_SEED = 7
VOTE_SOURCE = "simulated-votes"
OPENED_AFTER = timedelta(hours=2)
PACE = timedelta(seconds=21)


def put_vote(store: Store, loop_id: str, turn: Turn, interactions: Sequence[Mapping[str, Any]]) -> str:
    """Open the ballot on the evaluation's drafts, let every simulated voter judge it, close it; returns its id.

    `interactions` are the history's, whose attributes name each visit's encounter.
    """
    at = EXPERIMENT_ENDS + turn.shift + OPENED_AFTER
    made = open_ballot(
        store, loop_id, version=TUNED, against=BASE, n_items=votes.N_ITEMS, name=NAME, seed=BALLOT_SEED, now=at
    )
    ballot, items = read_ballot(store, made.ballot_id), read_items(store, made.ballot_id)
    seeds = {row["prompt"]: json.loads(row["attributes"])["encounter_seed"] for row in interactions}
    cast = list(_votes(ballot, {item.item_number: item for item in items}, seeds, at))
    store.write(lambda cursor: insert_votes(cursor, cast), "votes")
    close_ballot(store, ballot.ballot_id, now=at + timedelta(hours=1))
    return ballot.ballot_id


def _votes(
    ballot: Ballot, items: Mapping[int, BallotItem], seeds: Mapping[str, int], opened_at: datetime
) -> Iterator[Vote]:
    """Every voter on every item, in the voter's own order."""
    for minute, who in enumerate(votes.voters(), start=1):
        voter, at = f"simulated {who.user_key}", opened_at + timedelta(minutes=minute)
        for shown in order_for(ballot, voter, sorted(items)):
            at += PACE
            item = items[shown.item_number]
            texts = (item.text_a, item.text_b) if shown.first is Side.A else (item.text_b, item.text_a)
            place = f"{ballot.seed}/{item.item_number}"
            yield Vote(
                vote_id=event_id(at, VOTE_SOURCE, f"{voter}/{place}"),
                loop_id=ballot.loop_id,
                ballot_id=ballot.ballot_id,
                item_number=item.item_number,
                voter=voter,
                chosen=side_of(votes.answer(who, seeds[item.prompt], *texts, place), shown.first),
                shown_first=shown.first.value,
                seconds=None,
                is_synthetic=True,
                created_at=at,
            )
