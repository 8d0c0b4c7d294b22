"""The shipped history is what its manifest says, in sane bands; and making one is repeatable."""

import json
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from random import Random

import pandas as pd
import pytest

from data.scribe import history, physicians
from data.scribe.encounters import encounter
from data.scribe.environment import FRESH_FIRST_SEED, make_visit
from data.scribe.seed import HISTORY
from data.scribe.weeks import FIRST_MONDAY, N_WEEKS, WEEK, Clinic, modeled_latency_ms
from organism.config import ROOT
from organism.lm.decoder import Generation
from organism.measures.acceptance import measure

VERSIONS = HISTORY.parent / "versions"


@pytest.fixture(scope="module")
def rows():
    return {
        name: pd.read_parquet(HISTORY / f"{name}.parquet").assign(
            week=lambda frame: (frame["occurred_at"] - FIRST_MONDAY) // WEEK + 1
        )
        for name in history.SCHEMAS
    }


@pytest.fixture(scope="module")
def answered(rows):
    """Drafts with their answer; retained, draft and final characters where a final text was seen."""
    frame = rows["interactions"].merge(
        rows["feedback"][["interaction_external_id", "kind", "final_text"]],
        left_on="external_id",
        right_on="interaction_external_id",
    )
    seen = frame[frame["final_text"].notna() & (frame["kind"] != "reject")]
    counts = [measure(draft, final) for draft, final in zip(seen["output"], seen["final_text"], strict=True)]
    return frame.join(pd.DataFrame(counts, index=seen.index))


def retained(frame):
    return frame["retained_chars"].sum() / frame["draft_chars"].sum()


def test_the_shipped_files_are_those_of_the_manifest():
    manifest = json.loads((HISTORY / "manifest.json").read_text())
    assert history.digests(HISTORY, VERSIONS) == manifest["files"]
    assert manifest["base_sha256"] == history.sha256(history.BASE_FOLDER / "model.safetensors")


def test_eight_weeks_of_sixty_physicians_and_three_thousand_drafts(rows):
    interactions = rows["interactions"]
    assert len(interactions) >= 3000
    assert interactions["user_key"].nunique() == physicians.N_PHYSICIANS
    assert set(interactions["week"]) == set(range(1, N_WEEKS + 1))
    end = FIRST_MONDAY + N_WEEKS * WEEK
    latest = max(frame["occurred_at"].max() for frame in rows.values())
    assert end - timedelta(hours=3) < latest < end
    assert interactions["occurred_at"].dt.dayofweek.lt(5).mean() > 0.9


def test_everything_says_that_it_is_simulated(rows):
    assert rows["interactions"]["is_synthetic"].all()
    assert all(json.loads(text)["simulated"] is True for text in rows["interactions"]["attributes"])
    assert rows["feedback"]["actor_key"].str.fullmatch(r"physician-\d\d").all()
    assert all(frame["source"].str.startswith("simulated-").all() for frame in rows.values())


def test_the_story_of_the_weeks(rows):
    weeks = rows["interactions"].groupby("week")["variant_id"].agg(lambda names: sorted(set(names)))
    assert weeks.tolist() == [["base"]] * 4 + [["base", "scribe-1"]] * 2 + [["scribe-1"]] * 2
    in_experiment = rows["interactions"].groupby("week")["experiment_id"].agg(lambda ids: ids.notna().all())
    assert in_experiment[in_experiment].index.tolist() == [5, 6]


def test_a_physician_keeps_one_arm_for_the_whole_experiment(rows):
    trial = rows["interactions"].dropna(subset="experiment_id")
    assert (trial.groupby("user_key")["variant_id"].nunique() == 1).all()
    turn = json.loads((HISTORY / "turn.json").read_text())
    arm = {row["user_key"]: row["arm"] for row in turn["assignments"]}
    served = trial.drop_duplicates("user_key").set_index("user_key")["variant_id"]
    assert served.map({"base": "control", "scribe-1": "treatment"}).to_dict() == arm


def test_not_every_draft_is_answered_and_some_are_rejected(rows, answered):
    assert 0.70 < len(answered) / len(rows["interactions"]) < 0.88
    base = Counter(answered.loc[answered["variant_id"] == "base", "kind"])
    assert 0.04 < base["reject"] / base.total() < 0.20


def test_the_base_keeps_too_little_and_the_first_version_more_but_not_all(answered):
    base, tuned = (retained(answered[answered["variant_id"] == name]) for name in ("base", "scribe-1"))
    assert 0.30 < base < 0.60
    assert base + 0.05 < tuned < 0.85


def test_four_physicians_do_not_consent_and_are_not_evaluated_on_either(rows):
    interactions = rows["interactions"]
    refusers = set(interactions.loc[~interactions["consent"], "user_key"])
    assert len(refusers) == 4
    evaluated = {row["user_key"] for row in json.loads((HISTORY / "turn.json").read_text())["evaluation"]["rows"]}
    assert len(evaluated) >= 10
    assert not evaluated & refusers


def test_outcomes_tell_of_notes_and_of_physicians(rows):
    outcomes = rows["outcomes"].groupby("name")
    assert set(outcomes.groups) == {"signed_within_hour", "active_after_four_weeks"}
    assert outcomes.get_group("active_after_four_weeks")["business_key"].isin(rows["interactions"]["user_key"]).all()
    signed = outcomes.get_group("signed_within_hour").merge(
        rows["interactions"][["business_key", "variant_id"]], on="business_key"
    )
    by_variant = signed.groupby("variant_id")["value"].mean()
    assert by_variant["scribe-1"] > by_variant["base"] + 0.05


def test_the_shipped_answers_are_what_the_rules_give(rows):
    told = rows["feedback"].set_index("interaction_external_id")
    everybody = {who.user_key: who for who in physicians.physicians()}
    for row in rows["interactions"].sample(150, random_state=0).itertuples():
        visit, rng = encounter(json.loads(row.attributes)["encounter_seed"]), Random(f"0 answer {row.external_id}")
        answer = physicians.answer(everybody[row.user_key], visit, row.output, rng=rng, at=row.occurred_at)
        if row.external_id in told.index:
            kept = told.loc[row.external_id]
            assert answer.kind == kept["kind"]
            assert answer.final_text == (kept["final_text"] if isinstance(kept["final_text"], str) else None)
        else:
            assert answer.kind is None


def test_fresh_visits_are_never_those_of_the_history(rows):
    seeds = rows["interactions"]["attributes"].map(lambda text: json.loads(text)["encounter_seed"])
    assert seeds.is_unique
    assert seeds.max() < FRESH_FIRST_SEED


def live_two_weeks():
    """Two weeks of four physicians whose drafts are their transcripts' first lines: quick, and always rejected."""
    clinic = Clinic(seed=3, staff=physicians.physicians()[:4], load=0.5)

    def echo(prompts):
        return [Generation(prompt[:200], len(prompt) // 3, 60, "stop", 0.0) for prompt in prompts]

    for _ in range(2):
        clinic.live(lambda who: "echo", {"echo": echo})
    return clinic


def test_a_clinic_lived_twice_is_the_same_to_the_byte(tmp_path):
    for name in ("first", "second"):
        history.write_rows(tmp_path / name, live_two_weeks().ledger.interactions, history.SCHEMAS["interactions"])
    assert history.sha256(tmp_path / "first") == history.sha256(tmp_path / "second")


def test_useless_drafts_are_rejected_and_cost_work():
    clinic = live_two_weeks()
    assert {row["kind"] for row in clinic.ledger.feedback} == {"reject"}
    assert len(clinic.ledger.outcomes) == len(clinic.ledger.interactions)


def test_another_seed_brings_other_visits():
    who = physicians.physicians()[0]
    assert make_visit(who, "visit-1", 500_000_000).prompt != make_visit(who, "visit-1", 510_000_000).prompt


def test_modeled_latency_grows_with_the_tokens():
    clinic = live_two_weeks()
    short, long = (modeled_latency_ms(200, n, clinic._rng("latency", 1)) for n in (50, 150))
    assert short[1] == long[1]
    assert short[0] < long[0]


def test_differences_name_the_file_that_changed():
    kept = {"seed": 0, "base_sha256": "b", "n_rows": {}, "files": {"a.parquet": "1" * 64}}
    assert history.differences(kept, kept) == []
    made = {**kept, "files": {"a.parquet": "2" * 64}}
    assert history.differences(kept, made) == ["a.parquet: kept 111111111111, made 222222222222"]


@pytest.mark.slow
def test_the_command_makes_the_same_bytes_twice(tmp_path):
    """Eight physicians with few visits: really drafted, trained and evaluated, twice, each in its own process."""
    small = "--physicians 8 --load 0.3 --train-rows 24 --heldout-rows 6 --epochs 1 --threads 1".split()
    command = ["--out", str(tmp_path / "history"), *small]

    def run(*words):
        line = [sys.executable, "-m", "data.scribe.history", *command, *words]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)

    made, checked = run(), run("--check")
    assert made.returncode == 0, made.stderr[-2000:]
    assert checked.returncode == 0, checked.stdout + checked.stderr[-2000:]
    assert "byte for byte" in checked.stdout
    (tmp_path / "versions" / "scribe-1" / "adapter_config.json").write_text("{}")
    kept = json.loads((tmp_path / "history" / "manifest.json").read_text())
    found = {**kept, "files": history.digests(tmp_path / "history", tmp_path / "versions")}
    assert [line.split(":")[0] for line in history.differences(kept, found)] == ["scribe-1/adapter_config.json"]
