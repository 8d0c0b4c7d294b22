"""Ballots on a real store: blind, in everyone's own order, each vote once, names at the end, and counted as cast."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from organism.digest.votes import HIDDEN, Answer
from organism.digest.votes_flow import (
    BallotSource,
    cast_vote,
    close_ballot,
    next_item,
    open_ballot,
    read_my_votes,
    read_tally,
)
from organism.errors import DesignError, InputError
from organism.records import ModelVersion, Role, new_id
from organism.store.database import Store
from organism.store.evaluations import EvalRun, insert_evaluation
from organism.store.model_versions import insert_version
from organism.store.votes import read_ballots, read_items, read_votes
from tests.organism.conftest import START, Events

NOW = datetime(2026, 11, 20, 9)
N_ROWS = 14


def version(store: Store, loop_id: str, name: str, *, tuned: bool = True, role: Role = Role.WRITER) -> ModelVersion:
    made = ModelVersion(
        model_version_id=f"id of {name}",
        loop_id=loop_id,
        name=name,
        base_path="base",
        adapter_path=name if tuned else None,
        run_id=None,
        dataset_id=None,
        reward_design_id=None,
        created_at=NOW,
        role=role,
    )
    store.write(lambda cursor: insert_version(cursor, made), "model_versions")
    return made


def evaluate(store: Store, judged: ModelVersion, baseline: ModelVersion, at: datetime = NOW) -> None:
    """Row 0 reads the same from both."""
    rows = [
        {
            "user_key": f"user {n % 5}",
            "prompt": f"prompt {n}",
            "before": f"{baseline.name} wrote {n}" if n else "the same",
            "after": f"{judged.name} wrote {n}" if n else "the  same",
            "final_text": f"final {n}",
            "measures": {},
        }
        for n in range(N_ROWS)
    ]
    run = EvalRun(
        eval_run_id=new_id(at),
        loop_id=judged.loop_id,
        run_id=None,
        model_version_id=judged.model_version_id,
        baseline_version_id=baseline.model_version_id,
        dataset_id=None,
        summary={"n_users": 5, "n_rows": N_ROWS},
        created_at=at,
    )
    store.write(lambda cursor: insert_evaluation(cursor, run, rows), "eval_runs")


@pytest.fixture
def judged(store: Store, events: Events) -> Events:
    """A loop with a base and a tuned version that were evaluated against each other."""
    base, tuned = version(store, events.loop_id, "base", tuned=False), version(store, events.loop_id, "tuned-1")
    evaluate(store, tuned, base)
    return events


def opened(store: Store, events: Events, **options: Any) -> str:
    return open_ballot(store, events.loop_id, version="tuned-1", seed=4, now=NOW, **options).ballot_id


def vote_all(store: Store, ballot_id: str, voter: str, prefers: str, at: datetime = NOW) -> None:
    """This voter always finds the text that holds this word better; a tie where none does."""
    while (item := next_item(store, ballot_id, voter)) is not None:
        chosen = Answer.FIRST if prefers in item.first else Answer.SECOND if prefers in item.second else Answer.TIE
        cast_vote(store, ballot_id, item_number=item.item_number, voter=voter, chosen=chosen, now=at)


def test_a_ballot_freezes_both_texts_of_drawn_prompts_and_leaves_equal_ones_out(store: Store, judged: Events) -> None:
    ballot_id = opened(store, judged, n_items=100)
    items = read_items(store, ballot_id)
    assert len(items) == N_ROWS - 1
    assert {item.prompt for item in items} == {f"prompt {n}" for n in range(1, N_ROWS)}
    assert all(item.text_a == f"base wrote {item.prompt.split()[1]}" for item in items)
    assert all(item.text_b == f"tuned-1 wrote {item.prompt.split()[1]}" for item in items)
    again = open_ballot(store, judged.loop_id, version="tuned-1", n_items=100, seed=4, now=NOW)
    assert read_items(store, again.ballot_id) == items, "the seed draws them"
    assert read_ballots(store, judged.loop_id)["n_items"].tolist() == [N_ROWS - 1] * 2


def test_every_voter_has_an_order_of_their_own_and_it_stays(store: Store, judged: Events) -> None:
    ballot_id = opened(store, judged)
    firsts = [next_item(store, ballot_id, f"voter {n}") for n in range(8)]
    assert [next_item(store, ballot_id, f" voter  {n} ") for n in range(8)] == firsts
    assert len({item.item_number for item in firsts if item}) > 2
    bases_first = sum("base" in item.first for item in firsts if item)
    assert 0 < bases_first < 8
    assert all(item and item.place == 1 and item.n_items == 10 for item in firsts)


def test_votes_are_counted_for_the_model_whatever_the_order(store: Store, judged: Events) -> None:
    ballot_id = opened(store, judged)
    for n in range(4):
        vote_all(store, ballot_id, f"fan {n}", "tuned-1")
    vote_all(store, ballot_id, "critic", "base")
    vote_all(store, ballot_id, "nobody", "no such word")
    votes = read_votes(store, ballot_id)
    assert votes["chosen"].value_counts().to_dict() == {"b": 40, "a": 10, "tie": 10}
    assert 15 < (votes["shown_first"] == "a").sum() < 45
    tally = close_ballot(store, ballot_id, now=NOW + timedelta(hours=1))
    assert (tally.left, tally.right, tally.n_left, tally.n_ties, tally.n_right) == ("base", "tuned-1", 10, 10, 40)
    assert (tally.n_votes, tally.n_voters, tally.n_synthetic) == (60, 6, 0)
    assert tally.share.share == 0.75
    assert all((item.n_left, item.n_ties, item.n_right) == (1, 1, 4) for item in tally.items)
    assert "not settled. tuned-1 leads with 75%" in tally.sentence, "six voters, one of whom disagrees"


def test_names_are_hidden_until_the_ballot_is_closed(store: Store, judged: Events) -> None:
    ballot_id = opened(store, judged)
    vote_all(store, ballot_id, "ann", "tuned-1")
    tally = read_tally(store, ballot_id)
    assert (tally.left, tally.right, tally.is_revealed) == (*HIDDEN, False)
    assert "tuned" not in str(tally)
    assert read_my_votes(store, ballot_id, "ann") == []
    close_ballot(store, ballot_id, now=NOW)
    mine = read_my_votes(store, ballot_id, "ann")
    assert len(mine) == 10
    assert all((one.first_version if one.answer is Answer.FIRST else one.second_version) == "tuned-1" for one in mine)
    assert all(one.first_version.split()[0] in one.first for one in mine)


def test_hidden_sides_are_swapped_by_the_seed(store: Store, judged: Events) -> None:
    lefts = set()
    for seed in (2, 3):
        ballot = open_ballot(store, judged.loop_id, version="tuned-1", seed=seed, now=NOW).ballot_id
        vote_all(store, ballot, "ann", "tuned-1")
        lefts.add(read_tally(store, ballot).n_left)
    assert lefts == {0, 10}


def test_a_vote_sent_twice_is_one_and_one_that_changes_its_mind_is_refused(store: Store, judged: Events) -> None:
    ballot_id = opened(store, judged)
    item = next_item(store, ballot_id, "ann")
    assert item is not None
    sent = {"item_number": item.item_number, "voter": "ann", "now": NOW}
    first = cast_vote(store, ballot_id, chosen="first", seconds=4.5, **sent)
    assert cast_vote(store, ballot_id, chosen="first", **sent) == first
    with pytest.raises(InputError, match=f"ann has voted on item {item.item_number} already"):
        cast_vote(store, ballot_id, chosen="tie", **sent)
    assert read_votes(store, ballot_id)["seconds"].tolist() == [4.5]
    assert first[1:] == (1, 10)


def test_a_closed_ballot_takes_no_vote_and_closing_twice_is_closing_once(store: Store, judged: Events) -> None:
    ballot_id = opened(store, judged)
    close_ballot(store, ballot_id, now=NOW)
    assert close_ballot(store, ballot_id, now=NOW + timedelta(days=1)).sentence == "Nobody has voted yet."
    assert read_ballots(store, judged.loop_id)["closed_at"].tolist() == [NOW]
    with pytest.raises(DesignError, match="this ballot is closed"):
        cast_vote(store, ballot_id, item_number=0, voter="ann", chosen="first", now=NOW)
    with pytest.raises(DesignError, match="this ballot is closed"):
        next_item(store, ballot_id, "ann")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"item_number": 99}, "has no item 99; it has 10"),
        ({"chosen": "left"}, "say which text is better: first, second, tie"),
        ({"voter": "  "}, "needs the name of who votes"),
        ({"voter": "x" * 61}, "at most 60 letters"),
    ],
)
def test_a_vote_that_is_none_is_one_sentence(store: Store, judged: Events, change: dict[str, Any], said: str) -> None:
    ballot_id = opened(store, judged)
    with pytest.raises(InputError, match=said):
        cast_vote(store, ballot_id, **{"item_number": 0, "voter": "ann", "chosen": "first", "now": NOW, **change})
    assert read_votes(store, ballot_id).empty


def test_a_name_of_spaces_is_none(store: Store, judged: Events) -> None:
    made = open_ballot(store, judged.loop_id, version="tuned-1", name="   ", now=NOW)
    assert made.name == "tuned-1 against base"


def test_an_unknown_ballot_or_version_is_named(store: Store, judged: Events) -> None:
    with pytest.raises(InputError, match="no ballot has the id 'nowhere'"):
        next_item(store, "nowhere", "ann")
    with pytest.raises(InputError, match="known versions: base, tuned-1"):
        open_ballot(store, judged.loop_id, version="tuned-9", now=NOW)
    with pytest.raises(InputError, match="both sides"):
        open_ballot(store, judged.loop_id, version="base", now=NOW)
    with pytest.raises(InputError, match="a ballot of 0 prompts is out of range"):
        opened(store, judged, n_items=0)


def test_two_tuned_versions_are_paired_by_the_prompts_that_both_were_judged_on(store: Store, judged: Events) -> None:
    base = version(store, judged.loop_id, "base-2", tuned=False)
    evaluate(store, version(store, judged.loop_id, "tuned-2"), base, NOW + timedelta(hours=1))
    made = open_ballot(store, judged.loop_id, version="tuned-2", against="tuned-1", n_items=100, seed=1, now=NOW)
    items = read_items(store, made.ballot_id)
    assert len(items) == N_ROWS - 1
    assert all(item.text_a.startswith("tuned-1") and item.text_b.startswith("tuned-2") for item in items)


@pytest.mark.parametrize("source", list(BallotSource))
def test_a_judge_writes_nothing_to_vote_on(store: Store, judged: Events, source: BallotSource) -> None:
    version(store, judged.loop_id, "judge-1", role=Role.JUDGE)
    with pytest.raises(DesignError, match="'judge-1' is a judge and writes no drafts"):
        open_ballot(store, judged.loop_id, version="judge-1", source=source, now=NOW)


def test_versions_that_were_never_judged_together_are_refused(store: Store, judged: Events) -> None:
    version(store, judged.loop_id, "tuned-2")
    with pytest.raises(DesignError, match="never evaluated on the same held-out prompts"):
        open_ballot(store, judged.loop_id, version="tuned-2", now=NOW)


def test_recent_prompts_are_drafted_anew_once_each_and_only_of_people_who_consent(store: Store, judged: Events) -> None:
    for n in range(6):
        judged.draft("ann", START + timedelta(minutes=n), prompt=f"visit {n % 4}", consent=n % 4 != 3)
    judged.write()

    def write(side: ModelVersion, prompts: Sequence[str]) -> list[str]:
        return [f"{side.name} on {prompt}" for prompt in prompts]

    ballot_id = opened(store, judged, source=BallotSource.RECENT, write=write)
    items = read_items(store, ballot_id)
    assert sorted(item.prompt for item in items) == ["visit 0", "visit 1", "visit 2"]
    assert all(item.text_a == f"base on {item.prompt}" and item.interaction_id for item in items)
    with pytest.raises(DesignError, match="nobody here can"):
        opened(store, judged, source=BallotSource.RECENT)
    with pytest.raises(DesignError, match="wrote the same of all 3 prompts"):
        opened(store, judged, source=BallotSource.RECENT, write=lambda _, prompts: list(prompts))


def test_prompts_of_which_both_wrote_the_same_are_replaced_by_others(store: Store, judged: Events) -> None:
    for n in range(40):
        judged.draft(f"user {n}", START + timedelta(minutes=n), prompt=f"visit {n:02}")
    judged.write()
    asked: list[int] = []

    def write(side: ModelVersion, prompts: Sequence[str]) -> list[str]:
        asked.append(len(prompts))
        return [f"{side.name} on {one}" if int(one[-2:]) % 3 == 0 else "the same" for one in prompts]

    ballot_id = opened(store, judged, source=BallotSource.RECENT, write=write, n_items=6)
    items = read_items(store, ballot_id)
    assert len(items) == 6
    assert all(int(item.prompt[-2:]) % 3 == 0 for item in items)
    assert 12 <= sum(asked) / 2 <= 24, "no more is drafted than it takes"
