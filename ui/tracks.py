"""Tracks on the fine-tunes page: start several side by side, see the trade-off, send one to an experiment."""

from typing import Any

import pandas as pd
import streamlit as st

from organism.config import utcnow
from organism.optimize.catalog import PRESET_TITLES, RECIPES, configured
from organism.optimize.sweep_choice import Quality
from organism.optimize.sweeps import LIVE, MAX_TRACKS, SweepPlan, is_shaped, plan_from, tracks_of
from organism.records import Preset, Recipe, Role
from organism.tracks import (
    Planned,
    preview_sweep,
    read_sweep_results,
    read_sweeps,
    send_to_experiment,
    start_sweep,
    stop_sweep,
)
from ui import cards, charts, recipes, runtime, track_charts
from ui.designs import names_of
from ui.run_figures import in_words
from ui.set_builder import patient
from ui.words import counted, literal, percent, sentence

TRACKS = "tracks"
ROWS = (25, 50, 100, 200, 400, 800, 1000, 2000)
QUALITIES = {Quality.RETAINED: "Characters kept", Quality.WRITTEN: "Written share"}
Y_TITLES = {
    Quality.RETAINED: "Characters kept of what it writes",
    Quality.WRITTEN: "Characters written of what experts needed",
}


def tracks(loop: runtime.Loop) -> None:
    """The view: one sweep, its plot, its table, and what should go to an experiment."""
    found = runtime.read_with_runs(read_sweeps, loop.loop_id)
    if found.empty:
        cards.empty(
            "No tracks yet",
            "Try recipes, reward designs and parts of the answers side by side: all are measured on the same held-out "
            "people, and one plot says what each costs and gives. Start with Try several side by side.",
            "alt_route",
        )
        return
    sweep = _chosen(found)
    is_active = bool(sweep["n_active"])

    @st.fragment(run_every="2s" if is_active else None)
    def board(sweep_id: str) -> None:
        now = runtime.read_with_runs(read_sweeps, loop.loop_id).set_index("sweep_id", drop=False).loc[sweep_id]
        if bool(now["n_active"]) != is_active:
            st.rerun()
        _progress(now)
        with cards.polite("No results"):
            _results(loop, now)

    board(str(sweep["sweep_id"]))


def _chosen(found: pd.DataFrame) -> pd.Series:
    """The sweep that the address names, else the newest; with a choice where there are several."""
    by_id = found.set_index("sweep_id", drop=False)
    asked = st.query_params.get("sweep")
    if asked is not None and asked not in by_id.index:
        st.warning(f"There are no tracks {literal(asked)} here. Showing the latest.", title="Unknown link")
    chosen = asked if asked in by_id.index else str(found["sweep_id"].iloc[0])
    if len(found) > 1:
        st.session_state["sweep_pick"] = chosen
        st.selectbox(
            "Tracks", list(by_id.index), key="sweep_pick", on_change=_go_to_picked, width=420,
            format_func=lambda sweep_id: _title(by_id.loc[sweep_id]),
        )  # fmt: skip
    return by_id.loc[chosen]


def _title(sweep: pd.Series) -> str:
    return f"{sweep['name']}, {charts.at(sweep['created_at'])}"


def _go_to_picked() -> None:
    st.query_params["sweep"] = st.session_state["sweep_pick"]


def _progress(sweep: pd.Series) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(literal(sweep["name"]), anchor=False, width="content")
        st.caption(
            f"{int(sweep['n_done'])} of {counted(int(sweep['n_runs']), 'run')} done"
            + (f", {int(sweep['n_refused'])} could not start" if sweep["n_refused"] else "")
            + f". Started {charts.at(sweep['created_at'])} UTC."
        )
        if (
            sweep["n_active"]
            and not cards.presenting()
            and st.button("Stop them", icon=":material/stop_circle:", key="stop_tracks")
        ):
            stop_sweep(runtime.store(), runtime.place(), sweep["sweep_id"])
            st.rerun()
    if sweep["n_active"]:
        st.progress(float(sweep["n_done"] / max(sweep["n_runs"], 1)))


def _results(loop: runtime.Loop, sweep: pd.Series) -> None:
    quality = Quality(
        st.segmented_control(
            "Quality is", list(Quality), default=Quality.RETAINED, required=True, format_func=QUALITIES.__getitem__,
            key="track_quality",
            help="Characters kept: the share of what it writes that the expert kept. Written share: the share of what "
            "the expert needed that it wrote; short drafts cannot game that one.",
        )
    )  # fmt: skip
    found = runtime.read_with_runs(read_sweep_results, sweep["sweep_id"], quality)
    found = found.assign(number=range(1, len(found) + 1))
    if found["quality"].notna().any():
        _plot(found, quality, str(sweep["sweep_id"]))
        _recommended(loop, found)
    else:
        st.caption("The plot appears once the first track was measured.")
    if not cards.presenting():
        _table(found, str(sweep["name"]))


def _plot(found: pd.DataFrame, quality: Quality, sweep_id: str) -> None:
    """Quality over tokens and latency."""
    measured = found.dropna(subset=["quality"])
    measured = measured.assign(recipe=[_recipe(name) for name in measured["recipe"]])
    about = (sweep_id, str(quality), len(measured))
    figure = runtime.figure(track_charts.front, measured, Y_TITLES[quality], about=about)
    columns = [name for name in found.columns if name not in ("message", "model_version_id")]
    with st.container(border=True):
        st.header("What each track costs and gives", anchor=False)
        cards.chart(figure, takeaway(measured), measured[columns], "tracks")
        st.caption(
            "Every track drafted the same prompts of the same people, whom none was trained on. Bars: 95% intervals, "
            "resampled by person (of latency: by draft). Hollow: another track is behind in nothing and ahead in "
            "something (latency counts where intervals are apart), or a guardrail is broken. Star: to an experiment."
        )


def _recipe(name: Any) -> str | None:
    """What people call a recipe; None for the base, which has none."""
    return RECIPES[Recipe(name)].title if isinstance(name, str) else None


def takeaway(measured: pd.DataFrame) -> str:
    """Who surely gains, who gains most, and who writes least, in a sentence or two."""
    tuned = measured[measured["run_id"].notna()]
    if tuned.empty:
        return "Only the base was measured so far."
    base = measured.loc[measured["run_id"].isna(), "quality"]
    than = f" than the base ({percent(base.iloc[0], 0)})" if len(base) else ""
    sure = tuned[tuned["gain_low"] > 0]
    if sure.empty:
        return f"None of {counted(len(tuned), 'track')} surely keeps more{than}."
    best, least = sure.loc[sure["quality"].idxmax()], sure.loc[sure["tokens"].idxmin()]
    said = (
        f"{len(sure)} of {counted(len(tuned), 'track')} surely keep more{than}. Most: {best['label']} "
        f"({percent(best['quality'], 0)} at {best['tokens']:,.0f} tokens a draft)"
    )
    if best["run_id"] != least["run_id"]:
        said += f"; shortest: {least['label']} ({percent(least['quality'], 0)} at {least['tokens']:,.0f})"
    return f"{said}."


def _recommended(loop: runtime.Loop, found: pd.DataFrame) -> None:
    """Which tracks should go to an experiment, with the reason and the button that starts it."""
    st.header("Which of these should go to an experiment?", anchor=False)
    chosen = found[found["to_experiment"]]
    if chosen.empty:
        st.markdown("**None yet.** An experiment takes people's time; here is what speaks against each:")
        for row in found[found["run_id"].notna() & (found["status"] == "done")].itertuples():
            st.caption(f"{row.number}. {literal(row.label)}: {literal(row.why)}")
        return
    for row in chosen.sort_values("quality", ascending=False).itertuples():
        with st.container(border=True), st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{row.number}. {literal(row.label)}** ({literal(row.version)})  \n{literal(row.why)}")
            if not cards.presenting() and st.button(
                "Start an experiment", type="primary", icon=":material/science:", key=f"experiment_{row.run_id}"
            ):
                with cards.polite("Not started"):
                    started = send_to_experiment(runtime.store(), loop.loop_id, row.run_id, utcnow())
                    st.switch_page(cards.page_file("experiments"), query_params={"exp": started})


def _table(found: pd.DataFrame, name: str) -> None:
    """Every track with its figures and the sentence about it."""
    shown = pd.DataFrame(
        {
            "number": found["number"],
            "label": found["label"],
            "status": found["status"],
            "quality": found["quality"].astype(float),
            "between": [_between(*ends) for ends in zip(found["quality_low"], found["quality_high"], strict=True)],
            "facts": found["facts_after"].astype(float),
            "tokens": found["tokens"].astype(float),
            "latency_ms": found["latency_ms"].astype(float),
            "to_experiment": found["to_experiment"],
            "why": found["why"],
        }
    )
    st.dataframe(
        shown, hide_index=True, column_config=_COLUMNS, placeholder="", alt=f"The tracks of {name} with their figures"
    )
    cards.csv_button(found.drop(columns=["model_version_id"]), "tracks_table")


_COLUMNS: dict[str, Any] = {
    "number": st.column_config.NumberColumn("#", width=40, help="Its number in the plot."),
    "label": st.column_config.TextColumn("Track", width="medium"),
    "status": st.column_config.TextColumn("Status", width="small"),
    "quality": st.column_config.NumberColumn("Quality", format="percent", help="As chosen above, on held-out people."),
    "between": st.column_config.TextColumn("95%", help="Its interval, resampled by person."),
    "facts": st.column_config.NumberColumn("Facts", format="percent", help="Facts copied exactly."),
    "tokens": st.column_config.NumberColumn("Tokens", format="%.0f", help="A draft, on average."),
    "latency_ms": st.column_config.NumberColumn("Latency, ms", format="%.0f", help="Of one draft, where measured."),
    "to_experiment": st.column_config.CheckboxColumn("Experiment", help="Worth an experiment."),
    "why": st.column_config.TextColumn("Why", width="large"),
}


def _between(low: Any, high: Any) -> str:
    return "" if pd.isna(low) or pd.isna(high) else f"{percent(low)} to {percent(high)}"


@st.dialog(
    "Try several side by side", icon=":material/alt_route:", width="medium", position="right", on_dismiss=recipes.close
)
def new_tracks(loop: runtime.Loop) -> None:
    """Recipes by designs by parts of the answers; checked, then started together."""
    writers = [recipe for recipe, card in RECIPES.items() if card.makes is Role.WRITER]
    designs = names_of(loop.loop_id)
    name = st.text_input("Name", f"Tracks of {utcnow():%b %-d, %H:%M}", key="tracks_name", max_chars=80)
    chosen = st.pills(
        "Recipes", writers, selection_mode="multi", default=writers[:1], key="tracks_recipes",
        format_func=lambda recipe: RECIPES[recipe].title, help="Each becomes a track, or several.",
    )  # fmt: skip
    rows = st.pills(
        "Rows to learn from, at most", ROWS, selection_mode="multi", default=[50, 100], key="tracks_rows",
        help="Each becomes a track of its own: how much does more data pay?",
    )  # fmt: skip
    asked_designs = st.multiselect(
        "Reward designs", list(designs), [LIVE], format_func=lambda ref: designs.get(ref, ref), key="tracks_designs",
        help="Only recipes that a design shapes are multiplied by them.",
    )  # fmt: skip
    preset = st.segmented_control(
        "How much care", list(Preset), format_func=PRESET_TITLES.__getitem__, default=Preset.QUICK, required=True,
        key="tracks_preset",
    )  # fmt: skip
    least, seeds = _rarer()
    with cards.polite("They cannot start like this"):
        plan = plan_from(
            {
                "name": name,
                "recipes": [str(recipe) for recipe in chosen],
                "designs": asked_designs,
                "cuts": [{"max_rows": n} | ({"min_reward": least} if least else {}) for n in rows],
                "seeds": list(range(seeds)),
                "preset": str(preset),
            }
        )
        _start(loop, plan)


def _rarer() -> tuple[float, int]:
    """The two settings that few ask for: a least reward, and seeds."""
    with st.expander("More", icon=":material/tune:"):
        least = st.slider(
            "Least reward of a draft", 0.0, 1.0, 0.0, 0.05, key="tracks_least",
            help="Only answers to drafts that earned this under the design. 0 asks for none.",
        )  # fmt: skip
        seeds = st.slider("Seeds", 1, 5, 1, key="tracks_seeds", help="The same track again: how much is luck?")
    return least, seeds


def _start(loop: runtime.Loop, plan: SweepPlan) -> None:
    """What would start, with what is short, and the button."""
    if len(plan.designs) > 1 and not any(is_shaped(recipe, cut) for recipe in plan.recipes for cut in plan.cuts):
        st.caption("No recipe chosen here asks a design, so several designs make no further tracks.")
    planned: list[Planned] = runtime.read(preview_sweep, loop.loop_id, plan)
    able = [track for track in planned if track.objection is None]
    rows = [(track.label, track.n_train, sentence(track.objection or "")) for track in planned]
    st.dataframe(
        pd.DataFrame(rows, columns=["Track", "Rows", "What is short"]),
        hide_index=True,
        alt="What would start, and what is short",
    )
    _time(loop, plan, planned)
    bar = st.empty()
    if st.button(
        f"Start {counted(len(able), 'track')}", type="primary", icon=":material/play_arrow:", width="stretch",
        key="tracks_start", disabled=not able,
    ):  # fmt: skip
        tell = patient(bar)
        sweep_id = start_sweep(runtime.store(), runtime.place(), loop.loop_id, plan, utcnow(), on_progress=tell)
        recipes.close()
        st.query_params.update({"sweep": sweep_id, "view": "Tracks"})
        st.rerun()


def _time(loop: runtime.Loop, plan: SweepPlan, planned: list[Planned]) -> None:
    """How long all of them take, one after another."""
    seconds = 0.0
    for track, told in zip(tracks_of(plan), planned, strict=True):
        if told.objection is None and told.n_train and told.n_heldout:
            config = configured(track.recipe, plan.preset, plan.changes)
            guess = recipes.ahead(loop.loop_id, track.recipe, config, told.n_train, told.n_heldout)
            seconds += guess.seconds if guess else 0.0
    if seconds:
        st.caption(
            f":material/schedule: About {in_words(seconds)} one after another. At most {MAX_TRACKS} tracks go side by "
            "side; how many train at once is set in Queue."
        )
