"""The shipped pool: four drafts for each of 300 prompts, whole and as their beginnings, with spread to choose from."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from data.scribe import physicians
from data.scribe.build import digests
from data.scribe.environment import FRESH_FIRST_SEED
from data.scribe.measure import UNSEEN_SEED
from data.scribe.pilot import PILOT_FIRST_SEED
from data.scribe.pool import BEGINNINGS, POOL_FIRST_SEED, Plan, _own_note, _visits
from data.scribe.seed import HISTORY, PILOT, POOL
from data.scribe.weeks import HISTORY_FIRST_SEED, SEEDS_PER_SEED
from organism.config import ROOT
from organism.measures.acceptance import measure
from organism.measures.facts import right_facts


@pytest.fixture(scope="module")
def drafts():
    return pd.read_parquet(POOL / "drafts.parquet")


@pytest.fixture(scope="module")
def whole(drafts):
    return drafts[drafts["stop_at"] == 1]


def test_the_shipped_files_are_those_of_the_manifest():
    assert digests(POOL) == json.loads((POOL / "manifest.json").read_text())["files"]
    assert (POOL / "drafts.parquet").stat().st_size < 400_000


def test_four_drafts_of_three_hundred_prompts_and_three_beginnings_of_each(drafts):
    assert drafts["prompt_key"].nunique() == drafts["prompt"].nunique() == 300
    shape = drafts.groupby(["prompt_key", "draft_number"])["stop_at"].agg(lambda shares: tuple(sorted(shares)))
    assert len(shape) == 1200
    assert set(shape) == {(*BEGINNINGS, 1.0)}
    assert set(drafts["draft_number"]) == {0, 1, 2, 3}


def test_only_whole_drafts_keep_their_text(drafts):
    assert drafts["output"].notna().equals(drafts["stop_at"] == 1)


def test_all_sixty_physicians_have_prompts_that_nothing_else_holds(drafts):
    assert drafts["user_key"].nunique() == physicians.N_PHYSICIANS
    elsewhere = pd.concat([pd.read_parquet(folder / "interactions.parquet") for folder in (HISTORY, PILOT)])
    assert not set(drafts["prompt"]) & set(elsewhere["prompt"])
    seeds = [visit.encounter.seed for visit in _visits(Plan())]
    assert HISTORY_FIRST_SEED + SEEDS_PER_SEED < PILOT_FIRST_SEED < POOL_FIRST_SEED <= min(seeds)
    assert max(seeds) < UNSEEN_SEED < FRESH_FIRST_SEED


def test_the_counts_are_those_of_the_texts(whole, drafts):
    visits = {visit.encounter_id: visit for visit in _visits(Plan(n_physicians=2))}
    texts = whole.set_index(["prompt_key", "draft_number"])["output"]
    some = drafts[drafts["prompt_key"].isin(visits)]
    assert len(some) == 160
    for row in some.itertuples():
        visit, text = visits[row.prompt_key], texts[row.prompt_key, row.draft_number]
        shown = text[: round(row.stop_at * len(text))]
        assert (row.draft_chars, row.retained_chars, row.final_chars) == measure(shown, _own_note(visit))
        checks = physicians.checks_of(visit.encounter)
        assert (row.n_facts, row.n_facts_right) == (len(checks), sum(right_facts(shown, checks)))


def test_a_beginning_is_shorter_cheaper_and_faster_and_never_holds_more(drafts):
    ordered = drafts.sort_values("stop_at").groupby(["prompt_key", "draft_number"])
    for name in ("draft_chars", "output_tokens", "cost_usd", "latency_ms"):
        steps = ordered[name].agg(lambda values: np.diff(values).min())
        assert (steps > 0).mean() > 0.99, name
    assert ordered["ttft_ms"].nunique().eq(1).all()
    assert ordered["n_facts_right"].agg(lambda values: values.iloc[-1] >= values.iloc[0]).all()


def test_the_drafts_of_one_prompt_differ_in_length_and_in_what_is_kept(whole):
    by_prompt = whole.assign(retained=whole["retained_chars"] / whole["draft_chars"]).groupby("prompt_key")
    assert by_prompt["output"].nunique().mean() > 3.5
    assert by_prompt["draft_chars"].std().mean() > 50
    assert by_prompt["retained"].std().mean() > 0.08


def test_stopping_early_keeps_more_of_less_and_people_mind(drafts):
    by_stop = drafts.groupby("stop_at")[["retained_chars", "draft_chars", "final_chars", "accepted"]].mean()
    assert (by_stop["retained_chars"] / by_stop["draft_chars"])[0.25] > 0.5
    assert (by_stop["retained_chars"] / by_stop["final_chars"]).is_monotonic_increasing
    assert by_stop["accepted"][0.25] < by_stop["accepted"][1.0] / 2


@pytest.mark.slow
def test_the_command_makes_the_same_bytes_twice(tmp_path):
    command = ["--out", str(tmp_path / "pool"), "--physicians", "2", "--visits", "1"]

    def run(*words):
        line = [sys.executable, "-m", "data.scribe.pool", *command, *words]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)

    # In processes of its own: a pool of spawned processes breaks inside of a test worker.
    made, checked = run(), run("--check")
    assert made.returncode == 0, made.stderr[-2000:]
    assert checked.returncode == 0, checked.stdout + checked.stderr[-2000:]
    assert "byte for byte" in checked.stdout
