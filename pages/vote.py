"""A blind vote, as one voter sees it: two texts, no names, one tap; made for a phone."""

import time

import pandas as pd
import streamlit as st

from organism.config import utcnow
from organism.digest.votes import MAX_VOTER, Answer, check_voter
from organism.digest.votes_flow import BlindItem, MyVote, cast_vote, next_item, read_my_votes, read_tally
from organism.errors import InputError, OrganismError
from organism.store.votes import Ballot, read_ballot, read_ballots, read_items
from ui import ballots, cards, runtime
from ui.words import counted, literal, note, sentence

BUTTONS = {Answer.FIRST: "First", Answer.TIE: "Same", Answer.SECOND: "Second"}
EVERY_S = 3
TO_THE_TOP = "document.querySelector('[data-testid=stMain]')?.scrollTo(0, 0)"


def to_choose() -> None:
    """Nobody said which ballot: the one that is open, or a choice of several."""
    loop = runtime.chosen_loop()
    known = read_ballots(runtime.store(), loop.loop_id) if loop else pd.DataFrame()
    running = known[known["closed_at"].isna()] if len(known) else known
    if running.empty:
        cards.empty(
            "No ballot is open",
            "Whoever presents opens one under Before and after, and shows its link.",
            "how_to_vote",
            page="before_after",
            action="Open Before and after",
        )
        return
    if len(running) == 1:
        st.query_params["ballot"] = str(running["ballot_id"].iloc[0])
        st.rerun()
    for row in running.itertuples(index=False):
        st.page_link(
            cards.page_file("vote"),
            label=f"{row.name}, {counted(int(row.n_items), 'pair')}",
            icon=":material/how_to_vote:",
            query_params={"ballot": str(row.ballot_id)},
        )


def introduce(ballot: Ballot) -> None:
    """Ask for a name, which keeps the votes together."""
    st.markdown(
        "You will see two texts at a time, written by two models. **Choose the one you would rather sign.** "
        "Which model wrote which stays hidden until the vote is closed."
    )
    with st.form("voter_form", border=False):
        name = st.text_input(
            "Your name", max_chars=MAX_VOTER, key="voter_name", help="Any name; your votes are kept under it."
        )
        if st.form_submit_button("Start", type="primary", icon=":material/arrow_forward:", width="stretch"):
            with cards.polite():
                st.query_params["voter"] = check_voter(name)
                st.rerun()


def judge(ballot: Ballot, voter: str, item: BlindItem) -> None:
    """One pair and its three buttons, which stay in reach while one reads."""
    st.progress((item.place - 1) / item.n_items, f"Pair {item.place} of {item.n_items}")
    # A phone stands at the end of the last pair; the next one is read from its beginning.
    st.html(f"<script>/* {item.item_number} */ {TO_THE_TOP}</script>", unsafe_allow_javascript=True)
    seen_at = st.session_state.setdefault(f"seen {ballot.ballot_id} {item.item_number}", time.monotonic())
    with st.expander("The visit", icon=":material/forum:"):
        st.markdown(note(item.prompt, [], "gray"))
    for column, title, text in zip(
        st.columns(2, gap="small"), ("First", "Second"), (item.first, item.second), strict=True
    ):
        with column.container(border=True, height="stretch"):
            st.subheader(title, anchor=False)
            st.markdown(note(text, [], "gray"))
    with st.bottom:
        st.caption("Which one would you rather sign?")
        with st.container(horizontal=True, wrap=False):
            for answer, label in BUTTONS.items():
                st.button(
                    label,
                    key=f"vote_{item.item_number}_{answer}",
                    type="secondary" if answer is Answer.TIE else "primary",
                    width="stretch",
                    on_click=keep,
                    args=(ballot.ballot_id, item.item_number, voter, answer, seen_at),
                )


def keep(ballot_id: str, item_number: int, voter: str, answer: Answer, seen_at: float) -> None:
    """Write the vote; a refusal is shown on the next drawing."""
    try:
        cast_vote(
            runtime.store(),
            ballot_id,
            item_number=item_number,
            voter=voter,
            chosen=answer,
            seconds=round(time.monotonic() - seen_at, 1),
            now=utcnow(),
        )
    except OrganismError as error:
        st.session_state["vote_problem"] = sentence(str(error))


@st.fragment(run_every=EVERY_S)
def waiting(ballot_id: str, n_items: int) -> None:
    """Until the ballot is closed; then everything is drawn anew, with the names."""
    if read_ballot(runtime.store(), ballot_id).closed_at is not None:
        st.rerun()
    st.success(f"All {n_items} are judged. Thank you.", icon=":material/check_circle:")
    st.markdown("Keep this page open: **it says which model you preferred** as soon as the vote is closed.")


def reveal(ballot: Ballot, voter: str | None) -> None:
    """The names, one's own votes first, then everybody's."""
    mine = read_my_votes(runtime.store(), ballot.ballot_id, voter) if voter else []
    tally = runtime.read(read_tally, ballot.ballot_id)
    if mine:
        chosen = [winner(vote) for vote in mine]
        best = (
            ballot.version_b if chosen.count(ballot.version_b) >= chosen.count(ballot.version_a) else ballot.version_a
        )
        st.header(
            f"You preferred {literal(best)} in {chosen.count(best)} of {len(mine)}",
            anchor=False,
            icon=":material/visibility:",
        )
    if tally.n_synthetic:
        cards.simulated_badge()
    if not tally.n_votes:
        st.caption("The vote was closed before anyone voted.")
        return
    ballots.tally_chart(tally, (ballot.ballot_id,))
    for number, vote in enumerate(mine, start=1):
        with st.expander(f"{number}. You chose {literal(winner(vote) or 'neither')}"):
            for name, text in ((vote.first_version, vote.first), (vote.second_version, vote.second)):
                st.subheader(literal(name), anchor=False)
                st.markdown(note(text, [], "gray"))


def winner(vote: MyVote) -> str | None:
    """The model behind the text that was chosen; None for neither."""
    return {Answer.FIRST: vote.first_version, Answer.SECOND: vote.second_version}.get(vote.answer)


asked = st.query_params.get("ballot")
if asked is None:
    cards.head("Vote", "Two texts, no names: say which one is better.", "how_to_vote")
    to_choose()
    st.stop()
try:
    chosen_ballot = read_ballot(runtime.store(), asked)
except InputError:
    st.title("Vote", icon=":material/how_to_vote:", anchor=False)
    st.error("There is no such ballot here. Ask whoever presents for the link.", icon=":material/link_off:")
    st.stop()

st.title("Which is better?", icon=":material/how_to_vote:", anchor=False)
who = st.query_params.get("voter")
if problem := st.session_state.pop("vote_problem", None):
    st.error(literal(problem), icon=":material/error:")
if chosen_ballot.closed_at is not None:
    reveal(chosen_ballot, who)
elif not who:
    introduce(chosen_ballot)
else:
    with cards.polite():
        pair = next_item(runtime.store(), chosen_ballot.ballot_id, who)
        if pair is None:
            waiting(chosen_ballot.ballot_id, len(runtime.read(read_items, chosen_ballot.ballot_id)))
        else:
            judge(chosen_ballot, who, pair)
        st.caption(f"Voting as {literal(who)}.")
