"""Recipe rlaif: the judge labels the base's own drafts, agrees with people or not, and a cut run goes on the same."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from organism.errors import DesignError, InputError
from organism.lm.judge import Preference
from organism.optimize.configs import RewardModelConfig, RlaifConfig
from organism.optimize.drops import Reason
from organism.optimize.recipes import reward_model, rlaif
from organism.optimize.runs import Example, Pair, RunFolder, make_run_folder, read_lines
from organism.optimize.training import Job, Machine, Step
from tests.organism.lm.test_endpoint_judge import Chat

# transformers and peft ask each other for arguments by their old names.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
CPU = Machine("cpu", False, 1)


def _pairs(n: int, first: int = 0) -> list[Pair]:
    """People prefer notes that begin with a capital N."""
    return [
        Pair(f"Patient {i} takes drug.", f"Note: drug {i} mg.", f"drug {i} mg or so", f"u{i % 7}", str(i))
        for i in range(first, first + n)
    ]


def _job(base: Path, run: RunFolder, config: Any, told: list[Step] | None = None, stop: Any = None) -> Job:
    seen: list[Step] = [] if told is None else told
    return Job(base, config, run, CPU, seen.append, stop or (lambda: False), lambda sentence: None)


@pytest.fixture(scope="module")
def judge(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A reward model's folder: what a run of reward_model leaves behind."""
    config = RewardModelConfig(base=str(tiny_base), epochs=2, learning_rate=5e-3)
    folder = tmp_path_factory.mktemp("judge") / "runs" / "judge-run"
    description = {"name": "taste", "dataset_id": "d"}
    run = make_run_folder(folder, description, _pairs(40), [], _pairs(6, first=50))
    reward_model.train(_job(tiny_base, run, config))
    reward_model.evaluate(run, tiny_base, config, description, lambda *_: False)
    return str(run.adapter)


def _run(folder: Path, n: int = 28) -> RunFolder:
    heldout = [Example(row.prompt, row.chosen, row.user_key, row.interaction_id) for row in _pairs(4, first=90)]
    return make_run_folder(folder, {}, _pairs(n), heldout, _pairs(12, first=60))


def _config(base: Path, judge: str, **changes: Any) -> RlaifConfig:
    usual = {"max_new_tokens": 10, "epochs": 1, "checkpoint_every": 2}
    return RlaifConfig(base=str(base), judge=judge, **{**usual, **changes})


def test_the_judges_labels_train_and_its_agreement_with_people_is_shown(tiny_base, judge, tmp_path) -> None:
    run, config = _run(tmp_path / "runs" / "r"), _config(tiny_base, judge)
    trained = rlaif.train(_job(tiny_base, run, config))
    duels = list(read_lines(run.path / rlaif.JUDGED))
    assert len(duels) == 28
    assert trained.n_rows + sum(trained.dropped.values()) == 28
    assert {duel["said"] for duel in duels} >= {"first", "second"}
    assert run.adapter.is_dir()
    assert rlaif.evaluate(run, tiny_base, config, {"dataset_id": "d"}, lambda *_: False)
    found = json.loads(run.evaluation.read_text())["summary"]["judge_agreement"]
    assert found["judge"] == "taste"
    assert (found["n"], found["n_users"]) == (12, 7)
    assert found["agreement"] > 0.8
    assert found["ci"][0] <= found["agreement"] <= found["ci"][1]
    assert set(found["own_drafts"]) >= {"n", "agreement", "ci", "length_alone"}


def test_an_endpoint_judges_as_well_as_a_reward_model(tiny_base, tmp_path) -> None:
    with Chat() as chat:
        thread = threading.Thread(target=chat.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        run, config = _run(tmp_path / "runs" / "r"), _config(tiny_base, chat.address)
        rlaif.train(_job(tiny_base, run, config))
        chat.shutdown()
        thread.join()
    for duel in read_lines(run.path / rlaif.JUDGED):
        longer = "first" if len(duel["first"]) > len(duel["second"]) else "second"
        assert duel["said"] in (longer, "tie")
    assert json.loads((run.path / rlaif.AGREEMENT).read_text())["judge"].startswith("grader-1 at 127.0.0.1:")


def test_a_run_that_was_stopped_twice_ends_with_the_very_same_adapter(tiny_base, judge, tmp_path) -> None:
    config = _config(tiny_base, judge)
    whole, cut = (_run(tmp_path / "runs" / name) for name in ("whole", "cut"))
    rlaif.train(_job(tiny_base, whole, config))
    file = cut.path / rlaif.JUDGED
    assert rlaif.train(_job(tiny_base, cut, config, stop=lambda: file.exists())).stopped  # while it drafts
    with file.open("a") as out:
        out.write('{"first": "half a li')
    told: list[Step] = []
    assert rlaif.train(_job(tiny_base, cut, config, told, stop=lambda: bool(told))).stopped  # while it trains
    rlaif.train(_job(tiny_base, cut, config))
    assert file.read_text() == (whole.path / rlaif.JUDGED).read_text()
    files = [run.adapter / "adapter_model.safetensors" for run in (whole, cut)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_better_of_two_drafts_is_that_which_is_nearer_to_what_a_person_chose() -> None:
    rows = _pairs(4)
    near, far = rows[0].chosen[:12], "nothing of the kind"
    duels = [
        rlaif.Duel(near, far, Preference.FIRST),
        rlaif.Duel(far, near, Preference.SECOND),
        rlaif.Duel(far, near, Preference.FIRST),
        rlaif.Duel(far, far, Preference.TIE),
    ]
    ranked, said = rlaif.nearer_first(rows, duels)
    assert [(row.chosen, row.rejected) for row in ranked] == [(near, far)] * 3
    assert said == [Preference.FIRST, Preference.FIRST, Preference.SECOND]


def test_a_judge_that_prefers_the_worse_draft_labels_nothing() -> None:
    found = {"judge": "taste", "own_drafts": {"n": 54, "agreement": 0.31, "ci": [0.22, 0.42]}}
    with pytest.raises(DesignError, match=r"agrees with people on 31% of 54 .* it prefers the worse draft"):
        rlaif.require_no_contrary(found)
    rlaif.require_no_contrary({**found, "own_drafts": {"n": 54, "agreement": 0.45, "ci": [0.3, 0.6]}})
    rlaif.require_no_contrary({**found, "own_drafts": {"n": 0, "agreement": None, "ci": None}})


def test_ties_and_equal_drafts_are_counted_and_give_no_pair() -> None:
    duels = [
        rlaif.Duel("a", "b", Preference.SECOND),
        rlaif.Duel("a", "a ", Preference.TIE),
        rlaif.Duel("a", "b", Preference.TIE),
        rlaif.Duel(None, None, Preference.TIE),
    ]
    labeled, dropped = rlaif.labeled_pairs(_pairs(4), duels)
    assert [(row.chosen, row.rejected, row.user_key) for row in labeled] == [("b", "a", "u0")]
    assert dropped == {Reason.EQUAL: 1, Reason.TIED: 1, Reason.TOO_LONG: 1}


def test_a_judge_that_is_missing_or_prefers_nothing_is_a_sentence(tiny_base, judge, tmp_path) -> None:
    with pytest.raises(InputError, match="no judge is named; train one"):
        rlaif.train(_job(tiny_base, _run(tmp_path / "runs" / "a"), _config(tiny_base, "")))
    few = _config(tiny_base, judge, temperature=0.01)  # greedy in effect: both drafts are the same
    with pytest.raises(DesignError, match=r"the judge taste told \d+ of 28 pairs of drafts apart \(\d+ with two equal"):
        rlaif.train(_job(tiny_base, _run(tmp_path / "runs" / "b"), few))
