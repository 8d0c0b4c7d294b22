"""Every figure of an evaluation against one computed by hand on texts whose overlap can be seen."""

import json
from typing import Any

import evaluate
import pytest

from organism.config import ROOT
from organism.optimize.configs import SftConfig
from organism.optimize.evaluation import Drafts, compare, sampled, summarize
from organism.optimize.metrics.fact_accuracy.fact_accuracy import FactAccuracy
from organism.optimize.metrics.retained_char_rate.retained_char_rate import RetainedCharRate
from organism.optimize.metrics.written_share.written_share import WrittenShare
from organism.optimize.runs import Example
from organism.records import FactCheck

DOSE, PULSE = FactCheck("drug_dose", ("5 mg",)), FactCheck("vitals", ("HR 70",))
EXAMPLES = [
    Example("p0", "abcdefghij", "ann", "0", (DOSE, PULSE), second_final="abcdefghij"),
    Example("p1", "klmnopqrst", "ann", "1", (DOSE,), second_final="klmnopXXXX"),
    Example("p2", "0123456789", "bob", "2", ()),
]
# Shared runs of six and more: abcdef (6), nothing, 01234567 (8).
BEFORE = Drafts(["abcdef5 mg", "hopeless", "01234567"], [4, 3, 5], 100.0)
# All ten; klmnop (6) and a right dose; all ten and ten more.
AFTER = Drafts(["abcdefghij", "klmnop 5 mg ", "0123456789zzzzzzzzzz"], [4, 6, 10], 50.0)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return compare(EXAMPLES, BEFORE, AFTER)


@pytest.fixture(scope="module")
def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return summarize(rows, BEFORE.tokens_per_second, AFTER.tokens_per_second, seed=0)


def test_shares_are_ratios_of_sums(summary: dict[str, Any]) -> None:
    assert summary["before"] == pytest.approx(14 / 26)
    assert summary["after"] == pytest.approx(26 / 42)
    assert summary["gain"] == pytest.approx(26 / 42 - 14 / 26)
    assert summary["written_share_before"] == pytest.approx(14 / 30)
    assert summary["written_share_after"] == pytest.approx(26 / 30)


def test_the_interval_of_the_gain_resamples_the_two_users(summary: dict[str, Any]) -> None:
    ann, bob = 16 / 22 - 6 / 18, 10 / 20 - 8 / 8
    assert summary["gain_ci"] == pytest.approx([bob, ann])
    assert summary["written_share_gain_ci"] == pytest.approx(sorted([(16 - 6) / 20, (10 - 8) / 10]))


def test_floor_and_ceiling_are_other_patients_and_the_same_expert(summary: dict[str, Any]) -> None:
    assert summary["floor"] == 0.0
    assert summary["ceiling"] == pytest.approx(16 / 20)


def test_facts_are_counted_overall_and_by_kind(summary: dict[str, Any]) -> None:
    assert (summary["facts_before"], summary["facts_after"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    kinds = summary["facts_by_kind"]
    assert (kinds["drug_dose"]["before"], kinds["drug_dose"]["after"], kinds["drug_dose"]["n"]) == (0.5, 0.5, 2)
    assert (kinds["vitals"]["before"], kinds["vitals"]["after"], kinds["vitals"]["n"]) == (0.0, 0.0, 1)
    assert summary["facts_gain_ci"] == [0.0, 0.0]


def test_lengths_and_speeds_are_told_for_both(summary: dict[str, Any]) -> None:
    assert (summary["chars_before"], summary["chars_after"], summary["chars_final"]) == (
        pytest.approx(26 / 3),
        14.0,
        10.0,
    )
    assert (summary["tokens_before"], summary["tokens_after"]) == (4.0, pytest.approx(20 / 3))
    assert (summary["tokens_per_second_before"], summary["tokens_per_second_after"]) == (100.0, 50.0)
    assert (summary["n_rows"], summary["n_users"]) == (3, 2)


def test_what_the_rows_cannot_say_is_none(rows: list[dict[str, Any]]) -> None:
    alone = summarize(rows[2:], 1.0, 1.0, seed=0)
    assert (alone["facts_before"], alone["facts_after"], alone["facts_gain_ci"]) == (None, None, None)
    assert (alone["floor"], alone["ceiling"], alone["gain_ci"]) == (None, None, None)
    assert alone["facts_by_kind"] == {}
    assert alone["gain"] == pytest.approx(-0.5)


def test_rows_keep_the_drafts_and_each_fact_before_and_after(rows: list[dict[str, Any]]) -> None:
    assert rows[1]["before"] == "hopeless"
    assert rows[1]["measures"] == {
        "chars_before": 8,
        "retained_before": 0,
        "tokens_before": 3,
        "chars_after": 12,
        "retained_after": 6,
        "tokens_after": 6,
        "final_chars": 10,
        "facts": [{"kind": "drug_dose", "any_of": ["5 mg"], "before": False, "after": True}],
    }
    assert json.loads(json.dumps(rows)) == rows


def test_a_limit_draws_rows_by_the_seed_and_keeps_their_order() -> None:
    many = [Example(str(n), "", "u", str(n)) for n in range(50)]
    few = sampled(many, SftConfig(eval_rows=10))
    assert few == sorted(few, key=lambda example: int(example.prompt))
    assert (len(few), few) == (10, sampled(many, SftConfig(eval_rows=10)))
    assert few != sampled(many, SftConfig(eval_rows=10, seed=1))
    assert sampled(many, SftConfig()) == sampled(many, SftConfig(eval_rows=99)) == many


@pytest.mark.parametrize(
    ("name", "metric", "value"),
    [("retained_char_rate", RetainedCharRate, 14 / 26), ("written_share", WrittenShare, 14 / 30)],
)
def test_the_measures_are_modules_that_evaluate_loads_without_a_network(
    name: str, metric: type[evaluate.Metric], value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    texts = {"predictions": BEFORE.texts, "references": [example.completion for example in EXAMPLES]}
    loaded = evaluate.load(f"organism/optimize/metrics/{name}", keep_in_memory=True)
    assert loaded.compute(**texts) == metric(keep_in_memory=True).compute(**texts) == {name: pytest.approx(value)}


def test_facts_are_a_module_too_overall_and_of_one_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    checks = [json.dumps([fact._asdict() for fact in example.facts]) for example in EXAMPLES]
    for metric in (
        FactAccuracy(keep_in_memory=True),
        evaluate.load("organism/optimize/metrics/fact_accuracy", keep_in_memory=True),
    ):
        texts = {"predictions": AFTER.texts, "references": checks}
        assert metric.compute(**texts) == {"fact_accuracy": pytest.approx(1 / 3)}
        assert metric.compute(**texts, kind="drug_dose") == {"fact_accuracy": 0.5}
        assert metric.compute(**texts, kind="age") == {"fact_accuracy": None}
