"""One voter's page: a name, pairs without names, one tap each, and the names once the ballot is closed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from organism.digest.votes import Answer
from organism.digest.votes_flow import cast_vote, close_ballot, next_item, open_ballot
from organism.store.loops import loop_ids
from organism.store.votes import read_votes
from tests.pages.test_every_page import said

Visit = Callable[..., AppTest]
N_PAIRS = 3


@pytest.fixture
def ballot_id(full: Path) -> str:
    """A ballot of three pairs that nobody has judged."""
    from ui import runtime

    (loop_id,) = loop_ids(runtime.store()).values()
    options = {"version": "scribe-1", "n_items": N_PAIRS, "seed": 5, "now": runtime.now()}
    return open_ballot(runtime.store(), loop_id, **options).ballot_id


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def test_a_voter_gives_a_name_and_judges_pair_after_pair(ballot_id: str, visit: Visit) -> None:
    from ui import runtime

    app = visit("vote", ballot=ballot_id)
    assert not app.sidebar.children, "a guest sees the ballot and nothing else"
    app.text_input(key="voter_name").set_value("  Ann ")
    press(app, "Start")
    assert app.query_params["voter"] == "Ann"
    for _ in range(N_PAIRS):
        assert [header.value for header in app.subheader] == ["First", "Second"]
        assert not {"base", "scribe"} & set(said(app).lower().replace("-", " ").split())
        press(app, "First")
        assert not app.exception
        assert not app.error
    assert "All 3 are judged" in app.success[0].value
    votes = read_votes(runtime.store(), ballot_id)
    assert votes["voter"].tolist() == ["Ann"] * N_PAIRS
    assert (votes["chosen"] == votes["shown_first"]).all()
    assert (votes["seconds"] >= 0).all()


def test_the_names_stand_there_once_the_ballot_is_closed(ballot_id: str, visit: Visit) -> None:
    from ui import runtime

    while (item := next_item(runtime.store(), ballot_id, "Ann")) is not None:
        chosen = Answer.FIRST if len(item.first) < len(item.second) else Answer.SECOND
        cast_vote(
            runtime.store(), ballot_id, item_number=item.item_number, voter="Ann", chosen=chosen, now=runtime.now()
        )
    close_ballot(runtime.store(), ballot_id, now=runtime.now())
    app = visit("vote", ballot=ballot_id, voter="Ann")
    assert app.header[0].value == "You preferred scribe\\-1 in 3 of 3"
    assert [expander.label for expander in app.expander] == [f"{n}. You chose scribe\\-1" for n in (1, 2, 3)]
    guest = visit("vote", ballot=ballot_id)
    assert not guest.header


def test_a_vote_after_the_end_is_one_sentence(ballot_id: str, visit: Visit) -> None:
    from ui import runtime

    app = visit("vote", ballot=ballot_id, voter="Ann")
    close_ballot(runtime.store(), ballot_id, now=runtime.now())
    press(app, "Second")
    assert not app.exception
    assert "This ballot is closed" in app.error[0].value


def test_a_link_without_or_to_no_ballot_says_what_to_do(full: Path, visit: Visit) -> None:
    assert "Whoever presents opens one" in visit("vote").info[0].value
    app = visit("vote", ballot="nowhere")
    assert "Ask whoever presents for the link" in app.error[0].value


def test_without_a_link_the_only_open_ballot_is_taken_and_of_several_none(ballot_id: str, visit: Visit) -> None:
    from ui import runtime

    app = visit("vote")
    assert not app.exception
    assert app.query_params["ballot"] == ballot_id
    assert app.text_input(key="voter_name")
    (loop_id,) = loop_ids(runtime.store()).values()
    open_ballot(runtime.store(), loop_id, version="scribe-1", n_items=2, now=runtime.now())
    several = visit("vote")
    assert "ballot" not in several.query_params
    assert not several.info
    assert not several.exception
