"""Decision records: the same bytes when judged anew, after a restart or a kill; and what a change does to them."""

import hashlib
import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from organism.errors import DesignError, InputError
from organism.experiment.build import build
from organism.experiment.flow import analyze, decide, evidence_of
from organism.experiment.plan_flow import change_plan
from organism.experiment.record import canonical, evidence_in, read_record, replay
from organism.experiment.record_flow import kept_record, record_of, replay_decision, since_decision
from organism.records import Verdict
from organism.store.decisions import read_decisions
from organism.store.schema import open_store
from organism.wire import plain
from tests.organism.experiment.conftest import NOW

LATER = NOW + timedelta(days=9)
NOTE = 'It keeps "more", says Zoë — </script> 10 000'
KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from organism.experiment.flow import decide
from organism.records import Verdict
from organism.store.schema import open_store

store = open_store(Path(sys.argv[1]))
print(decide(store, sys.argv[2], Verdict.SHIP, "Kept more", "Ann", now=datetime(2026, 9, 16)).record_sha256, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_record_says_what_was_decided_and_comes_out_the_same_byte_for_byte(store, traffic, experiment_id):
    traffic()
    done = decide(store, experiment_id, Verdict.SHIP, NOTE, "Ann", now=LATER)
    kept = kept_record(store, experiment_id)
    assert kept.record.sha256 == done.record_sha256 == hashlib.sha256(kept.record.content).hexdigest()
    found = json.loads(kept.record.text)
    assert found["decision"] == {
        "decision_id": done.decision_id, "verdict": "ship", "note": NOTE, "actor": "Ann", "decided_at": plain(LATER),
        "treatment": "scribe-2",
    }  # fmt: skip
    assert found["rule"]["name"] == "better"
    assert found["experiment"]["salt"] == "first"
    assert [one["share"] for one in found["experiment"]["variants"]] == [0.5, 0.5]
    assert found["data"]["n_interactions"] == 480
    assert "experiment_units" in found["scorecard"]["sql"]
    assert found["scorecard"]["plan"]["primary"] == ["retained_char_rate"]
    assert found["tracks"]["scribe-2"][-1]["effect"] == pytest.approx(found["scorecard"]["effect"], rel=1e-9)
    again = replay_decision(store, experiment_id)
    assert again.is_same
    assert again.n_differences == 0
    assert f"Same bytes: SHA-256 {done.record_sha256}" in again.sentence
    assert replay_decision(store, done.decision_id) == again


def test_the_record_and_the_page_tell_the_same_figures(store, traffic, experiment_id):
    traffic()
    decide(store, experiment_id, Verdict.KEEP_RUNNING, "wait", "Ann", now=LATER)
    kept = read_record(kept_record(store, experiment_id).record.text)["scorecard"]
    shown = json.loads(json.dumps(plain(analyze(store, experiment_id, LATER))))
    assert kept.pop("data_version") == shown.pop("data_version")
    assert all(kept[name] == shown[name] for name in ("verdict", "rule", "sentence", "n_users", "plan", "sql"))
    assert kept["effect"] == pytest.approx(shown["effect"], rel=1e-9), "sums may be added in another order"
    row = json.loads(read_decisions(store, experiment_id)["scorecard"][0])
    assert row.pop("record_sha256") == kept_record(store, experiment_id).record.sha256
    assert row.pop("decided_treatment") == kept["treatment"]
    assert {name: value for name, value in row.items() if name != "data_version"} == kept


@pytest.mark.parametrize(
    ("change", "first"),
    [
        (lambda found: found["scorecard"].update(effect=0.5), "scorecard.effect"),
        (lambda found: found["evidence"]["sums"].update(n_interactions=1), "data.n_interactions"),
        (lambda found: found["evidence"]["sums"]["metrics"]["retained_char_rate"]["base"].update(n=7), "rule.name"),
        (lambda found: found["rule"].update(name="worse"), "rule.name"),
        (lambda found: found["tracks"]["scribe-2"][3].update(low=0.0), "tracks.scribe-2[3].low"),
        (lambda found: found["data"].update(more=1), "data.more"),
    ],
)
def test_one_changed_number_is_found(store, traffic, experiment_id, change, first):
    traffic()
    decide(store, experiment_id, Verdict.SHIP, NOTE, "Ann", now=LATER)
    kept = kept_record(store, experiment_id).record
    found = json.loads(kept.text)
    change(found)
    again = replay(canonical(found))
    assert not again.is_same, "it fails even where no hash was kept beside it"
    assert again.n_differences >= 1
    assert first in [one.path for one in again.differences]


def test_what_a_judgment_cannot_know_is_guarded_by_the_hash(store, traffic, experiment_id):
    traffic()
    decide(store, experiment_id, Verdict.SHIP, NOTE, "Ann", now=LATER)
    kept = kept_record(store, experiment_id).record
    found = json.loads(kept.text)
    found["decision"]["actor"] = "Bob"
    again = replay(canonical(found), kept.sha256)
    assert not again.is_same
    assert "changed after it was kept" in again.sentence
    assert kept.sha256 in again.sentence
    del found["rule"]["when"], found["content_sha256"]
    older = replay(canonical(found))
    assert not older.is_same
    assert "No recorded value comes out otherwise, but 1 that this organism adds are not there" in older.sentence
    spaced = replay(json.dumps(json.loads(kept.text)), None)
    assert not spaced.is_same
    assert "not in their canonical text" in spaced.sentence


def _rewritten(text, change):
    """A record that another build could have written: changed, and with the hash of its own content."""
    found = json.loads(text)
    change(found)
    found.pop("content_sha256")
    return canonical({**found, "content_sha256": hashlib.sha256(canonical(found).encode()).hexdigest()})


def test_another_last_digit_is_the_same_to_rounding_and_says_which_build_wrote_it(store, traffic, experiment_id):
    traffic()
    decide(store, experiment_id, Verdict.SHIP, NOTE, "Ann", now=LATER)
    kept = kept_record(store, experiment_id).record

    def rounded(found):
        found["scorecard"]["effect"] *= 1 + 2e-14
        found["scorecard"]["p_value"] += 1e-18
        found["tracks"]["scribe-2"][-1]["low"] *= 1 + 1e-12
        found["software"]["build"] = "0" * 12

    text = _rewritten(kept.text, rounded)
    again = replay(text, hashlib.sha256(text.encode()).hexdigest())
    assert (again.outcome, again.is_same) == ("the same to rounding", False)
    assert again.sentence.startswith("The same to rounding: ")
    assert "The largest difference: tracks.scribe-2[" in again.sentence
    assert f"Another build of organism wrote it (000000000000, this is {build()})" in again.sentence
    for change in (
        lambda found: found["scorecard"].update(effect=found["scorecard"]["effect"] * (1 + 1e-8)),
        lambda found: found["scorecard"].update(n_interactions=481),
        lambda found: found["scorecard"].update(sentence="Ship it."),
    ):
        other = replay(_rewritten(kept.text, change))
        assert other.outcome == "differs"
        assert other.sentence.startswith("Differs. 1 value comes out otherwise")


def test_a_record_of_before_builds_and_content_hashes_replays_to_its_own_bytes(store, traffic, experiment_id):
    traffic()
    found = json.loads(record_of(store, experiment_id, LATER).text)
    assert found["software"].pop("build") == build()
    del found["content_sha256"]
    again = replay(canonical(found))
    assert (again.outcome, again.software) == ("same bytes", ())


TAMPERED = {
    "a count": lambda found: found["evidence"]["sums"].update(n_foreign=1),
    "the verdict": lambda found: found["decision"].update(verdict="stop"),
    "the verdict of the rules": lambda found: found["scorecard"].update(verdict="stop"),
    "the note": lambda found: found["decision"].update(note="Nobody liked it"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_record_changed_by_hand_is_told_in_the_database_and_in_a_file(store, traffic, experiment_id, what):
    traffic()
    decide(store, experiment_id, Verdict.SHIP, NOTE, "Ann", now=LATER)
    found = json.loads(kept_record(store, experiment_id).record.text)
    TAMPERED[what](found)
    text = canonical(found)
    in_file = replay(text)
    assert in_file.outcome == "differs"
    assert "changed after it was written: its content has the SHA-256" in in_file.sentence
    store.execute("UPDATE decisions SET record = ?", [text], "decisions")
    stored = replay_decision(store, experiment_id)
    assert stored.outcome == "differs"
    assert "The record was changed after it was kept: its SHA-256 is" in stored.sentence
    judged_anew = what in ("a count", "the verdict of the rules")
    assert any(one.path.startswith("scorecard") for one in stored.differences) == judged_anew


@pytest.mark.parametrize("column", ["verdict", "note", "actor"])
def test_a_decision_changed_beside_its_record_is_told(store, traffic, experiment_id, column):
    traffic()
    decide(store, experiment_id, Verdict.SHIP, NOTE, "Ann", now=LATER)
    store.execute(f"UPDATE decisions SET {column} = 'stop'", [], "decisions")
    again = replay_decision(store, experiment_id)
    assert (again.outcome, again.is_same) == ("differs", False)
    assert f"The decision was changed beside its record: its {column} is 'stop'" in again.sentence


def test_the_build_moves_with_the_source_that_judges(tmp_path):
    asked = "from organism.experiment.build import build; print(build())"
    shutil.copytree(Path("organism"), tmp_path / "organism", ignore=shutil.ignore_patterns("__pycache__"))
    seen = []
    for name in (None, "cli/main.py", "stats/srm.py"):
        if name:
            with (tmp_path / "organism" / name).open("a") as file:
                file.write("# more\n")
        done = subprocess.run([sys.executable, "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=True)
        seen.append(done.stdout.strip())
    assert seen[0] == seen[1] != seen[2]


def test_a_record_survives_a_kill_right_after_the_acknowledgement(store, traffic, experiment_id, tmp_path):
    traffic()
    store.close()
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "organism.duckdb"), experiment_id],
        capture_output=True,
        text=True,
    )
    assert child.returncode == -9, child.stderr
    reopened = open_store(tmp_path / "organism.duckdb")
    try:
        again = replay_decision(reopened, experiment_id)
        assert again.is_same
        assert again.sha256 == again.kept_sha256 == child.stdout.strip()
    finally:
        reopened.close()


def test_late_answers_are_told_and_are_no_error(store, events, traffic, experiment_id):
    traffic()
    decide(store, experiment_id, Verdict.SHIP, NOTE, "Ann", now=LATER)
    same = since_decision(store, experiment_id)
    assert same.is_same, same.sentence
    assert "480 interactions" in same.sentence
    traffic(n_users=20, retained=(20, 95), prefix="late", seed=4)
    since = since_decision(store, experiment_id)
    assert not since.is_same
    assert "Interactions: 480 then, 640 now." in since.changes
    assert "The effect of scribe-2 would be" in since.sentence
    assert replay_decision(store, experiment_id).is_same, "the record stands on its own evidence"


def test_a_corrected_answer_moves_the_effect_and_no_count(store, events, traffic, experiment_id):
    traffic()
    decide(store, experiment_id, Verdict.SHIP, NOTE, "Ann", now=LATER)
    ((draft, answer),) = store.rows("SELECT interaction_id::VARCHAR, feedback_id::VARCHAR FROM feedback_events LIMIT 1")
    events.answer(draft, at=NOW + timedelta(days=10), retained_chars=3, supersedes_id=answer)
    events.write()
    since = since_decision(store, experiment_id)
    assert not since.is_same
    assert "The effect of scribe-2 would be" in since.sentence


def test_before_any_decision_there_is_a_record_as_of_now_and_no_one_to_replay(store, traffic, experiment_id):
    traffic()
    record = record_of(store, experiment_id, LATER)
    assert read_record(record.text)["decision"] is None
    again = replay(record.text)
    assert again.is_same
    assert "not decided" in again.sentence
    with pytest.raises(InputError, match="nobody has decided 'first' yet"):
        replay_decision(store, experiment_id)


def test_an_experiment_without_a_user_can_be_decided_and_replayed(store, experiment_id):
    decide(store, experiment_id, Verdict.STOP, "Nobody came", "Ann", now=LATER)
    assert replay_decision(store, experiment_id).is_same


def test_each_decision_keeps_its_own_record_and_the_plan_as_it_was_then(store, traffic, experiment_id):
    traffic()
    first = decide(store, experiment_id, Verdict.KEEP_RUNNING, "wait", "Ann", now=LATER)
    change_plan(store, experiment_id, {"n_users": 50}, actor="Ben", why="Enough", now=LATER)
    second = decide(store, experiment_id, Verdict.SHIP, "done", "Ann", now=LATER + timedelta(days=1))
    assert kept_record(store, experiment_id).decision_id == second.decision_id
    versions = [
        len(evidence_in(read_record(kept_record(store, one.decision_id).record.text)).plans) for one in (first, second)
    ]
    assert versions == [1, 2]
    assert replay_decision(store, first.decision_id).is_same
    assert any("plan had 1 version" in one for one in since_decision(store, first.decision_id).changes)


def test_an_old_decision_and_a_strange_file_are_one_sentence(store, traffic, experiment_id):
    traffic()
    decide(store, experiment_id, Verdict.SHIP, NOTE, "Ann", now=LATER)
    text = kept_record(store, experiment_id).record.text
    store.write(lambda cursor: cursor.execute("UPDATE decisions SET record = NULL"), "decisions")
    with pytest.raises(InputError, match="before records were kept"):
        replay_decision(store, experiment_id)
    with pytest.raises(InputError, match="no experiment has the id 'nothing'"):
        replay_decision(store, "nothing")
    broken = json.loads(text) | {"evidence": {"name": "x"}}
    for strange, said in (
        ("hello", "no decision record"),
        ("[1]", "no decision record: it is no JSON object"),
        ('{"a": 1}', "no decision record: it has no entry 'format'"),
        ('{"format": 9}', "format 9"),
        (canonical(broken), "no evidence"),
        ('{"format": 1}', "judged no more|no evidence"),
    ):
        with pytest.raises(InputError, match=said):
            replay(strange)


def test_a_planned_experiment_has_no_record(store, events, versions):
    from organism.experiment.plan_flow import Proposal, plan_experiment
    from organism.records import Variant

    arms = tuple(Variant(name=name, share=0.5, model_version_id=one) for name, one in versions.items())
    kept = plan_experiment(store, events.loop_id, Proposal(variants=arms), now=NOW)
    with pytest.raises(DesignError, match="has not started"):
        record_of(store, kept.experiment_id, LATER)


def test_evidence_reads_back_to_the_same_text(store, traffic, experiment_id):
    traffic()
    record = record_of(store, experiment_id, LATER)
    evidence = evidence_in(read_record(record.text))
    assert evidence.sums.n_users == evidence_of(store, experiment_id, LATER).sums.n_users
