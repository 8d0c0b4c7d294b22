"""The pilot's variant earns reward by offering less, and its outcome says so; the vendor's meter says nothing."""

import json
import random
import subprocess
import sys
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from data.scribe.answered import AnsweredDraft
from data.scribe.build import digests
from data.scribe.choices import CHOOSER, hidden_reward, simulated_choices
from data.scribe.first_design import FIRST_DESIGN
from data.scribe.history import BASE_FOLDER, sha256
from data.scribe.pilot import ADAPTER, BRIEF, MAX_NEW_TOKENS, MOST_TRANSCRIPT_CHARS
from data.scribe.reviews import LENIENCY, QUESTION, ratings
from data.scribe.seed import HISTORY, PILOT, seed_demo
from organism.config import DEMO_LOOP, ROOT, Workspace
from organism.digest.designs import weighted
from organism.digest.flow import reward_moments
from organism.digest.rewards import reward_difference
from organism.lm.decoder import Decoder
from organism.store.loops import loop_id_of
from organism.store.schema import open_store
from organism.store.signal_table import refresh_signals
from organism.store.signals import known_signals, read_coverage

NOW = datetime(2026, 11, 18, 15, 30)
LAST_MONDAY = datetime(2026, 11, 16)
TUNED = "scribe-1"
Z = 1.96


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("workspace"))
    store = open_store(workspace.database)
    seed_demo(store, workspace, now=NOW)
    refresh_signals(store)
    yield store
    store.close()


@pytest.fixture(scope="module")
def rows():
    return {name: pd.read_parquet(PILOT / f"{name}.parquet") for name in ("interactions", "feedback", "outcomes")}


@pytest.fixture(scope="module")
def lived(store):
    """One row an interaction: variant, user_key, output, signals, the vendor's score, the note's outcome."""
    return store.frame("""
        SELECT s.variant_id AS variant, s.user_key, i.output, s.accepted, s.retained_chars, s.draft_chars,
            s.final_chars, (i.attributes->>'vendor_score')::DOUBLE AS vendor_score, o.value AS signed
        FROM signals s JOIN interactions i USING (interaction_id)
        JOIN outcomes o ON o.business_key = i.business_key AND o.name = 'signed_within_hour'
    """)


def earned(store, design):
    """What scribe-brief earns more than scribe-1."""
    moments = reward_moments(store, loop_id_of(store, DEMO_LOOP), design.signals)
    return reward_difference(moments, design, control=TUNED, treatment=BRIEF)


def outcome_difference(lived):
    """scribe-brief's share of notes signed in time minus scribe-1's, and its standard error clustered by user."""
    parts = []
    for variant in (BRIEF, TUNED):
        users = lived[lived["variant"] == variant].groupby("user_key")["signed"].agg(["sum", "count"])
        share = users["sum"].sum() / users["count"].sum()
        parts.append((share, (users["sum"] - share * users["count"]) / users["count"].sum()))
    (brief, of_brief), (tuned, of_tuned) = parts
    by_user = of_brief.sub(of_tuned, fill_value=0.0)
    return brief - tuned, float(np.sqrt((by_user**2).sum()))


def rank_correlation_interval(frame, n_draws=400):
    """The 95% interval of the rank correlation of the vendor's score with the outcome, resampling users."""
    scored = frame.assign(x=rankdata(frame["vendor_score"]), y=rankdata(frame["signed"]))
    z = (scored[["x", "y"]] - scored[["x", "y"]].mean()) / scored[["x", "y"]].std()
    columns = {"n": 1.0, "x": z["x"], "y": z["y"], "xx": z["x"] ** 2, "yy": z["y"] ** 2, "xy": z["x"] * z["y"]}
    sums = scored[["user_key"]].assign(**columns).groupby("user_key").sum()
    rng = np.random.default_rng(0)
    n, x, y, xx, yy, xy = (rng.multinomial(len(sums), [1 / len(sums)] * len(sums), n_draws) @ sums.to_numpy()).T
    drawn = (xy / n - x * y / n**2) / np.sqrt((xx / n - (x / n) ** 2) * (yy / n - (y / n) ** 2))
    return np.quantile(drawn, [0.025, 0.975])


def test_the_shipped_files_are_those_of_the_manifest(rows):
    manifest = json.loads((PILOT / "manifest.json").read_text())
    assert digests(PILOT) == manifest["files"]
    assert manifest["adapter_sha256"] == sha256(ADAPTER / "adapter_model.safetensors")
    assert {name: len(frame) for name, frame in rows.items()}.items() <= manifest["n_rows"].items()
    assert sum(file.stat().st_size for file in PILOT.iterdir()) < 400_000


def test_hundreds_of_extra_visits_of_many_physicians_outside_the_experiment(rows):
    interactions = rows["interactions"]
    history = pd.read_parquet(HISTORY / "interactions.parquet")
    assert 400 <= len(interactions) <= 600
    assert interactions["user_key"].nunique() >= 20
    assert interactions["experiment_id"].isna().all()
    assert not set(interactions["external_id"]) & set(history["external_id"])
    assert not set(interactions["prompt"]) & set(history["prompt"])


def test_everything_says_that_it_is_simulated(rows, store):
    assert rows["interactions"]["is_synthetic"].all()
    assert all(json.loads(text)["simulated"] is True for text in rows["interactions"]["attributes"])
    assert all(frame["source"].str.startswith("simulated-").all() for frame in rows.values())
    actors = store.rows("SELECT DISTINCT actor_key FROM feedback_events WHERE source = 'simulated-reviewers'")
    assert {actor for (actor,) in actors} == set(LENIENCY)
    assert store.rows("SELECT DISTINCT actor, is_synthetic FROM choices") == [(CHOOSER, True)]


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_the_drafts_are_beginnings_of_what_scribe_1_writes(rows):
    shown = rows["interactions"].query("output != ''").head(3)
    whole = Decoder.from_folder(BASE_FOLDER, ADAPTER, threads=1).generate(list(shown["prompt"]))
    for brief, draft in zip(shown["output"], whole, strict=True):
        assert draft.text.startswith(brief)
        assert len(draft.text) > 2 * len(brief)
    assert rows["interactions"]["output_tokens"].max() == MAX_NEW_TOKENS


def test_long_transcripts_get_no_draft_at_no_cost_and_nobody_answers_one(rows):
    silent = rows["interactions"]["output"] == ""
    assert silent.equals(rows["interactions"]["prompt"].str.len() > MOST_TRANSCRIPT_CHARS)
    assert 0.05 < silent.mean() < 0.3
    unseen = rows["interactions"][silent]
    assert unseen["cost_usd"].sum() == unseen["output_tokens"].sum() == 0
    assert unseen["latency_ms"].isna().all()
    assert not set(unseen["external_id"]) & set(rows["feedback"]["interaction_external_id"])
    assert set(unseen["external_id"]) <= set(rows["outcomes"]["business_key"])


def test_the_hack_earns_more_under_the_default_design_most_under_a_heavy_price_and_less_under_quality_alone(store):
    default = earned(store, FIRST_DESIGN)
    cheap = earned(store, weighted(FIRST_DESIGN, price=0.6, performance=0.2, quality=0.2))
    good = earned(store, weighted(FIRST_DESIGN, price=0.0, performance=0.0, quality=1.0))
    assert default.ci_low > 0
    assert cheap.ci_low > 0.1 > default.effect
    assert good.effect < 0


def test_and_its_outcome_is_clearly_worse(lived):
    difference, error = outcome_difference(lived)
    assert difference + 2 * Z * error < 0


def test_more_of_what_is_shown_is_kept_while_less_is_shown_and_less_is_written(lived):
    kept = lived.groupby("variant")[["retained_chars", "draft_chars", "final_chars"]].sum()
    retained = kept["retained_chars"] / kept["draft_chars"]
    written = kept["retained_chars"] / kept["final_chars"]
    shown = (lived["output"] != "").groupby(lived["variant"]).mean()
    assert retained[BRIEF] > retained[TUNED]
    assert written[BRIEF] < written[TUNED] / 2
    assert shown[BRIEF] < 0.9 < shown[TUNED] == 1


def test_reviewers_are_not_fooled_and_rate_only_drafts_that_were_answered_before(store):
    found = store.frame(f"""
        SELECT i.variant_id, f.value, f.occurred_at > s.first_feedback_at AND s.answer IS NOT NULL AS came_later
        FROM feedback_events f JOIN interactions i USING (interaction_id) JOIN signals s USING (interaction_id)
        WHERE f.kind = 'rating' AND f.name = '{QUESTION}'
    """)
    mean, error = (getattr(found.groupby("variant_id")["value"], name)() for name in ("mean", "sem"))
    assert found["came_later"].all()
    assert found["value"].isin([1, 2, 3, 4, 5]).all()
    assert found.groupby("variant_id").size().ge(100).all()
    assert mean[BRIEF] + Z * error[BRIEF] < mean[TUNED] - Z * error[TUNED]


def test_the_vendors_score_follows_the_outcome_over_all_and_within_no_variant(lived):
    low, high = rank_correlation_interval(lived)
    assert 0 < low < high
    for variant in ("base", TUNED, BRIEF):
        low, high = rank_correlation_interval(lived[lived["variant"] == variant])
        assert low < 0 < high, variant


def test_ratings_outcomes_and_the_vendors_score_are_signals(store):
    signals = known_signals(store, loop_id_of(store, DEMO_LOOP))
    wanted = {f"answer.{QUESTION}", "outcome.signed_within_hour", "vendor_score"}
    assert wanted <= set(signals)
    coverage = read_coverage(store, loop_id_of(store, DEMO_LOOP), sorted(wanted)).set_index("signal")
    assert coverage.loc["vendor_score", "n_present"] == coverage.loc["vendor_score", "n_rows"]
    assert coverage.loc["outcome.signed_within_hour", "n_present"] > 3000
    assert 250 <= coverage.loc[f"answer.{QUESTION}", "n_present"] <= 350


def test_the_pilot_lies_in_the_last_two_complete_weeks(store):
    [(first, last, latest)] = store.rows("""
        SELECT min(i.occurred_at), max(i.occurred_at), max(f.occurred_at) FROM interactions i
        JOIN feedback_events f USING (interaction_id) WHERE i.source = 'simulated-pilot'
    """)
    [(chosen,)] = store.rows("SELECT max(created_at) FROM choices")
    assert pd.Timedelta(days=13) < LAST_MONDAY - first < pd.Timedelta(days=14)
    assert max(last, latest, chosen) < LAST_MONDAY


def test_the_simulated_choices_are_between_different_variants(store):
    found = store.rows("""
        SELECT c.kind, a.variant_id <> b.variant_id, c.chosen IN ('left', 'right'), count(*) FROM choices c
        JOIN interactions a ON a.interaction_id = c.left_id::UUID
        JOIN interactions b ON b.interaction_id = c.right_id::UUID GROUP BY ALL
    """)
    assert found == [("drafts", True, True, 30)]


def some_draft(variant, *, written=0.5, facts=0.5, retained=0.5):
    signals = {"accepted": 1.0, "cost_usd": 0.0002, "latency_ms": 400.0, "retained_char_rate": retained}
    return AnsweredDraft("test", f"{variant}/{written}/{retained}", variant, NOW, written, facts, signals)


def test_a_reviewer_rates_by_what_was_written_and_right():
    good, poor = (some_draft("a", written=share, facts=share) for share in (1.0, 0.0))
    of_good, of_poor = ([row["value"] for row in ratings([d] * 20, 20, random.Random(1))] for d in (good, poor))
    assert 4 <= min(of_good) <= max(of_good) == 5
    assert 1 == min(of_poor) <= max(of_poor) <= 2


def test_the_simulated_product_manager_mostly_takes_the_better_draft():
    good, poor = some_draft("a", retained=0.9), some_draft("b", retained=0.1)
    taken = [row[f"{row['chosen']}_external_id"] for row in simulated_choices([good, poor], 60, random.Random(2))]
    assert hidden_reward(good) > hidden_reward(poor)
    assert taken.count(good.external_id) > 50


@pytest.mark.slow
def test_the_command_makes_the_same_bytes_twice(tmp_path):
    """Beside a history of three physicians: two weeks of one of them."""
    (tmp_path / "history").mkdir()
    for name in ("interactions", "feedback", "outcomes"):
        frame = pd.read_parquet(HISTORY / f"{name}.parquet")
        who = frame.get("user_key", frame.get("actor_key"))
        few = frame if who is None else frame[who.isin(["physician-01", "physician-02", "physician-03"])]
        few.to_parquet(tmp_path / "history" / f"{name}.parquet")
    command = ["--out", str(tmp_path / "pilot"), "--physicians", "1", "--history", str(tmp_path / "history")]

    def run(*words):
        line = [sys.executable, "-m", "data.scribe.pilot", *command, *words]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)

    # In processes of its own: a pool of spawned processes breaks inside of a test worker.
    made, checked = run(), run("--check")
    assert made.returncode == 0, made.stderr[-2000:]
    assert checked.returncode == 0, checked.stdout + checked.stderr[-2000:]
    assert "byte for byte" in checked.stdout
