"""Blind votes: open a ballot, ask for the next pair, vote, watch the tally, close it and learn the names."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import JSONResponse

from organism.api.access import KeyRequired, StoreOf
from organism.api.parts import Body, LoopOf, PartsOf
from organism.config import utcnow
from organism.digest.votes import MAX_ITEMS, MAX_VOTER, Answer, usual_pairs
from organism.digest.votes_flow import (
    BallotSource,
    cast_vote,
    close_ballot,
    list_votes,
    next_item,
    open_ballot,
    read_tally,
)
from organism.records import ModelVersion
from organism.store.votes import read_ballots
from organism.wire import plain

router = APIRouter(tags=["digest"], dependencies=[KeyRequired])

Voter = Annotated[str, Query(min_length=1, max_length=MAX_VOTER, description="Who votes")]


class NewBallot(Body):
    """Which two versions are compared, on how many prompts, and where those come from."""

    version: str = Field(min_length=1, max_length=200)
    against: str = Field(default="base", min_length=1, max_length=200)
    n_items: int | None = Field(default=None, ge=1, le=MAX_ITEMS)
    source: BallotSource = BallotSource.EVALUATION
    name: str | None = Field(default=None, max_length=120)
    seed: int | None = Field(default=None, ge=0, lt=2**31)


class NewVote(Body):
    """One person's word on one item: whether the text that was shown first is better, the second, or neither."""

    ballot_id: str = Field(min_length=1, max_length=80)
    item_number: int = Field(ge=0)
    voter: str = Field(min_length=1, max_length=MAX_VOTER)
    chosen: Answer
    seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    is_synthetic: bool = False


@router.get("/ballots", summary="List the ballots")
def ballots(store: StoreOf, loop: LoopOf) -> JSONResponse:
    """Newest first, with how many items, votes and voters each has; open while closed_at is null."""
    return JSONResponse({"ballots": plain(read_ballots(store, loop))})


@router.post("/ballots", status_code=201, summary="Open a blind ballot of two versions")
def open_one(store: StoreOf, loop: LoopOf, parts: PartsOf, body: NewBallot) -> JSONResponse:
    """Prompts are drawn by the seed: held-out ones as they were evaluated, or recent ones, drafted before the answer.

    Without n_items 8 held-out prompts or 40 recent ones. The page at /vote?ballot=ID takes votes without a key.
    """

    def write(side: ModelVersion, prompts: Sequence[str]) -> list[str]:
        return [draft.text for draft in parts.get_drafts().drafts(side, prompts)]

    asked = body.model_dump() | {"n_items": body.n_items or usual_pairs(body.source is BallotSource.RECENT)}
    made = open_ballot(store, loop, **asked, write=write, now=utcnow())
    return JSONResponse({**plain(made), "path": f"/vote?ballot={made.ballot_id}"}, 201)


@router.get("/ballots/{ballot_id}", summary="Ask what the votes say so far")
def tally(store: StoreOf, ballot_id: str) -> JSONResponse:
    """While the ballot is open its sides are called Model 1 and Model 2, and is_revealed is false.

    share is of the votes for `right`, a tie counting half, with its 95% interval for other voters on other prompts.
    """
    return JSONResponse(plain(read_tally(store, ballot_id)))


@router.get("/ballots/{ballot_id}/next", summary="Ask for a voter's next pair")
def next_pair(store: StoreOf, ballot_id: str, voter: Voter) -> JSONResponse:
    """Two texts without names, in this voter's own order, or null when all are judged."""
    return JSONResponse({"item": plain(next_item(store, ballot_id, voter))})


@router.post("/ballots/{ballot_id}/close", summary="Close a ballot and say the names")
def close(store: StoreOf, ballot_id: str) -> JSONResponse:
    """No vote is taken afterwards; closing it again changes nothing."""
    return JSONResponse(plain(close_ballot(store, ballot_id, now=utcnow())))


@router.get("/votes", summary="List the votes of a closed ballot")
def votes(store: StoreOf, ballot_id: Annotated[str, Query(description="Whose votes")]) -> JSONResponse:
    """Oldest first, with the version that each voter chose; empty while the ballot is open, so that it stays blind."""
    return JSONResponse({"votes": plain(list_votes(store, ballot_id))})


@router.post("/votes", status_code=201, summary="Cast a vote")
def vote(store: StoreOf, body: NewVote) -> JSONResponse:
    """Durable when this is answered; sending it twice is sending it once, changing it is refused with 422."""
    asked = body.model_dump(exclude={"ballot_id"})
    return JSONResponse(plain(cast_vote(store, body.ballot_id, **asked, now=utcnow())), 201)
