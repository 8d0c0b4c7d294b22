"""Votes train: the preferred text is chosen over the other, with the ballot and the votes behind it, split by user."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from organism.digest.set_files import FileForm
from organism.digest.set_reading import export
from organism.digest.training_set_flow import freeze, preview
from organism.digest.training_sets import is_heldout
from organism.digest.training_settings import Basis, SetSettings, settings_from
from organism.digest.votes import Answer
from organism.digest.votes_flow import BallotSource, cast_vote, next_item, open_ballot
from organism.errors import DesignError
from organism.records import DatasetKind, ModelVersion
from organism.store.database import Store
from organism.store.datasets import read_dataset_rows
from organism.store.votes import read_votes
from tests.organism.conftest import START, Events
from tests.organism.digest.test_votes_flow import version

NOW = datetime(2026, 11, 20, 9)
BY_VOTE = SetSettings(kind=DatasetKind.PREFERENCE, basis=Basis.VOTE)
N_VISITS = 60


@pytest.fixture
def ballot_id(store: Store, events: Events) -> str:
    """A ballot on recent visits of twenty users; nobody voted yet."""
    for n in range(N_VISITS):
        drug = "bcdfghjklmnpqrst"[n % 16] + "aeiou"[n % 5] + f"{n * 7919:x}"
        prompt = " ".join(f"{drug}{word} {n * word}" for word in range(12))
        events.draft(f"user {n % 20}", START + timedelta(minutes=n), prompt=prompt)
    events.write()
    for name in ("base", "tuned-1"):
        version(store, events.loop_id, name, tuned=name != "base")

    def write(side: ModelVersion, prompts: Sequence[str]) -> list[str]:
        return [f"{side.name} on {prompt}" for prompt in prompts]

    made = open_ballot(
        store,
        events.loop_id,
        version="tuned-1",
        n_items=N_VISITS,
        source=BallotSource.RECENT,
        seed=1,
        write=write,
        now=NOW,
    )
    return made.ballot_id


def vote(store: Store, ballot_id: str, voter: str, prefers: str | None, at: datetime = NOW) -> None:
    while (item := next_item(store, ballot_id, voter)) is not None:
        better = Answer.FIRST if item.first.startswith(prefers or "tuned") else Answer.SECOND
        chosen = better if prefers or item.item_number % 2 else Answer.TIE
        cast_vote(store, ballot_id, item_number=item.item_number, voter=voter, chosen=chosen, now=at)


def test_the_text_that_most_voters_preferred_is_chosen_over_the_other(
    store: Store, events: Events, ballot_id: str
) -> None:
    for voter in ("ann", "bob"):
        vote(store, ballot_id, voter, "tuned")
    vote(store, ballot_id, "cem", "base", NOW + timedelta(hours=1))
    built = freeze(store, events.loop_id, BY_VOTE, now=NOW)
    rows = read_dataset_rows(store, built.dataset_id)
    assert (built.n_train + built.n_heldout, built.dropped) == (N_VISITS, {})
    assert built.kind is DatasetKind.PREFERENCE
    assert all(rows["chosen"] == "tuned-1 on " + rows["prompt"])
    assert all(rows["rejected"] == "base on " + rows["prompt"])
    votes = read_votes(store, ballot_id)
    for row in rows.itertuples():
        origin = json.loads(row.origin)
        mine = votes[votes["item_number"] == origin["item_number"]]
        assert origin["vote_ids"] == mine["vote_id"].tolist()
        assert (origin["ballot_id"], origin["n_for"], origin["n_against"]) == (ballot_id, 2, 1)
    assert freeze(store, events.loop_id, BY_VOTE, now=NOW).dataset_id == built.dataset_id


def test_nobody_who_is_held_out_elsewhere_is_trained_on(store: Store, events: Events, ballot_id: str) -> None:
    vote(store, ballot_id, "ann", "tuned")
    rows = read_dataset_rows(store, freeze(store, events.loop_id, BY_VOTE, now=NOW).dataset_id)
    assert all(is_heldout(row.user_key, BY_VOTE.heldout_share) == (row.split == "heldout") for row in rows.itertuples())
    assert rows["interaction_id"].notna().all()


def test_ties_and_split_votes_make_no_pair_and_are_counted(store: Store, events: Events, ballot_id: str) -> None:
    vote(store, ballot_id, "ann", None)
    seen = preview(store, events.loop_id, BY_VOTE)
    assert seen.dropped == {"as many votes for one text as for the other": N_VISITS // 2}
    vote(store, ballot_id, "bob", "base")
    vote(store, ballot_id, "cem", "tuned")
    vote(store, ballot_id, "dee", "base")
    again = preview(store, events.loop_id, BY_VOTE)
    assert again.dropped == {"as many votes for one text as for the other": N_VISITS // 2}


def test_votes_alone_on_held_out_visits_are_refused_with_what_to_do(store: Store, events: Events) -> None:
    with pytest.raises(DesignError, match="open a ballot on recent prompts and vote on it"):
        freeze(store, events.loop_id, BY_VOTE, now=NOW)


@pytest.mark.parametrize("kind", [DatasetKind.SFT, DatasetKind.UNPAIRED])
def test_votes_make_pairs_and_nothing_else(kind: DatasetKind) -> None:
    with pytest.raises(DesignError, match="blind votes make preference pairs"):
        settings_from({"kind": kind, "basis": "vote"})


def test_the_file_of_a_set_by_vote_says_where_each_row_came_from(store: Store, events: Events, ballot_id: str) -> None:
    vote(store, ballot_id, "ann", "tuned")
    built = freeze(store, events.loop_id, BY_VOTE, now=NOW)
    lines = export(store, events.loop_id, built.dataset_id, form=FileForm.JSONL).decode().splitlines()
    first = json.loads(lines[0])
    assert list(first)[:3] == ["prompt", "chosen", "rejected"]
    assert json.loads(first["origin"])["ballot_id"] == ballot_id
