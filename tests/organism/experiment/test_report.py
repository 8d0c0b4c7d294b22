"""The report as one file: what it says in every state, that nothing leaves or enters it, and that it stays the same."""

import json
import re
from datetime import datetime, timedelta
from html.parser import HTMLParser

import pytest

from organism.errors import InputError
from organism.experiment.figures import change, interval, level_unit, p_words, worse_words
from organism.experiment.flow import decide, start_variants
from organism.experiment.markup import Markup, el
from organism.experiment.plan import Plan
from organism.experiment.plan_flow import Proposal, change_plan, plan_experiment
from organism.experiment.record_flow import kept_record
from organism.experiment.report_flow import report_of
from organism.experiment.scorecard import Guardrail, GuardrailState
from organism.experiment.svg import Look, Mark, forest, ticks, track
from organism.records import Variant, Verdict
from tests.organism.experiment.conftest import NOW

LATER = NOW + timedelta(days=9)
HOSTILE = "<script>alert('x')</script> \"quoted\" & Zoë 漢字 </style> http://evil.example \u202e\x00"
LOADS = {"src", "href", "xlink:href", "srcset", "data", "action", "poster", "background", "formaction", "ping"}
ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "main", "header", "section", "div", "span", "p", "b", "i", "s",
    "h1", "h2", "ul", "ol", "li", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption",
    "pre", "code", "svg", "path", "line", "circle", "polyline", "polygon", "text",
}  # fmt: skip


class Read(HTMLParser):
    """A document's elements, words and headings; it fails where an element is not closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.names: set[str] = set()
        self.said: list[str] = []
        self.parts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []
        self.words = " ".join(" ".join(self.said).split())

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.said.append(data)
            self.parts.setdefault(self.open[-1] if self.open else "", []).append(data)


def checked(text: str) -> Read:
    """The document, after all that holds for every report."""
    found = Read(text)
    assert len(text.encode()) < 200_000, "far below the promised megabyte"
    assert found.names <= ELEMENTS
    assert not {name for _, name, _ in found.attributes} & LOADS
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    assert not [value for _, _, value in found.attributes if "url(" in value]
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'") in found.attributes
    assert not re.search(r"\b(nan|None|inf)\b", " ".join(found.parts.get("td", [])))
    assert not [value for tag, _, value in found.attributes if tag in ("circle", "line", "polygon") and "nan" in value]
    return found


def test_a_decided_experiment_says_the_decision_first_and_how_to_reproduce_it(store, traffic, experiment_id):
    traffic()
    done = decide(store, experiment_id, Verdict.SHIP, "It keeps more", "Ann", now=LATER)
    found = checked(report_of(store, experiment_id))
    assert found.parts["h1"] == ["first"]
    assert found.words.index("Decided: ship it") < found.words.index("The effect so far")
    for said in (
        "It keeps more", "Ann, 2026-09-16 08:00 UTC, by the rule better", "3 of 3 hold", "Split as planned? Yes",
        "What was adjusted", "One primary metric and one treatment", "sample ratio mismatch",
        "CREATE TEMP TABLE experiment_users", done.record_sha256, "it came to the same bytes", "Simulated people",
        f"organism experiment replay {experiment_id}",
    ):  # fmt: skip
        assert said in found.words, said
    assert found.parts["s"][0].startswith("By single draft, p")
    assert {"polygon", "polyline", "circle"} <= found.names


def test_a_decided_experiment_gives_the_same_bytes_whenever_it_is_asked(store, traffic, experiment_id):
    traffic()
    decide(store, experiment_id, Verdict.SHIP, "It keeps more", "Ann", now=LATER)
    first = report_of(store, experiment_id, now=LATER)
    traffic(n_users=20, retained=(20, 95), prefix="late", seed=4)
    assert report_of(store, experiment_id, now=datetime(2030, 1, 1)) == first, "late data and the clock change nothing"


def test_a_changed_record_is_said_in_the_report(store, traffic, experiment_id):
    traffic()
    decide(store, experiment_id, Verdict.SHIP, "It keeps more", "Ann", now=LATER)
    text = kept_record(store, experiment_id).record.text.replace('"n_interactions":480', '"n_interactions":481')
    store.write(lambda cursor: cursor.execute("UPDATE decisions SET record = ?", [text]), "decisions")
    found = checked(report_of(store, experiment_id))
    assert "The record was changed after it was kept" in found.words
    assert "it came to the same bytes" not in found.words


def test_names_notes_and_prompts_are_text_and_never_markup(store, events, traffic, experiment_id):
    arms = tuple(Variant(name=f"{HOSTILE} {n}", share=0.5, prompt=None) for n in (1, 2))
    hostile = start_variants(store, events.loop_id, HOSTILE, arms, hypothesis=HOSTILE, now=NOW)
    for n in range(40):
        for day in range(4):
            at = NOW + timedelta(days=day, minutes=n)
            variant, kept = arms[n % 2].name, 30 + 20 * (n % 2) + n % 7 + day
            events.answered(
                f"user {n}", kept, at, experiment_id=hostile, variant_id=variant, region=f"{HOSTILE} {n % 3}"
            )
    events.write()
    change_plan(store, hostile, {"n_users": 90}, actor=HOSTILE, why=HOSTILE, now=LATER)
    decide(store, hostile, Verdict.KEEP_RUNNING, HOSTILE, HOSTILE, now=LATER)
    text = report_of(store, hostile, LATER)
    found = checked(text)
    assert "<script" not in text
    assert "\u202e" not in text
    assert text.count("</style>") == 1
    assert found.parts["h1"][0].startswith("<script>alert('x')</script> \"quoted\" & Zoë 漢字 </style>")
    assert "Keep running" in found.words
    assert "Version 2 by <script>" in found.words


def test_a_blocked_experiment_shows_the_split_and_no_effect(store, events, traffic, experiment_id):
    traffic(n_users=40)
    for n in range(60):
        events.answered(f"extra {n}", 60, NOW, experiment_id=experiment_id, variant_id="base")
    events.write()
    found = checked(report_of(store, experiment_id, LATER))
    assert "Do not read this experiment" in found.words
    assert "Effects are hidden until the split is explained" in found.words
    assert "polygon" not in found.names
    assert not [head for head in found.parts["h2"] if "measured" in head or "effect" in head]
    assert " pt" not in found.words.partition("Plan, version")[0].replace("\xa0", " ")


def test_an_experiment_without_a_user_and_one_that_is_only_planned(store, events, versions, experiment_id):
    found = checked(report_of(store, experiment_id, LATER))
    assert "Too early to tell" in found.words
    assert "no interval yet" in found.words
    assert "the experiment still runs" in found.words
    base = versions["base"]
    arms = tuple(
        Variant(name=name, share=0.5, model_version_id=base, prompt=one) for name, one in (("a", None), ("b", "Hi"))
    )
    plan = Plan(primary=("written_share",), guardrails=(), covariates=("written_share",))
    kept = plan_experiment(store, events.loop_id, Proposal(name="next", variants=arms, plan=plan), now=NOW)
    found = checked(report_of(store, kept.experiment_id, LATER))
    assert "Planned, not started" in found.words
    assert "Own past as covariate written_share" in found.words
    with pytest.raises(InputError, match="no experiment has the id 'nothing'"):
        report_of(store, "nothing")


def test_three_variants_are_each_compared_with_the_control(store, events):
    arms = tuple(Variant(name=name, share=1 / 3) for name in ("old", "new", "newer"))
    experiment = start_variants(store, events.loop_id, "three", arms, now=NOW)
    for n in range(90):
        for day in range(3):
            kept = 40 + (0, 20, 5)[n % 3] + n % 11
            events.answered(
                f"user {n}", kept, NOW + timedelta(days=day), experiment_id=experiment, variant_id=arms[n % 3].name
            )
    events.write()
    found = checked(report_of(store, experiment, LATER))
    assert found.parts["b"].count("new against old") == found.parts["b"].count("newer against old") == 2
    assert "2 comparisons decide" in found.words


def test_fifty_variants_stay_small_and_a_quantile_has_no_track(store, events):
    arms = tuple(Variant(name=f"v{n}", share=1 / 50) for n in range(50))
    two = tuple(Variant(name=f"v{n}", share=0.5) for n in range(2))
    plan = Plan(primary=("latency_ms.p95",), guardrails=(), segments=())
    many = start_variants(store, events.loop_id, "many", arms, now=NOW)
    tail = start_variants(store, events.loop_id, "tail", two, plan=plan, now=NOW)
    for experiment, n_arms in ((many, 50), (tail, 2)):
        for n in range(200):
            at = NOW + timedelta(days=n % 3)
            served = {"experiment_id": experiment, "variant_id": arms[n % n_arms].name, "region": f"r{n % 20}"}
            events.answered(f"{experiment} {n}", 40 + n % 11, at, latency_ms=400.0 + n, **served)
    events.write()
    assert "43 more treatments are in the record in full" in checked(report_of(store, many, LATER)).words
    found = checked(report_of(store, tail, LATER))
    assert "Latency p95" in found.words
    assert "polyline" not in found.names


def test_a_decision_from_before_records_is_read_from_the_data_and_says_so(store, traffic, experiment_id):
    traffic()
    decide(store, experiment_id, Verdict.ROLL_BACK, "No", "Ann", now=LATER)
    store.write(lambda cursor: cursor.execute("UPDATE decisions SET record = NULL"), "decisions")
    found = checked(report_of(store, experiment_id))
    assert "decided before records were kept" in found.words
    assert "The rules say otherwise: ship it." in found.words


def test_markup_escapes_texts_and_attributes_and_keeps_markup():
    made = el("p", "<b>", [el("i", "x & y"), None], Markup("<hr>"), title='"<', stroke_width=1.5, class_="a", x=None)
    assert made == '<p title="&quot;&lt;" stroke-width="1.5" class="a">&lt;b&gt;<i>x &amp; y</i><hr></p>'
    assert el("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert "\ufffd" in el("p", "a\x00\ud800")


@pytest.mark.parametrize(
    ("low", "high", "n", "found"),
    [
        (0, 10, 5, [0, 2, 4, 6, 8, 10]),
        (-0.03, 0.052, 4, [-0.025, 0, 0.025, 0.05]),
        (-1e-4, 1e-4, 4, [-1e-4, -5e-5, 0, 5e-5, 1e-4]),
        (1000, 1004, 4, [1000, 1001, 1002, 1003, 1004]),
        (3, 3, 4, [3]),
    ],
)
def test_ticks_are_round_and_within(low, high, n, found):
    assert ticks(low, high, n) == pytest.approx(found)


def test_an_interval_that_leaves_the_frame_ends_in_an_arrow_and_the_first_never_does():
    rows = [Mark("a", "", 0.5, 0.4, 0.6), *(Mark("b", "", 0.0, -0.01, 0.01) for _ in range(5)), Mark("c", "", 3, 1, 9)]
    drawn = forest(rows, level_unit("reward"), "all")
    assert drawn.count("<path") == 1
    assert drawn.count("<circle") == 6, "the wild row's dot is outside"


def test_unknown_days_leave_a_gap_and_no_picture_breaks():
    day = datetime(2026, 9, 7)
    looks = [
        Look(day, 0.0, None, None, None, None),
        Look(day + timedelta(days=1), 0.0, None, None, None, None),
        Look(day + timedelta(days=400), 1e9, -1e9, 3e9, None, None),
    ]
    drawn = track(looks, level_unit("reward"), "all")
    assert "nan" not in drawn
    assert json.dumps(drawn)


def test_figures_are_said_in_their_unit():
    assert change("retained_char_rate", 0.0426) == "+4.3\xa0pt"
    assert change("cost_usd.p95", -0.00002) == "−0.020\xa0USD"
    assert interval(level_unit("latency_ms"), -30.0, 5.0) == "−30.0 to +5.0\xa0ms"
    assert change("reward", None) == interval(level_unit("reward"), None, 1.0) == "–"
    assert (p_words(None), p_words(0.0004), p_words(0.0312)) == ("p unknown", "p <\xa00.001", "p = 0.031")
    tiny = Guardrail("cost_usd", "Cost", 0.5, True, GuardrailState.HOLDS, 0.1, worse=2e-12)
    assert worse_words(tiny._replace(limit=0.0001)) == "equal"
    assert worse_words(tiny._replace(worse=-0.00001)) == "0.010\xa0USD better"
    assert worse_words(tiny._replace(metric="accepted", worse=0.0001)) == "equal"
