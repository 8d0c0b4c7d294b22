"""A design as a file or a link: the same recipe comes back, and a bad text is one sentence that names the place."""

import base64
import json
import re
import tomllib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.scribe.first_design import FIRST_DESIGN
from organism.digest.design_files import (
    MAX_LINK,
    Form,
    form_of,
    from_document,
    from_json,
    from_link,
    from_toml,
    from_weights,
    has_weights_only,
    parse,
    to_json,
    to_link,
    to_toml,
)
from organism.digest.designs import DEFAULT_DESIGN, group_weights
from organism.errors import DesignError, InputError
from organism.records import Constraint, RewardDesign, SignalSpec

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).map(str.strip)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**9), 10**9)
signals = st.builds(SignalSpec, words, numbers, numbers, numbers, st.none() | st.floats(0, 1))
guardrails = st.builds(Constraint, words, st.none() | numbers, st.none() | numbers)
designs = st.builds(
    RewardDesign,
    name=words,
    signals=st.lists(signals, min_size=1, max_size=5).map(tuple),
    constraints=st.lists(guardrails, max_size=3).map(tuple),
    note=words,
    author=words,
)


@given(designs)
def test_toml_json_and_links_give_the_same_design_back(made):
    for back in (from_toml(to_toml(made)), from_json(to_json(made)), from_link(to_link(made))):
        assert back == made
        assert back.id == made.id


def sentence_of(read, text: str) -> str:
    try:
        return read(text).id
    except InputError as error:
        return str(error)


@given(st.text(max_size=200) | st.binary(max_size=60).map(lambda b: base64.urlsafe_b64encode(b).decode().rstrip("=")))
def test_any_text_is_a_design_or_one_sentence(text):
    said = [sentence_of(read, text) for read in (from_toml, from_json, from_link)]
    assert not [sentence for sentence in said if "\n" in sentence]


def test_toml_is_readable_and_says_how_to_use_it():
    text = to_toml(DEFAULT_DESIGN)
    assert text.startswith(f"# Reward design {DEFAULT_DESIGN.id}")
    assert "organism reward what-if" in text
    assert tomllib.loads(text)["signals"][1] == {
        "signal": "cost_usd",
        "weight": 0.2,
        "worst": 0.0004,
        "best": 0.0001,
    }
    guarded = RewardDesign(name="g", signals=DEFAULT_DESIGN.signals, constraints=(Constraint("accepted", 0.5),))
    assert "may not win" in to_toml(guarded)
    assert tomllib.loads(to_toml(guarded))["constraints"] == [{"signal": "accepted", "at_least": 0.5}]


def test_the_id_in_a_file_is_not_believed():
    changed = json.loads(to_json(DEFAULT_DESIGN))
    changed["signals"][0]["weight"] = 0.9
    assert from_json(json.dumps(changed)).id not in (changed["reward_design_id"], DEFAULT_DESIGN.id)


GOOD = to_toml(DEFAULT_DESIGN)


@pytest.mark.parametrize(
    ("pattern", "instead", "said"),
    [
        (r"weight = 0.15", 'weight = "high"', r"number 1 \(accepted\): weight is the text 'high'; wanted a number"),
        (r"weight = 0.15", "weight = true", r"weight is true; wanted a number"),
        (r"weight = 0.15", "wieght = 0.2", r"number 1 has the unknown key 'wieght'; did you mean weight\?"),
        (r"worst = 0.0\n", "", r"signals, number 1 lacks worst"),
        (r"weight = 0.15", "weight = ", r"is not TOML: .*line 14"),
        (r"weight = 0.15", "weight = 0.2\nweight = 0.3", r"is not TOML: .*line 15"),
        (r"weight = 0.15", "weight = 1" + "0" * 400, r"weight is a number of 401 digits"),
        (r"weight = 0.15", "weight = 1" + "0" * 5000, r"is not TOML"),
        (r"weight = 0.15", "weight = 0x" + "f" * 5000, r"weight is a number of 6,021 digits"),
        (r'name = ".*?"', "name = 0x" + "f" * 5000, r"name is a number of 6,021 digits; wanted text"),
        (r'signal = "accepted"', "signal = 3", r"signals, number 1: signal is 3; wanted text"),
        (r'name = ".*?"', "name = 3", r"d.toml: name is 3; wanted text"),
        (r'name = ".*?"', 'title = "x"', r"unknown key 'title'"),
        (r"(?s)\[\[signals.*", "", r"has no signals"),
        (r"(?s)\[\[signals.*", "signals = 3", r"signals is 3; wanted a list"),
        (r"(?s)\[\[signals.*", "signals = [3]", r"signals, number 1 is 3; wanted named fields"),
        (r"(?s)\[\[signals.*", "[signals.accepted]\nweight = 1", r"signals is a table; wanted a list"),
        (r"\Z", "\n[[constraints]]\nat_least = 1", r"constraints, number 1 lacks signal"),
        (r"\Z", '\n[[constraints]]\nsignal = "error"\nat_most = "few"', r"at_most is the text 'few'"),
        (r"\Z", '\n[[constraints]]\nsignal = "error"\nmost = 1', r"unknown key 'most'; did you mean at_most\?"),
    ],
)
def test_a_bad_file_is_one_sentence_with_its_line_or_field(pattern, instead, said):
    text = re.sub(pattern, instead, GOOD, count=1)
    assert text != GOOD
    with pytest.raises(InputError, match=said) as raised:
        from_toml(text, "d.toml")
    assert str(raised.value).startswith("d.toml")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON: .*line 1"),
        ("", "is not JSON"),
        ("[1]", "the body is a list; wanted one JSON object"),
        ("null", "the body is empty; wanted one JSON object"),
        ('{"signals": [], "signals": []}', "says 'signals' twice"),
        ('{"signals": null}', "signals is empty; wanted a list"),
        ('{"signals": [], "name": null}', "name is empty; wanted text"),
        ('{"signals": [], "name": "\\ud800"}', "half of a character"),
        ('{"a":' * 9000, "nested|recursion|longer"),
        ("{" + " " * 70_000 + "}", "longer than 64 KB"),
    ],
)
def test_bad_json_is_one_sentence(text, said):
    with pytest.raises(InputError, match=said):
        from_json(text, "the body")


def test_a_listed_design_is_read_back_but_weights_by_group_are_not_obeyed_in_silence():
    listed = {"version": 3, "weights": group_weights(DEFAULT_DESIGN), **json.loads(to_json(DEFAULT_DESIGN))}
    assert from_document(listed).id == DEFAULT_DESIGN.id
    with pytest.raises(InputError, match="change the weight of each signal"):
        from_document({**listed, "weights": {"price": 1.0}})


def test_a_name_may_be_left_out_of_a_draft_and_a_mark_of_windows_does_no_harm():
    assert from_document({"signals": []}).name == "draft"
    assert from_toml("\ufeff" + GOOD.replace("\n", "\r\n")).id == DEFAULT_DESIGN.id
    assert form_of("\ufeff\n {") is Form.JSON
    assert form_of(GOOD) is form_of("[[signals]]") is Form.TOML


def test_three_weights_move_the_live_design():
    found = parse('{"price": 0.9, "note": "cheaper"}', Form.JSON)
    assert has_weights_only(found)
    assert not has_weights_only({"note": "x"})
    moved = from_weights(found, DEFAULT_DESIGN)
    assert group_weights(moved) == pytest.approx({"price": 0.9, "performance": 0.2, "quality": 0.6})
    assert (moved.name, moved.note) == (DEFAULT_DESIGN.name, "cheaper")
    assert "weight = 0.266667\n" in to_toml(from_weights({"quality": 0.8}, FIRST_DESIGN)), "six digits read well"
    with pytest.raises(InputError, match="price is the text 'high'; wanted a number"):
        from_weights({"price": "high"}, DEFAULT_DESIGN)
    with pytest.raises(DesignError, match="the weight of price is -1"):
        from_weights({"price": -1}, DEFAULT_DESIGN)
    with pytest.raises(InputError, match="unknown key 'prize'"):
        from_weights({"price": 1, "prize": 1}, DEFAULT_DESIGN)


def test_a_link_is_short_safe_in_an_address_and_always_the_same():
    link = to_link(DEFAULT_DESIGN)
    assert re.fullmatch(r"[A-Za-z0-9_-]{100,600}", link)
    assert link == to_link(DEFAULT_DESIGN)


def test_a_broken_link_is_one_sentence():
    link = to_link(DEFAULT_DESIGN)
    bomb = base64.urlsafe_b64encode(zlib.compress(b" " * 10_000_000, 9)).decode().rstrip("=")
    assert len(bomb) > MAX_LINK / 2
    small_bomb = base64.urlsafe_b64encode(zlib.compress(b" " * 1_000_000, 9)).decode().rstrip("=")
    foreign = base64.urlsafe_b64encode(zlib.compress(b'{"signals": 3}')).decode().rstrip("=")
    for broken in ("", link[:-9], link[1:], link + "!", "x" * 9000, "abc", bomb, small_bomb):
        with pytest.raises(InputError, match="link holds no whole design; ask for the link again"):
            from_link(broken)
    with pytest.raises(InputError, match="the design in this link: signals is 3"):
        from_link(foreign)
    many = RewardDesign(name="m", signals=tuple(SignalSpec(f"s{i**7}", i / 7, i / 3, -i) for i in range(999)))
    with pytest.raises(DesignError, match="too long for a link"):
        to_link(many)
