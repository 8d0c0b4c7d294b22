"""A blind vote as the room sees it: open a ballot, show the link, watch the tally, close it and say the names."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import pandas as pd
import streamlit as st

from organism.config import utcnow
from organism.deploy.flow import read_versions
from organism.digest.training_set_flow import freeze
from organism.digest.training_sets import MIN_TRAIN_ROWS
from organism.digest.training_settings import Basis, SetSettings
from organism.digest.votes import Tally, usual_pairs
from organism.digest.votes_flow import BallotSource, close_ballot, open_ballot, read_tally
from organism.measures.acceptance import retained_chars
from organism.records import DatasetKind, ModelVersion
from organism.store.votes import BallotItem, read_ballots, read_items
from ui import cards, runtime, vote_charts
from ui.runtime import Loop
from ui.words import counted, literal, percent

EVERY_S = 2
LOCAL = ("localhost", "127.0.0.1", "::1")
SOURCES = {
    BallotSource.EVALUATION: "Held-out visits, as they were evaluated",
    BallotSource.RECENT: "Recent visits, drafted now",
}


def room(loop: Loop, version: str) -> None:
    """The view of the one who presents."""
    known = read_ballots(runtime.store(), loop.loop_id)
    if known.empty:
        st.info(
            "Open a ballot, show its link, and let people choose between two texts without knowing whose they are.",
            title="Nobody has voted yet",
            icon=":material/how_to_vote:",
        )
    else:
        ballot_id = _picked(known)
        _ballot(ballot_id, known.set_index("ballot_id").loc[ballot_id])
    if not cards.presenting():
        with st.expander("Open another ballot" if len(known) else "Open a ballot", icon=":material/add:"):
            _opening(loop, version)


def link_to(ballot_id: str | None = None) -> str:
    """The address that voters open, on the host under which this page was opened; without a ballot one to type."""
    here = urlsplit(st.context.url or "")
    which = "" if ballot_id is None else f"?{urlencode({'ballot': ballot_id})}"
    return f"{here.scheme or 'http'}://{here.netloc}/vote{which}"


def tally_chart(tally: Tally, about: Sequence[Any]) -> None:
    """What the votes say, as one bar and one interval."""
    row = pd.DataFrame(
        [
            {
                "left": tally.left,
                "right": tally.right,
                "n_left": tally.n_left,
                "n_ties": tally.n_ties,
                "n_right": tally.n_right,
                "share": tally.share.share,
                "low": tally.share.low,
                "high": tally.share.high,
            }
        ]
    )
    figure = runtime.figure(vote_charts.preference, row, tally.is_revealed, about=tuple(about))
    counts = f"{tally.n_right} votes for {tally.right}, {tally.n_left} for {tally.left}, {tally.n_ties} for neither."
    cards.chart(figure, counts, row, "blind_vote")


def vitals(tally: Tally) -> None:
    """Who voted how much, and whether the order of the texts decided."""
    with st.container(horizontal=True):
        st.metric("Voters", f"{tally.n_voters:,}", help="People with at least one vote.", width="content")
        st.metric("Votes", f"{tally.n_votes:,}", help="One a person and prompt; never changed.", width="content")
        st.metric(
            "First shown won",
            percent(tally.first_share, 0),
            help="Of the votes for one of the two. Far from one half, people chose by the place and not by the text; "
            "the order is drawn for each voter.",
            width="content",
        )


def _picked(known: pd.DataFrame) -> str:
    """The ballot on screen: the link's, else the newest."""
    ids = list(known["ballot_id"])
    asked = st.query_params.get("poll")
    if asked is not None and asked not in ids:
        st.warning("There is no such ballot here. Showing the newest.", title="Unknown link")
    chosen = str(asked if asked in ids else ids[0])
    if len(ids) > 1 and not cards.presenting():
        titles = {row.ballot_id: f"{row.name}, {row.created_at:%b %-d %H:%M}" for row in known.itertuples(index=False)}
        st.session_state["poll_pick"] = chosen
        st.selectbox("Ballot", ids, key="poll_pick", format_func=titles.__getitem__, on_change=_pick, width=360)
    if st.query_params.get("poll") != chosen:
        st.query_params["poll"] = chosen
    return chosen


def _pick() -> None:
    st.query_params["poll"] = st.session_state["poll_pick"]


def _ballot(ballot_id: str, header: pd.Series) -> None:
    is_open = pd.isna(header["closed_at"])
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(literal(str(header["name"])), anchor=False, width="content")
        st.badge("Open" if is_open else "Closed", color="green" if is_open else "gray")
        if header["n_synthetic"]:
            st.badge("Simulated voters", icon=":material/biotech:", color="orange")
    if is_open:
        _invitation(ballot_id, int(header["n_items"]))
        live_tally(ballot_id)
    else:
        _result(ballot_id)


def _invitation(ballot_id: str, n_items: int) -> None:
    link = link_to(ballot_id)
    with st.container(border=True):
        st.caption(f"Vote on {counted(n_items, 'pair')} of texts, each in an order of your own. Type into a phone:")
        st.subheader(literal(link_to()), anchor=False)
        st.caption("Or send the link:")
        st.code(link, language=None)
        if urlsplit(link).hostname in LOCAL:
            st.caption(
                "This address works on this machine only. `organism serve --host 0.0.0.0` lets phones in, and everyone "
                "else in this network: the pages ask for no password."
            )


@st.fragment(run_every=EVERY_S)
def live_tally(ballot_id: str) -> None:
    """The tally as votes come in, without names."""
    tally = runtime.read(read_tally, ballot_id)
    if tally.is_revealed:
        st.rerun()
    vitals(tally)
    if tally.n_votes:
        st.subheader(literal(tally.sentence), anchor=False)
        tally_chart(tally, (ballot_id,))
    else:
        st.caption("Votes show here as they come in.")
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(
            "Close and say the names", icon=":material/visibility:", type="primary", disabled=not tally.n_votes
        ):
            with cards.polite("Not closed"):
                close_ballot(runtime.store(), ballot_id, now=utcnow())
                st.rerun()
        st.caption("Which model is which stays hidden until then, on every screen.")


def _result(ballot_id: str) -> None:
    tally = runtime.read(read_tally, ballot_id)
    if not tally.n_votes:
        st.caption("It was closed before anyone voted.")
        return
    st.subheader(literal(tally.sentence), anchor=False)
    tally_chart(tally, (ballot_id,))
    vitals(tally)
    whose = f" {tally.n_synthetic:,} of {counted(tally.n_votes, 'vote')} are by simulated people." * bool(
        tally.n_synthetic
    )
    st.caption(f"The interval is for other voters on other prompts: it is clustered by both.{whose}")
    items = runtime.read(read_items, ballot_id)
    st.header("Prompt by prompt", anchor=False)
    _prompts(tally, items)
    if not cards.presenting():
        _training(ballot_id)


def _prompts(tally: Tally, items: Sequence[BallotItem]) -> None:
    rows = pd.DataFrame(
        [
            {
                "label": f"Visit {item.item_number + 1}",
                "n_left": count.n_left,
                "n_ties": count.n_ties,
                "n_right": count.n_right,
                "kept_left": _kept(item.text_a, item.final_text),
                "kept_right": _kept(item.text_b, item.final_text),
            }
            for item, count in zip(items, tally.items, strict=True)
        ]
    )
    cards.chart(
        runtime.figure(vote_charts.by_prompt, rows, (tally.left, tally.right), about=(items[0].prompt, len(items))),
        _agreement(rows),
        rows,
        "blind_vote_prompts",
    )


def _agreement(rows: pd.DataFrame) -> str:
    """Whether people preferred what the expert kept more of."""
    told = rows.dropna(subset=["kept_left", "kept_right"])
    told = told[(told["n_left"] != told["n_right"]) & (told["kept_left"] != told["kept_right"])]
    if told.empty:
        return "No expert's own text is known for these prompts, so only the votes speak."
    same = int(((told["n_right"] > told["n_left"]) == (told["kept_right"] > told["kept_left"])).sum())
    return f"On {same} of {counted(len(told), 'prompt')} most voters preferred the text that the expert kept more of."


def _kept(text: str, expert: str | None) -> float | None:
    return None if expert is None else retained_chars(text, expert) / max(len(text), 1)


def _training(ballot_id: str) -> None:
    st.header("Learn from the votes", anchor=False)
    st.caption(
        "Each prompt with a majority becomes a preference pair, with its ballot and its votes; users who are held out "
        "stay held out. Votes of all ballots count."
    )
    loop = runtime.chosen_loop()
    if st.button("Freeze a training set of votes", icon=":material/ac_unit:", key=f"freeze_{ballot_id}") and loop:
        settings = SetSettings(kind=DatasetKind.PREFERENCE, basis=Basis.VOTE)
        with cards.polite("Not frozen"):
            made = freeze(runtime.store(), loop.loop_id, settings, now=utcnow())
            st.success(
                f"{counted(made.n_train, 'pair')} to train on, {made.n_heldout:,} held out. DPO or a reward model can "
                "learn from them.",
                icon=":material/check_circle:",
            )
            st.page_link(
                cards.page_file("training_sets"),
                label="Open the set",
                icon=":material/dataset:",
                query_params={"set": made.dataset_id},
            )


def _opening(loop: Loop, version: str) -> None:
    """The form of a new ballot; it closes when the ballot is open."""
    names = runtime.read(read_versions, loop.loop_id)
    writers = [str(row.name) for row in names.itertuples(index=False) if str(row.role) == "writer"]
    source = BallotSource(
        st.radio(
            "Prompts",
            list(SOURCES),
            format_func=SOURCES.__getitem__,
            key="ballot_source",
            help="Held-out visits judge a version and stay out of training. Recent visits that neither model has "
            "learned from are drafted now by both, and votes on them can train the next run.",
        )
    )
    can_train = source is BallotSource.RECENT
    if can_train:
        st.caption(
            f"A training set of votes needs at least {MIN_TRAIN_ROWS} decided pairs from people outside the held-out "
            "users: open more pairs than that, since some end in a tie and some are theirs."
        )
    with st.form("open_ballot", border=False):
        left, right = st.columns(2)
        one = left.selectbox("Version", writers, index=writers.index(version), key="ballot_version")
        other = right.selectbox(
            "Against", writers, index=writers.index("base") if "base" in writers else 0, key="ballot_against"
        )
        n_items = st.slider(
            "Pairs",
            3,
            60 if can_train else 40,
            usual_pairs(can_train),
            key=f"ballot_items_{source}",
            help="Eight take a voter about four minutes.",
        )
        if st.form_submit_button("Open the ballot", type="primary", icon=":material/how_to_vote:"):
            with cards.polite("Not opened"), st.spinner("Both models are writing ...", show_time=True):
                _open(loop.loop_id, one, other, source, n_items, utcnow())
                st.rerun()


def _open(loop_id: str, version: str, against: str, source: BallotSource, n_items: int, now: datetime) -> None:
    def write(side: ModelVersion, prompts: Sequence[str]) -> list[str]:
        return [draft.text for draft in runtime.opened().drafts.drafts(side, prompts)]

    made = open_ballot(
        runtime.store(),
        loop_id,
        version=version,
        against=against,
        n_items=n_items,
        source=source,
        write=write,
        now=now,
    )
    st.query_params["poll"] = made.ballot_id
