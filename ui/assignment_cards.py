"""How an experiment deals its users: policy, layer, holdout, targeting, and who really met which variant."""

from typing import Any

import pandas as pd
import streamlit as st

from organism.experiment.assignment_state import AssignmentState, read_assignment_state
from organism.experiment.thompson import Policy
from organism.store.layers import in_words
from ui import cards, runtime
from ui.words import literal, percent

POLICIES = {Policy.HASH: "Fixed shares", Policy.THOMPSON: "Thompson"}


def assignment_card(experiment_id: str) -> None:
    """The card: what is dealt in words, four figures, a row a variant."""
    state = runtime.read(read_assignment_state, experiment_id)
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.header("Assignment", anchor=False, width="stretch")
            cards.csv_button(variants_table(state), f"assignment_{experiment_id}")
        st.caption(literal(state.sentence))
        _figures(state)
        st.dataframe(
            variants_table(state),
            hide_index=True,
            alt=f"By variant: planned share, users assigned and users who met it. {state.sentence}",
            column_config=_columns(),
        )


def variants_table(state: AssignmentState) -> pd.DataFrame:
    """A row a variant: Variant, Planned share, Dealt now (Thompson sampling only), and its users."""
    made = pd.DataFrame(
        [
            (
                *(one.variant, one.share, one.n_assigned, one.n_exposed, one.n_strayed, one.n_unassigned),
                one.mean_probability,
            )
            for one in state.variants
        ],
        columns=[
            *("Variant", "Planned share", "Assigned", "Met it", "Assigned another", "Without an assignment"),
            "Mean probability",
        ],
    )
    if state.dealt is not None:
        made.insert(2, "Dealt now", list(state.dealt))
    return made


def _figures(state: AssignmentState) -> None:
    policy, layer, covered, held = st.columns(4)
    with policy:
        cards.vital(
            "Policy",
            POLICIES.get(Policy(state.policy), state.policy),
            "How a new user's variant is drawn: by the planned shares, or (Thompson sampling) by each variant's chance "
            "to be the best so far. Whoever has a variant keeps it, and the probability of every draw is on record. "
            f"The hash is seeded with {state.salt!r}.",
        )
    with layer:
        cards.vital("Layer", _layer(state), _layer_help(state))
    with covered:
        cards.vital(
            "Open to",
            percent(state.covered),
            f"The share of the loop's users that the layer's range and the holdout leave. Targeted: {state.targeting}.",
        )
    with held:
        cards.vital(
            "Holdout",
            percent(state.holdout),
            "The share of the loop's users who take part in no experiment, so that the sum of all can be judged. Set "
            "it with `organism holdout --share 0.05 --by NAME`.",
        )


def _layer(state: AssignmentState) -> str:
    if state.layer is None or state.layer_range is None:
        return "None"
    return f"{state.layer} {in_words([state.layer_range])}"


def _layer_help(state: AssignmentState) -> str:
    if state.layer is None:
        return "Without a layer the experiment may share users with others. In one layer no user is in two experiments."
    free = in_words(state.layer_free) or "nothing"
    others = ", ".join(f"{slot.experiment} {in_words([slot[2:]])}" for slot in state.layer_slots) or "nobody"
    return f"The part of the layer's hash that this experiment draws from. Running in it: {others}. Free: {free}."


def _columns() -> dict[str, Any]:
    number, share = st.column_config.NumberColumn, st.column_config.NumberColumn
    return {
        "Planned share": share(format="percent", help="As the plan says"),
        "Dealt now": share(format="percent", help="What the next new user gets, from what users answered so far"),
        "Assigned": number(help="Users with this variant on record"),
        "Met it": number(help="Users to whom it was really served: recorded exposures and interactions, counted once"),
        "Assigned another": number(help="Of those, users who were assigned another variant; they are in no figure"),
        "Without an assignment": number(
            help="Of those, users whom nobody assigned; they count here, unless they met another variant too"
        ),
        "Mean probability": number(format="%.3f", help="What its users' draws were logged with, on average"),
    }
