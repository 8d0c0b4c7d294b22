"""Is this the right reward?: the answer first, the audit by version, designs by link, and what bad input is told."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
from streamlit.testing.v1 import AppTest

from organism.digest.design_files import to_link
from organism.digest.designs import DEFAULT_DESIGN
from organism.records import RewardDesign, SignalSpec
from organism.store.loops import ensure_loop
from tests.organism.conftest import START, Events
from tests.organism.digest.served_clinic import serve
from tests.organism.digest.simulated_rows import clinic
from tests.pages.test_every_page import said
from ui import runtime

Visit = Callable[..., AppTest]


def fill(rows: pd.DataFrame, *, outcomes: bool = True) -> None:
    """Write simulated rows into the workspace that the pages look at."""
    store = runtime.store()
    serve(Events(store, loop_id=ensure_loop(store, "notes", START)), rows, outcomes=outcomes)


def verdicts(app: AppTest) -> dict[str, str]:
    """The badge of each audit card by its title."""
    titles = [header.value for header in app.header if " against " in header.value]
    badges = [m.value for m in app.markdown if "-badge[" in m.value and "Synthetic" not in m.value]
    cards = [b for b in badges if any(word in b for word in ("suspected", "Clean", "Warning", "Cannot say"))]
    return dict(zip(titles, cards, strict=True))


def test_a_hack_is_named_in_the_banner_and_on_its_card_and_a_clean_version_is_not(empty: Path, visit: Visit) -> None:
    fill(clinic(0, n_users=24))
    app = visit("reward_check")
    assert not app.exception
    assert not app.error
    text = said(app)
    assert "brief (hack suspected)" in text.replace("\\", "")
    assert "after the fact" in text
    found = verdicts(app)
    assert "Hack suspected" in found["brief against base"]
    assert "Clean" in found["clean against base"]
    assert "simulated" in text, "the rows say that they are synthetic"
    assert "has the largest share of the reward's variance between users" in text


def test_the_full_demo_turn_is_answered_with_rules_and_charts(full: Path, visit: Visit) -> None:
    app = visit("reward_check")
    assert not app.exception
    assert app.header[0].value.split("[")[0] in (":green", ":orange", ":red", ":gray")
    assert "the first that fits" in said(app)
    assert "scribe\\-1 against base" in [header.value for header in app.header]
    assert "not enough deployments to judge" in said(app)


def test_a_draft_by_link_is_judged_and_not_the_live_design(empty: Path, visit: Visit) -> None:
    fill(clinic(0, n_users=24))
    draft = RewardDesign(name="written only", signals=(SignalSpec("written_share", 1.0, 0.0, 1.0),))
    app = visit("reward_check", draft=to_link(draft))
    assert app.selectbox(key="design_pick").value == "draft"
    assert draft.id in said(app)
    app.selectbox(key="design_pick").set_value("price").run()
    assert not app.exception
    assert draft.id not in said(app)
    assert app.query_params["design"] == "price"


def test_broken_links_and_designs_that_cannot_score_are_one_sentence(empty: Path, visit: Visit) -> None:
    fill(clinic(0, n_users=3))
    broken = visit("reward_check", draft="not-a-design")
    assert not broken.exception
    assert "link" in broken.error[0].value
    unknown = visit("reward_check", design="v9")
    assert "no reward design is called" in unknown.error[0].value.replace("\\", "").lower()
    zero = replace(DEFAULT_DESIGN, signals=tuple(s._replace(weight=0.0) for s in DEFAULT_DESIGN.signals))
    weightless = visit("reward_check", draft=to_link(zero))
    assert not weightless.exception
    assert "positive weight" in weightless.error[0].value


def test_no_outcomes_and_one_user_are_sentences_and_no_complaint(empty: Path, visit: Visit) -> None:
    rows = clinic(0, n_users=1)
    fill(rows[rows["variant"] == "base"].assign(**{"answer.quality": float("nan")}), outcomes=False)
    app = visit("reward_check")
    assert not app.exception
    assert not app.error
    text = said(app).replace("\\", "")
    assert "no outcome and no human judgment has come in" in text
    assert "one version only" in text


def test_a_signal_that_predicts_the_opposite_is_named(empty: Path, visit: Visit) -> None:
    fill(clinic(0, n_users=24))
    wrong = RewardDesign(name="wrong", signals=(SignalSpec("written_share", 1.0, 1.0, 0.0),))
    app = visit("reward_check", draft=to_link(wrong))
    assert not app.exception
    text = said(app).replace("\\", "")
    assert "**Predicts the opposite.** Within versions more of the reward goes with less of signed" in text
    assert "Predicts the opposite: written_share." in text


def test_another_outcome_is_picked_for_calibration_and_signals(empty: Path, visit: Visit) -> None:
    fill(clinic(0, n_users=24))
    app = visit("reward_check")
    assert "Mean signed:" in said(app).replace("\\", "")
    app.segmented_control(key="outcome").set_value("answer.quality").run()
    assert not app.exception
    assert "Mean quality:" in said(app).replace("\\", "")
