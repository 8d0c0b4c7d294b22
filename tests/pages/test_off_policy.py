"""Off-policy preview: apart from what is exact, an estimate with what stands behind it, or why there is none."""

from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from tests.pages.test_every_page import said

Visit = Callable[..., AppTest]


def test_the_page_says_on_top_that_it_estimates_choices_that_were_not_made(full: Path, visit: Visit) -> None:
    app = visit("off_policy")
    assert not app.exception
    assert not app.error
    assert "An estimate about choices that were not made" in app.markdown[0].value
    assert "Synthetic demo data" in said(app)
    assert "are simulated" in said(app)
    labels = {metric.label: metric.value for metric in app.metric}
    assert float(labels["Effective users"]) > 10
    assert "would have earned about" in said(app)


def test_a_link_opens_its_policy_and_the_editor_writes_the_link(full: Path, visit: Visit) -> None:
    app = visit("off_policy", policy="mix:base=0.25,scribe-1=0.75")
    assert app.selectbox(key="policy_form").value == "mix"
    assert app.number_input(key="mix_scribe-1").value == 0.75
    app.selectbox(key="policy_form").set_value("always").run()
    app.selectbox(key="always").set_value("base").run()
    assert not app.exception
    assert app.query_params["policy"] in ("always:base", ["always:base"])
    assert "Always base would have earned" in said(app).replace("\\", "")


def test_a_router_by_region_has_a_rule_for_each_region_and_the_rest(full: Path, visit: Visit) -> None:
    app = visit("off_policy", policy="region:north=base,*=scribe-1")
    assert app.selectbox(key="region_north").value == "base"
    assert app.selectbox(key="region_rest").value == "scribe-1"
    assert not app.exception


def test_too_little_to_go_by_is_a_sentence_and_only_the_model_guesses(full: Path, visit: Visit) -> None:
    """28 physicians are few: half of them learn the router, and what is left is under the threshold."""
    app = visit("off_policy", policy="best:region")
    assert not app.exception
    assert ":orange[Not identified]" in [header.value for header in app.header]
    words = said(app).replace("\\", "")
    assert "effective users" in words or "No overlap" in words
    assert "unchecked by any weights" in words


def test_a_broken_link_and_an_unknown_version_are_sentences(full: Path, visit: Visit) -> None:
    app = visit("off_policy", policy="sometimes")
    assert not app.exception
    assert "is no policy" in app.warning[0].value.replace("\\", "")
    app = visit("off_policy", policy="always:scribe-9")
    assert not app.exception
    assert app.selectbox(key="always").value in ("base", "scribe-1")


def test_a_mixture_of_nothing_is_a_sentence(full: Path, visit: Visit) -> None:
    app = visit("off_policy", policy="mix:base=1,scribe-1=1")
    app.number_input(key="mix_base").set_value(0.0).run()
    app.number_input(key="mix_scribe-1").set_value(0.0).run()
    assert not app.exception
    assert "gives no variant a share" in app.error[0].value.replace("\\", "")


def test_a_slide_keeps_the_policy_of_its_link(full: Path, visit: Visit) -> None:
    app = visit("off_policy", present="1", policy="always:base")
    assert not app.exception
    assert not app.selectbox
    assert "Leave presentation" in [button.label for button in app.button]
    assert "Always base" in said(app).replace("\\", "")


def test_the_design_of_the_link_rewards_and_an_unknown_one_is_a_sentence(full: Path, visit: Visit) -> None:
    app = visit("off_policy", policy="always:base", design="price")
    assert app.selectbox(key="design_pick").value == "price"
    assert not app.exception
    app = visit("off_policy", policy="always:base", design="nobody")
    assert "No reward design is called 'nobody'" in app.error[0].value.replace("\\", "")
    assert not app.exception
