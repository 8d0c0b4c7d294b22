"""The dialogs that start a fine-tune: what should get better, the recipe that answers it, a preset, and start."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from organism.config import utcnow
from organism.digest.designs_flow import LIVE, find_design
from organism.digest.training_set_flow import Preview
from organism.errors import OrganismError
from organism.launch import launch, look, readiness
from organism.optimize.catalog import PRESET_TITLES, RECIPES, Knob, RecipeCard, configured
from organism.optimize.configs import TrainingConfig, config_of
from organism.optimize.estimate import Estimate, estimate_ahead
from organism.optimize.flow import clone_run, named
from organism.optimize.goals import Goal, offered, suggest
from organism.optimize.sweeps import Cut, is_shaped
from organism.records import DatasetKind, Preset, Recipe
from organism.store.database import Store
from organism.store.training_runs import TrainingRun, read_run
from ui import cards, runtime
from ui.designs import names_of
from ui.set_builder import patient
from ui.token_preview import token_preview
from ui.words import counted, literal, sentence

FORM = "run_form"
NEW = "new"
KINDS = {
    DatasetKind.SFT: ("text", "expert texts"),
    DatasetKind.PREFERENCE: ("pair", "preference pairs"),
    DatasetKind.UNPAIRED: ("labeled draft", "labeled drafts"),
}
ROWS = Knob("max_rows", "Rows to learn from, at most", "The newest answers of users who consented.", ())


def ask(form: str) -> None:
    """Open a form: NEW, or the id of the run to clone. It stays open through reruns until it is dismissed or done."""
    st.session_state[FORM] = form


def close() -> None:
    """Nothing is asked any more."""
    st.session_state.pop(FORM, None)


def opened_form(loop: runtime.Loop) -> None:
    """The form that was asked for, if one was."""
    if (form := st.session_state.get(FORM)) == NEW:
        new_run(loop)
    elif form:
        clone(form)


@st.dialog("New fine-tune", icon=":material/model_training:", width="medium", position="right", on_dismiss=close)
def new_run(loop: runtime.Loop) -> None:
    """Goal, recipe with its reason, preset, start; the knobs behind an expander."""
    goals = offered()
    goal = st.selectbox(
        "What should get better?", list(goals), format_func=lambda goal: goals[goal].title, key="run_goal"
    )
    goal = goal or Goal.WRITE
    advice = suggest(goal, lambda recipe: _objection(loop.loop_id, recipe))
    recipe = _recipe(goal, advice.recipe)
    card = RECIPES[recipe]
    if recipe is advice.recipe:
        st.markdown(f"**Suggested.** {literal(advice.sentence)}")
    st.caption(f"{literal(card.sentence)} It learns from {literal(card.learns_from)}.")
    preset = Preset(
        st.segmented_control(
            "How much care", list(Preset), format_func=PRESET_TITLES.__getitem__, default=Preset.QUICK, required=True,
            key="run_preset", help="A look in about a minute, a solid run, or a careful one that may take many.",
        )
    )  # fmt: skip
    design = _design(loop.loop_id, recipe)
    with st.expander("Knobs", icon=":material/tune:"):
        max_rows = _rows(card, preset)
        changes = knobs(card, configured(recipe, preset), f"{recipe}_{preset}") | _base(configured(recipe, preset).base)
    name = st.text_input("Name", key="run_name", placeholder="Named after what it makes", max_chars=80)
    with cards.polite("It cannot start like this"):
        terms = {"changes": changes, "max_rows": max_rows, "design": runtime.read(find_design, loop.loop_id, design)}
        found: Preview = runtime.read(ready, loop.loop_id, recipe, preset, design, max_rows)
        data_check(found, card)
        foreseen(loop.loop_id, recipe, configured(recipe, preset, changes), found)
        _start(loop.loop_id, recipe, preset, terms, name, found)


def _start(loop_id: str, recipe: Recipe, preset: Preset, terms: Mapping[str, Any], name: str, found: Preview) -> None:
    """The rows as the model would see them, and the button."""
    if found.objection is None:
        _seen(loop_id, recipe, preset, terms)
    start = st.button(
        "Start", type="primary", icon=":material/play_arrow:", width="stretch", key="run_start",
        disabled=found.objection is not None,
    )  # fmt: skip
    bar = st.empty()
    if start:
        launched = launch(
            runtime.store(), runtime.place(), loop_id, recipe, preset, **terms, name=named(name), now=utcnow(),
            on_progress=patient(bar),
        )  # fmt: skip
        _go_to(launched.run_id)


@st.dialog("Clone with changes", icon=":material/content_copy:", width="medium", position="right", on_dismiss=close)
def clone(run_id: str) -> None:
    """The same rows, the same recipe, other knobs."""
    with cards.polite("Not cloned"):
        run = runtime.read_with_runs(read_run, run_id)
        recipe = Recipe(run.recipe)
        st.caption("A clone learns from the very same rows, so what differs comes from what you change.")
        changes = knobs(RECIPES[recipe], config_of(recipe, run.config), f"clone_{run_id}")
        changes["seed"] = int(st.number_input("Seed", 0, 10_000, int(run.config["seed"]), key=f"clone_seed_{run_id}"))
        name = st.text_input("Name", key="clone_name", placeholder=_next_name(run), max_chars=80)
        if st.button("Start the clone", type="primary", icon=":material/play_arrow:", key="clone_start"):
            _go_to(clone_run(runtime.store(), runtime.place(), run_id, changes, name=named(name), now=utcnow()))


def knobs(card: RecipeCard, config: TrainingConfig, key: str) -> dict[str, Any]:
    """The few knobs of a recipe, each with its reason; returns those that were moved."""
    changed: dict[str, Any] = {}
    for knob in card.knobs:
        now = getattr(config, knob.name)
        steps = sorted({*knob.choices, now} - {None})
        value = st.select_slider(
            knob.label, steps, now, format_func=lambda step: f"{step:g}", help=knob.help, key=f"knob_{key}_{knob.name}"
        )
        if value != now:
            changed[knob.name] = value
    return changed | ({"lora_alpha": 2 * changed["lora_r"]} if "lora_r" in changed else {})


def ready(store: Store, loop_id: str, recipe: Recipe, preset: Preset, design: str, max_rows: int | None) -> Preview:
    """What the recipe would learn from now; a question for `runtime.read`."""
    return readiness(store, loop_id, recipe, preset, design=find_design(store, loop_id, design), max_rows=max_rows)


def data_check(found: Preview, card: RecipeCard) -> None:
    """Whether there is enough to learn from, in a sentence, and what was left out."""
    one, _ = KINDS[card.kind]
    if found.objection:
        st.warning(literal(sentence(found.objection)), title="Not enough to learn from yet", icon=":material/database:")
    else:
        st.success(
            f"{counted(found.n_train, one)} of {counted(found.n_users_train, 'user')} to learn from, "
            f"{found.n_heldout:,} of {found.n_users_heldout:,} others held out to judge by.",
            icon=":material/database:",
        )
    if found.dropped:
        with st.expander(f"{sum(found.dropped.values()):,} drafts are left out"):
            st.dataframe(
                [{"Why": reason, "Drafts": n} for reason, n in found.dropped.items()],
                hide_index=True,
                alt="Why drafts are left out",
            )


def foreseen(loop_id: str, recipe: Recipe, config: TrainingConfig, found: Preview) -> None:
    """What the run will take, with how far that may be off."""
    if found.objection:
        return
    guess = ahead(loop_id, recipe, config, found.n_train, found.n_heldout)
    if guess is None:
        st.caption(":material/schedule: How long it takes was not measured for this recipe.")
        return
    cost = "" if guess.cost_usd is None else f" At the stated price: ${guess.cost_usd:.2f}."
    st.caption(f":material/schedule: {literal(guess.sentence)}{literal(cost)}")


def ahead(loop_id: str, recipe: Recipe, config: TrainingConfig, n_train: int, n_heldout: int) -> Estimate | None:
    """What a run of this size will take, read once until the data changes; None where nobody measured it."""
    try:
        found: Estimate = runtime.read(_ahead, loop_id, recipe, config, n_train, n_heldout)
    except OrganismError:
        return None
    return found


def _ahead(
    store: Store, loop_id: str, recipe: Recipe, config: TrainingConfig, n_train: int, n_heldout: int
) -> Estimate:
    sizes = {"n_train": n_train, "n_heldout": n_heldout}
    return estimate_ahead(store, runtime.place(), loop_id, recipe, config, **sizes)


def _seen(loop_id: str, recipe: Recipe, preset: Preset, terms: Mapping[str, Any]) -> None:
    """Exactly what the model would see, on request: a child process reads the rows with the base's tokenizer."""
    with st.expander("What the model sees", icon=":material/visibility:"):
        about = f"{loop_id} {recipe} {preset} {terms}"
        if st.button("Show the first rows", key="run_look", help="Takes a few seconds; freezes the training set."):
            with st.spinner("Reading the rows as the model would ..."):
                found = look(runtime.store(), runtime.place(), loop_id, recipe, preset, **terms, now=utcnow())
            st.session_state["run_seen"] = (about, found)
        shown, found = st.session_state.get("run_seen", (None, None))
        if found is not None and shown == about:
            token_preview(found)


def _objection(loop_id: str, recipe: Recipe) -> str | None:
    """What is short for the quickest preset of a recipe; None when nothing is."""
    try:
        found: Preview = runtime.read(ready, loop_id, recipe, Preset.QUICK, LIVE, None)
    except OrganismError as error:
        return str(error)
    return found.objection


def _recipe(goal: Goal, suggested: Recipe) -> Recipe:
    names: Mapping[Recipe, str] = {recipe: card.title for recipe, card in RECIPES.items()}
    listed = list(names)
    return Recipe(
        st.selectbox(
            "Recipe", listed, listed.index(suggested), format_func=names.__getitem__, key=f"run_recipe_{goal}",
            help="How the model learns. The suggestion follows what should get better and what data there is.",
        )
    )  # fmt: skip


def _design(loop_id: str, recipe: Recipe) -> str:
    """Under which design the recipe learns; the live one where no design shapes it."""
    if not is_shaped(recipe, Cut()):
        return LIVE
    names = names_of(loop_id)
    chosen = st.selectbox(
        "Reward design", list(names), format_func=lambda ref: names.get(ref, ref), key="run_design",
        help="What counts as good while this recipe learns: the same design that scores the history.",
    )  # fmt: skip
    return chosen or LIVE


def _rows(card: RecipeCard, preset: Preset) -> int | None:
    """The knob of every recipe; None leaves the preset's figure."""
    usual = card.presets[preset].max_rows
    steps = sorted({25, 50, 100, 200, 400, 800, 1000, 2000, 5000, usual})
    chosen = st.select_slider(
        ROWS.label, steps, usual, format_func=lambda n: f"{n:,}", help=ROWS.help, key=f"rows_{card.recipe}_{preset}"
    )
    return None if chosen == usual else int(chosen)


def _base(usual: str) -> dict[str, str]:
    """Another base, where one is named."""
    named_base = st.text_input(
        "Base model", usual, key="run_base", help="The shipped one, a folder on this machine, or a hub id that is here."
    )  # fmt: skip
    return {} if named_base.strip() in ("", usual) else {"base": named_base.strip()}


def _next_name(run: TrainingRun) -> str:
    return f"Named after {run.name}" if run.name else "Named after what it makes"


def _go_to(run_id: str) -> None:
    close()
    st.query_params.update({"run": run_id, "view": "Runs"})
    st.rerun()
