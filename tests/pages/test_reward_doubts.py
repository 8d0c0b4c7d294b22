"""Under a lead stands what speaks against it: a suspicion of the audit, and that nothing was compared side by side."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from streamlit.testing.v1 import AppTest

from organism.digest.flow import live_design
from organism.digest.validity_flow import audit_versions
from organism.store.loops import ensure_loop
from tests.organism.conftest import START
from tests.organism.digest.simulated_rows import clinic, served
from tests.pages.test_every_page import said
from tests.pages.test_reward_check import fill
from ui import runtime
from ui.reward_doubts import side_by_side, suspicion

Visit = Callable[..., AppTest]


def test_a_winner_that_the_audit_suspects_is_warned_of_with_a_link_to_the_audit(empty: Path, visit: Visit) -> None:
    rows = clinic(0, n_users=24)
    fill(rows[rows["variant"] != "clean"])
    app = visit("reward", w_price="0.9")
    assert not app.exception
    assert next(found.value for found in app.metric if found.label == "Would win") == "brief"
    assert [box.value for box in app.warning] == [
        "The audit suspects that brief earns its reward by offering less\\: signed and quality fell\\."
    ]
    assert "No experiment ran brief and base side by side" in said(app)


def test_a_version_that_an_experiment_found_better_is_not_warned_of(full: Path, visit: Visit) -> None:
    app = visit("reward")
    assert not app.exception
    assert not app.warning
    assert "side by side" not in said(app)


def test_a_suspicion_names_only_what_fell(empty: Path) -> None:
    fill(clinic(0, n_users=24))
    store = runtime.store()
    loop_id = ensure_loop(store, "notes", START)
    found = next(a for a in audit_versions(store, loop_id, live_design(store, loop_id)) if a.variant == "brief")
    bare = found._replace(checks=[])
    assert suspicion(bare) == "The audit suspects that brief earns its reward by something other than being better."


def test_only_an_experiment_that_began_and_had_both_sides_compares_them() -> None:
    began, not_yet = pd.Timestamp("2026-11-01"), pd.NaT
    rows = [("base", "scribe-1", began), ("scribe-1", "scribe-2", not_yet)]
    experiments = pd.DataFrame(rows, columns=["control", "treatment", "started_at"])
    assert side_by_side(experiments, "scribe-1", "base")
    assert not side_by_side(experiments, "scribe-1", "scribe-2")
    assert not side_by_side(experiments, "base", "scribe-2")


def test_who_is_beaten_on_average_only_is_not_said_to_be_beaten_in_everything(empty: Path, visit: Visit) -> None:
    rng = np.random.default_rng(0)
    tuned = served("tuned", rng, better=0.01, n_users=24).assign(cost_usd=1e-5, latency_ms=100.0)
    fill(pd.concat([served("base", rng, n_users=24), tuned]))
    text = said(visit("reward", view="Trade-offs"))
    assert "on average base is beaten in everything, though not surely in quality; worth weighing: tuned." in text
