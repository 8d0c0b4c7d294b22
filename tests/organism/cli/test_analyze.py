"""`organism analyze`: the issue's own command, in words and as JSON, and exit code 2 for what cannot be read."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from organism.cli.main import main

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Runs the command on a file of requests; returns the exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(4)
    user = np.repeat(np.arange(400), 3)
    level = draw.normal(0, 1, 400)[user]
    pd.DataFrame(
        {
            "user_id": user,
            "variant": np.where(user % 2, "B", "A"),
            "reward": level + 0.5 * (user % 2) + draw.normal(0, 0.3, 1200),
            "accepted_chars": draw.poisson(40 + 5 * (user % 2)),
            "suggested_chars": draw.poisson(80, 1200),
            "pre_reward": level,
            "country": np.where(user % 3 == 0, "DE", "FR"),
            "latency": draw.lognormal(6, 0.5, 1200),
        }
    ).to_parquet("results.parquet")

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["analyze", *words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


ISSUE = (
    "results.parquet --unit user_id --variant variant --control A --metric reward "
    "--ratio accepted_chars/suggested_chars --covariate pre_reward --segment country --sequential"
).split()


def test_the_issues_command_prints_the_documented_json(say: Say, tmp_path: Path) -> None:
    code, out, err = say(*ISSUE, "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert said["srm"]["blocked"] is False
    assert [one["metric"] for one in said["metrics"]] == ["reward", "accepted_chars/suggested_chars"]
    assert all(one["ci"][0] < one["effect"] < one["ci"][1] for one in said["metrics"])
    assert {one["value"] for one in said["segments"]} == {"DE", "FR"}
    assert said["metrics"][0]["variance_reduction"] > 0.8
    assert isinstance(said["warnings"], list)
    assert [path.name for path in tmp_path.iterdir()] == ["results.parquet"], "no workspace is made"


def test_words_begin_with_the_finding_and_end_with_what_to_know(say: Say) -> None:
    code, out, _ = say(*ISSUE, "--quantile", "latency:p95", "--lower-is-better", "latency:0.95")
    assert code == 0
    assert out.startswith("B is better than A on reward: +0.")
    assert "at every look" in out.splitlines()[0]
    assert "400 units in 1,200 rows: A 200, B 200" in out
    assert "country = DE" in out
    assert "- No planned shares were given" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nothing.csv", "--control", "A", "--metric", "x"], "there is no file"),
        (["results.parquet", "--metric", "reward"], "no control is named; the column 'variant' holds"),
        (["results.parquet", "--control", "C", "--metric", "reward"], "there is no variant 'C'"),
        (["results.parquet", "--control", "A", "--metric", "reward", "--margin", "reward"], "a metric, = and a value"),
        (["results.parquet", "--control", "A"], "no metric is asked for"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(say: Say, words: list[str], sentence: str) -> None:
    code, out, err = say(*words, "--json")
    assert code == 2
    assert sentence in json.loads(out)["error"]
    assert err.startswith("organism: ")
    assert len(err.splitlines()) == 1


def test_what_cannot_be_said_is_a_dash_and_exit_code_0(say: Say) -> None:
    Path("flat.csv").write_text("variant,x\n" + "A,1\nB,1\n" * 40)
    code, out, _ = say("flat.csv", "--control", "A", "--metric", "x")
    assert code == 0
    assert out.startswith("x cannot be compared: x is the same for every unit")
    assert "1.0000" not in out.splitlines()[-3], "the metric's line"


def test_a_blocked_file_shows_no_effect_in_words_and_keeps_them_in_json(say: Say) -> None:
    Path("lost.csv").write_text("variant,x\n" + "".join(f"{'A' if n < 100 else 'B'},{n % 7}\n" for n in range(400)))
    code, out, _ = say("lost.csv", "--control", "A", "--metric", "x")
    assert code == 0
    assert out.startswith("Blocked: Sample ratio mismatch")
    assert "No effect is shown" in out
    assert "p adjusted" not in out
    said = json.loads(say("lost.csv", "--control", "A", "--metric", "x", "--json")[1])
    assert said["srm"]["blocked"] is True
    assert said["metrics"][0]["effect"] is not None
