"""The same visit before and after a fine-tune, for a room: side by side, written live, and voted on blind."""

import pandas as pd
import streamlit as st

from organism.deploy.flow import read_versions, version_by_name
from organism.measures.acceptance import retained_runs
from organism.measures.prices import cost_usd
from organism.optimize.flow import read_eval_results
from ui import ballots, cards, duel, gains, runtime
from ui.duel import Panel, Written, Yardstick
from ui.words import literal, note, points

SIDE, OWN, VOTE = "side", "own", "vote"
VIEWS = {SIDE: "Side by side", OWN: "Your own text", VOTE: "Blind vote"}

cards.head(
    "Before and after",
    "The same visit, written by the base and by the tuned model. Neither has seen this visit, nor this expert.",
    "compare",
)
loop = runtime.chosen_loop()
versions = runtime.read(read_versions, loop.loop_id) if loop else None
judged = versions[versions["after"].notna()] if versions is not None else None
if loop is None or versions is None or judged is None or judged.empty:
    cards.empty(
        "Nothing to compare yet",
        "Once a fine-tune is evaluated, its drafts of held-out visits stand here, beside the base's and the expert's.",
        "compare",
        page="fine_tunes",
        action="Start a fine-tune",
    )
    st.stop()

# Which version, visit and view: all are in the address, so the link is the slide.
names = list(judged["name"])
first = gains.opening_version(judged)
asked = st.query_params.get("version")
if asked is not None and asked not in names:
    st.warning(f"No version `{literal(asked)}` has been evaluated here. Showing {first}.", title="Unknown link")
version = asked if asked in names else first
view = st.query_params.get("view") if st.query_params.get("view") in VIEWS else SIDE
duel.warm(loop.loop_id, ["base", version])


def go_to(name: str, key: str, *forget: str) -> None:
    """Put a choice into the address, where it can be shared."""
    st.query_params[name] = st.session_state[key]
    for other in forget:
        st.query_params.pop(other, None)


def go_to_row(number: str) -> None:
    st.query_params["row"] = number


def remember(place: int, number: int, written: list[Written]) -> None:
    st.session_state["live_drafts"] = {(version, number): written}


with st.container(horizontal=True, vertical_alignment="bottom"):
    st.session_state["view_pick"] = view
    st.segmented_control(
        "View",
        list(VIEWS),
        key="view_pick",
        format_func=VIEWS.__getitem__,
        required=True,
        label_visibility="collapsed",
        on_change=go_to,
        args=("view", "view_pick"),
    )
    if len(names) > 1 and not cards.presenting():
        st.session_state["version_pick"] = version
        st.selectbox(
            "Version",
            names,
            key="version_pick",
            label_visibility="collapsed",
            on_change=go_to,
            args=("version", "version_pick", "row"),
            width=180,
        )
    cards.present_button()
if st.query_params.get("version") != version:
    st.query_params["version"] = version


def side_by_side(results: pd.DataFrame, synthetic: bool) -> None:
    """Walk through the held-out visits, and have both models write the one on screen again."""
    listed = walk(results)
    row = int(st.query_params["row"])
    visit = results.set_index("row_number").loc[row]
    written_out(visit, row)
    with st.expander("The visit, as the models read it", icon=":material/forum:"):
        st.markdown(note(visit["prompt"], [], "green"))
    missed_facts(visit)
    if not cards.presenting():
        place = listed["row_number"].tolist().index(row) + 1
        st.header(f"Every visit, not only this one ({place} of {len(listed)})", anchor=False)
        gains.chart(results, row, version)
        if synthetic:
            st.caption("Visits, experts and their notes are simulated.")


def walk(results: pd.DataFrame) -> pd.DataFrame:
    """The order of the visits, and the way from one to the next; the chosen one is in the address afterwards."""
    orders = gains.orders(results)
    order = st.session_state.get("order_pick") or next(iter(orders))
    listed = orders[order]
    numbers = [str(number) for number in listed["row_number"]]
    asked_row = st.query_params.get("row", "")
    if asked_row and asked_row not in numbers:
        st.warning(
            f"There is no visit {literal(asked_row)} in this evaluation. Showing the best gain.", title="Unknown link"
        )
    row = asked_row if asked_row in numbers else numbers[0]
    if st.query_params.get("row") != row:
        st.query_params["row"] = row
    at = numbers.index(row)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "Order",
            list(orders),
            key="order_pick",
            default=order,
            required=True,
            label_visibility="collapsed",
            on_change=lambda: st.query_params.pop("row", None),
        )
        step = [numbers[max(at - 1, 0)], numbers[min(at + 1, len(numbers) - 1)]]
        for label, icon, key, target in (("Back", "arrow_back", "Left", 0), ("Next", "arrow_forward", "Right", 1)):
            st.button(
                label,
                icon=f":material/{icon}:",
                shortcut=key,
                on_click=go_to_row,
                args=(step[target],),
                disabled=step[target] == row,
            )
        if not cards.presenting():
            by_number = listed.set_index("row_number")["gain"]
            st.session_state["row_pick"] = row
            st.selectbox(
                "Visit",
                numbers,
                key="row_pick",
                label_visibility="collapsed",
                on_change=go_to,
                args=("row", "row_pick"),
                format_func=lambda number: f"Visit {number}, {points(by_number[int(number)])}",
                width=200,
            )
    return listed


@st.fragment
def written_out(visit: pd.Series, row: int) -> None:
    """Base, tuned, expert; as they were written at the evaluation, or live, both at once."""
    against = Yardstick(visit["final_text"], duel.facts_of(visit["measures"]))
    finding = st.empty()
    with st.container(horizontal=True, vertical_alignment="center"):
        asked_now = st.button("Write both now", type="primary", icon=":material/edit_note:", key="write_both")
        where = st.empty()
    columns = st.columns(3, gap="small")
    panels = []
    for column, title, color, key in zip(columns, ("Base", version), duel.COLORS, ("before", "after"), strict=False):
        with column:
            panels.append(Panel(title, color, against, f"draft_{key}"))
    written = st.session_state.get("live_drafts", {}).get((version, row))
    where.caption("Written live just now." if written and not asked_now else "As written for the evaluation.")
    if asked_now:
        finding.subheader("Both are writing ...", anchor=False)
        where.caption("On this machine; nothing leaves it.")
        with cards.polite("No draft"):
            written = live(panels, visit["prompt"])
            remember(0, row, written)
            where.caption("Written live just now.")
    written = written or frozen(visit)
    for panel, text in zip(panels, written, strict=True):
        panel.show(text)
    finding.subheader(gained(*(duel.kept_share(text.text, against.expert) for text in written)), anchor=False)
    with columns[2]:
        expert_panel(visit["final_text"], written[1].text)
    st.caption(
        "In the drafts, :green-background[what the expert kept]. In the expert's note, "
        ":blue-background[what the expert had to write] beside the tuned draft."
    )


def gained(base: float | None, tuned: float | None) -> str:
    """The one sentence about this visit."""
    if base is None or tuned is None:
        return "One of the models wrote nothing."
    return literal(
        f"Of the base's draft the expert kept {base:.0%}, of {version}'s {tuned:.0%}: {points(tuned - base)}"
    )


def live(panels: list[Panel], prompt: str) -> list[Written]:
    """Both models write into the two panels."""
    sides = [version_by_name(runtime.store(), loop.loop_id, name) for name in ("base", version)]
    for panel in panels:
        panel.show(Written(""), is_writing=True)
    return duel.write_both(sides, prompt, lambda place, text, going: panels[place].show(text, is_writing=going))


def frozen(visit: pd.Series) -> list[Written]:
    """Both drafts as the evaluation kept them; how long each took was not."""
    measures = visit["measures"]
    made = []
    for which in ("before", "after"):
        n_output, n_input = measures.get(f"tokens_{which}"), measures.get("prompt_tokens")
        cost = cost_usd(n_input, n_output) if n_input is not None and n_output is not None else None
        made.append(Written(visit[which], n_output, cost))
    return made


def expert_panel(expert: str, tuned: str) -> None:
    """The expert's own text, with what the tuned draft did not have on a colored ground."""
    kept = [(run.in_final, run.in_final + run.size) for run in retained_runs(tuned, expert)]
    edges = [0, *(edge for run in kept for edge in run), len(expert)]
    missing = [pair for pair in zip(edges[::2], edges[1::2], strict=True) if pair[0] < pair[1]]
    with st.container(border=True, height="stretch", key="draft_expert"):
        st.header("Expert", anchor=False)
        st.metric(
            "Left to write",
            f"{sum(end - start for start, end in missing):,} characters",
            help="Characters of the expert's note that the tuned draft did not have.",
            width="content",
        )
        st.caption(f"Of {len(expert):,} characters")
        st.markdown(note(expert, missing, "blue"))


def missed_facts(visit: pd.Series) -> None:
    """The facts that one of the evaluation's drafts does not copy exactly."""
    facts = visit["measures"]["facts"]
    wrong = [fact for fact in facts if not (fact["before"] and fact["after"])]
    if not wrong:
        return
    with st.expander(f"Facts that a draft got wrong ({len(wrong)} of {len(facts)})", icon=":material/fact_check:"):
        st.dataframe(
            [
                {
                    "Fact": fact["kind"],
                    "Must say": " or ".join(fact["any_of"]),
                    "Base": fact["before"],
                    version: fact["after"],
                }
                for fact in wrong
            ],
            hide_index=True,
            alt="Facts that one of the drafts did not copy exactly",
        )


@st.fragment
def own_text(example: str) -> None:
    """Both models on a transcript that somebody in the room types."""
    prompt = st.text_area(
        "Transcript",
        value=example,
        height=200,
        key="own_prompt",
        help="Type or paste a visit. Both models draft it on this machine; nothing leaves it and nothing is kept.",
    )
    asked_now = st.button(
        "Write both drafts", type="primary", icon=":material/edit_note:", key="write_own", disabled=not prompt.strip()
    )
    written = st.session_state.get("own_drafts")
    if not asked_now and written is None:
        return
    panels = []
    for column, title, color, key in zip(
        st.columns(2, gap="small"), ("Base", version), duel.COLORS, ("base", "tuned"), strict=True
    ):
        with column:
            panels.append(Panel(title, color, Yardstick(), f"own_{key}"))
    if asked_now:
        written = None
        with cards.polite("No draft"):
            written = live(panels, prompt)
            st.session_state["own_drafts"] = written
    if written is not None:
        for panel, mine, other in zip(panels, written, reversed(written), strict=True):
            panel.mark(mine, gains.only_here(mine.text, other.text))
        st.caption("On a colored ground: what only this draft says, in runs of six characters or more.")


if view == VOTE:
    ballots.room(loop, version)
else:
    results = runtime.read(read_eval_results, judged.set_index("name").loc[version, "model_version_id"])
    if view == OWN:
        own_text(results["prompt"].iloc[0])
    else:
        side_by_side(gains.with_gain(results), loop.is_synthetic)
if cards.presenting():
    st.caption(f"Base against {literal(version)}" + (", simulated visits and experts" if loop.is_synthetic else ""))
