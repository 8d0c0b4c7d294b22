"""Recipe evaluate on real tiny models: what it measures, that a stop is heeded, that nothing readable is a sentence."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM

from organism.errors import RunError
from organism.lm.judge import Preference
from organism.optimize.configs import EvaluateConfig
from organism.optimize.evaluation import N_TIMED, judged
from organism.optimize.recipes import evaluate
from organism.optimize.runs import Example, RunFolder, make_run_folder
from organism.records import FactCheck, Recipe

# transformers and peft ask each other for arguments by their old names.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
CASE = {"case_id": "c", "name": "Never", "prompt": "Patient 9.", "must_say": [], "must_not_say": ["nothing of this"]}


@pytest.fixture(scope="module")
def adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(6)
    lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(LlamaForCausalLM.from_pretrained(tiny_base), lora).save_pretrained(folder)
    return folder


def _examples(n: int, long: bool = False) -> list[Example]:
    return [
        Example(
            f"Patient {i} takes drug {i} mg." * (40 if long else 1),
            f"Note: drug {i} mg.",
            f"user {i % 4}",
            str(i),
            (FactCheck("dose", (f"{i} mg",)),),
            segments={"region": "north" if i % 2 else "south"},
        )
        for i in range(n)
    ]


def _folder(place: Path, tiny_base: Path, adapter: Path, heldout: list[Example]) -> RunFolder:
    config = EvaluateConfig(base=str(tiny_base), version="v1", against="v0", max_new_tokens=8)
    models = {
        "before": {"model_version_id": "v0", "base": str(tiny_base), "adapter": None},
        "after": {"model_version_id": "v1", "base": str(tiny_base), "adapter": str(adapter)},
    }
    description = {
        "recipe": Recipe.EVALUATE,
        "config": asdict(config),
        "dataset_id": "d",
        "models": models,
        "safety": [CASE],
    }
    return make_run_folder(place / "runs" / "r", description, _examples(3), heldout)


def _evaluate(run: RunFolder, tiny_base: Path, on_draft: Any = lambda which, done, total: False) -> bool:
    return evaluate.evaluate(run, tiny_base, run.config(), run.description(), on_draft)


def test_two_versions_are_measured_with_all_figures(tmp_path: Path, tiny_base: Path, adapter: Path) -> None:
    run = _folder(tmp_path, tiny_base, adapter, [*_examples(20), *_examples(1, long=True)])
    assert _evaluate(run, tiny_base)
    found = json.loads(run.evaluation.read_text())
    summary = found["summary"]
    assert (found["model_version_id"], found["baseline_version_id"]) == ("v1", "v0")
    assert (summary["n_rows"], summary["n_too_long"], summary["n_timed"]) == (20, 1, N_TIMED)
    assert summary["loss_before"] > 0
    assert summary["loss_before"] != summary["loss_after"]
    assert summary["latency_ms_after"] > 0
    assert summary["contamination"]["n_overlapping"] == 3, "three held-out prompts were trained on"
    assert summary["safety"] == {"n": 1, "before": 1.0, "after": 1.0, "n_better": 0, "worse": []}
    assert {part["value"] for part in summary["slices"] if part["dimension"] == "region"} == {"north", "south"}
    assert set(summary["metrics"]) == {"rouge_l", "chrf", "edit_similarity", "exact_match"}
    assert sum(summary["win_rate"][name] for name in ("wins", "ties", "losses")) == 20
    assert found["rows"][0]["measures"]["nearest"] == 1.0
    assert "judge" not in summary


def test_a_stop_between_two_batches_leaves_no_evaluation(tmp_path: Path, tiny_base: Path, adapter: Path) -> None:
    run = _folder(tmp_path, tiny_base, adapter, _examples(10))
    assert not _evaluate(run, tiny_base, lambda which, done, total: which == "after")
    assert not run.evaluation.exists()


def test_prompts_that_no_model_can_read_are_a_sentence(tmp_path: Path, tiny_base: Path, adapter: Path) -> None:
    run = _folder(tmp_path, tiny_base, adapter, _examples(3, long=True))
    with pytest.raises(RunError, match="none of 3 held-out prompts fits into both models"):
        _evaluate(run, tiny_base)


def test_a_judge_is_asked_about_each_pair_and_named() -> None:
    class Shortest:
        """Prefers the shorter draft."""

        name = "shortest"

        def score(self, prompt: str, text: str) -> float:
            return -len(text)

        def prefer(self, prompt: str, first: str, second: str) -> Preference:
            if len(first) == len(second):
                return Preference.TIE
            return Preference.FIRST if len(first) < len(second) else Preference.SECOND

        def prefer_all(self, prompts: Any, firsts: Any, seconds: Any, on_judged: Any = None) -> list[Preference]:
            return [self.prefer(*row) for row in zip(prompts, firsts, seconds, strict=True)]

    rows = [
        {"user_key": user, "prompt": "p", "before": before, "after": after}
        for user, before, after in (("ann", "longer", "short"), ("bob", "same", "same"), ("ann", "a", "longer"))
    ]
    found = judged(rows, Shortest())
    assert (found["judge"], found["n"]) == ("shortest", 3)
    assert (found["wins"], found["ties"], found["losses"], found["rate"]) == (1, 1, 1, 0.5)
