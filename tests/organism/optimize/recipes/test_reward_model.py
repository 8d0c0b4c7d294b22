"""Recipe reward_model: TRL's loss, a judge that learns what people prefer, and how it is measured."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import trl

from organism.config import Workspace
from organism.errors import DesignError, ModelError
from organism.lm.judge import Preference, judge_of
from organism.lm.reward_judge import load_classifier
from organism.optimize.configs import RewardModelConfig
from organism.optimize.recipes import reward_model
from organism.optimize.recipes.dpo import tokenized_pairs
from organism.optimize.runs import Pair, RunFolder, make_run_folder
from organism.optimize.training import Job, Machine, Step

# transformers and peft ask each other for arguments by their old names.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
CPU = Machine("cpu", False, 1)


def _pairs(n: int, first: int = 0) -> list[Pair]:
    """People prefer the shouted note, whatever its length."""
    texts = ("Note: drug {i} mg.", "Note!", "Note: the patient takes drug {i} mg daily.")
    return [
        Pair(
            f"Patient {i} takes drug.",
            texts[i % 3].format(i=i).upper(),
            texts[(i + 1) % 3].format(i=i),
            f"u{i % 7}",
            "",
        )
        for i in range(first, first + n)
    ]


def _job(
    base: Path, run: RunFolder, config: RewardModelConfig, told: list[Step] | None = None, stop_at: int = 0
) -> Job:
    seen: list[Step] = [] if told is None else told
    return Job(base, config, run, CPU, seen.append, lambda: 0 < stop_at <= len(seen), lambda sentence: None)


def _run(folder: Path, base: Path, config: RewardModelConfig, **more: Any) -> RunFolder:
    description = {"recipe": "reward_model", "name": "taste", "dataset_id": "d", "config": {"base": str(base)}, **more}
    return make_run_folder(folder, description, _pairs(60), [], _pairs(20, first=100))


def test_our_loss_and_its_gradient_are_those_of_trl(tiny_base: Path, tmp_path: Path) -> None:
    found = []
    for trainer_class in (trl.RewardTrainer, reward_model.Trainer):
        torch.manual_seed(0)
        model, tokenizer = load_classifier(tiny_base)
        rows = tokenized_pairs(_pairs(5), tokenizer)
        config = RewardModelConfig(centering=0.1)
        trainer = reward_model.build_trainer(model, tokenizer, rows, config, tmp_path, CPU, trainer_class)
        batch = trainer.data_collator(list(trainer.train_dataset))
        loss = trainer.compute_loss(trainer.model, batch)
        loss.backward()
        head = trainer.model.get_base_model().score.modules_to_save["default"].weight
        found.append((loss.item(), head.grad))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert torch.allclose(found[0][1], found[1][1], rtol=1e-4, atol=1e-6)


def test_a_judge_learns_the_taste_of_people_and_is_measured_on_others(tiny_base: Path, tmp_path: Path) -> None:
    config = RewardModelConfig(base=str(tiny_base), epochs=4, learning_rate=5e-3, eval_batch_size=7)
    run = _run(tmp_path / "runs" / "r1", tiny_base, config)
    trained = reward_model.train(_job(tiny_base, run, config))
    assert (trained.n_rows, trained.n_too_long, trained.stopped) == (60, 0, False)
    assert reward_model.evaluate(run, tiny_base, config, run.description(), lambda *_: False)
    written = json.loads(run.evaluation.read_text())
    found = written["summary"]["judge_agreement"]
    assert found["n"] == len(written["rows"]) == 20
    assert found["agreement"] > 0.9
    assert found["over_length_ci"][0] > 0, "surely more than length alone says"
    assert written["summary"]["before"] is None  # a judge drafts nothing
    judge = judge_of(str(run.adapter), Workspace(tmp_path))
    assert judge.name == "taste"
    assert judge.prefer("Patient 7 takes drug.", "note: a", "NOTE: A") is Preference.SECOND
    assert judge.prefer("Patient 7 takes drug.", "Note", "Note") is Preference.TIE
    assert judge.score("Patient 7", "NOTE") == pytest.approx(
        judge.scores(["Patient 9 takes"] * 2 + ["Patient 7"], ["a", "b c", "NOTE"])[2], abs=1e-4
    )


def test_a_stopped_run_goes_on_to_the_very_same_judge(tiny_base: Path, tmp_path: Path) -> None:
    config = RewardModelConfig(base=str(tiny_base), epochs=1, checkpoint_every=2)
    whole, cut = (_run(tmp_path / "runs" / name, tiny_base, config) for name in ("whole", "cut"))
    reward_model.train(_job(tiny_base, whole, config))
    assert reward_model.train(_job(tiny_base, cut, config, stop_at=3)).stopped
    assert not cut.adapter.exists()
    reward_model.train(_job(tiny_base, cut, config))
    files = [run.adapter / "adapter_model.safetensors" for run in (whole, cut)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_equal_texts_are_left_out_and_too_few_others_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    same = [pair._replace(rejected=pair.chosen) for pair in _pairs(30)]
    run = make_run_folder(tmp_path / "runs" / "r", {}, [*_pairs(10), *same], [])
    with pytest.raises(DesignError, match=r"10 of 40 training rows .* with two equal texts"):
        reward_model.train(_job(tiny_base, run, RewardModelConfig(base=str(tiny_base))))


def test_a_folder_that_is_no_judge_is_named(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is no judge: it has no judge\.json"):
        judge_of(str(tiny_base), Workspace(tmp_path))
