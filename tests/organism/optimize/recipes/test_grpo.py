"""Recipe grpo: the reward design is the reward function, floors hold, scores are TRL's, a cut run goes on the same."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from transformers import Qwen2Config, Qwen2ForCausalLM

from organism.errors import DesignError
from organism.lm.decoder import Decoder
from organism.lm.reward_judge import RewardModelJudge
from organism.optimize.configs import GrpoConfig
from organism.optimize.recipes import grpo
from organism.optimize.runs import Example, RunFolder, make_run_folder
from organism.optimize.training import Job, Machine, Step, load_base
from organism.records import Constraint, FactCheck, RewardDesign, SignalSpec

# transformers and peft ask each other for arguments by their old names.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:You are using 'rollout_func'"),
]
CPU = Machine("cpu", False, 1)
PRICE = RewardDesign(name="price", signals=(SignalSpec("output_tokens", 1.0, 24.0, 0.0),))
FACTS = RewardDesign(name="facts", signals=(SignalSpec("facts_right", 1.0, 0.0, 1.0),))
QUALITY = RewardDesign(
    name="quality",
    signals=(SignalSpec("written_share", 0.5, 0.0, 1.0), SignalSpec("latency_ms", 0.5, 100.0, 0.0)),
    constraints=(Constraint("written_share", at_least=0.5),),
)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")


@pytest.fixture
def lively_base(tiny_base: Path, tmp_path: Path) -> Path:
    """The tiny base with larger embeddings: logits far enough apart that a small adapter can prefer a token."""
    model, tokenizer = load_base(tiny_base)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(5)
    folder = tmp_path / "lively"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _config(base: Path, **changes: Any) -> GrpoConfig:
    usual = {"batch_size": 16, "group_size": 8, "max_new_tokens": 24, "max_length": 128, "floor_share": 0.0}
    return GrpoConfig(base=str(base), **{**usual, **changes})


def _examples(n: int) -> list[Example]:
    facts = (FactCheck("drug", ("drug",)),)
    return [Example(f"Patient {i} takes drug.", f"Note: drug {i} mg.", f"u{i % 5}", str(i), facts) for i in range(n)]


def _run(folder: Path, n: int = 24, heldout: Sequence[Example] = ()) -> RunFolder:
    return make_run_folder(folder, {}, _examples(n), heldout)


def _job(
    base: Path,
    run: RunFolder,
    config: GrpoConfig,
    design: Mapping[str, Any] | None,
    told: list[Step] | None = None,
    stop_at: int = 0,
) -> Job:
    seen: list[Step] = [] if told is None else told
    return Job(base, config, run, CPU, seen.append, lambda: 0 < stop_at <= len(seen), lambda sentence: None, design)


def test_what_the_design_rewards_is_drafted_more_often_step_by_step(lively_base: Path, tmp_path: Path) -> None:
    told: list[Step] = []
    letters = tuple(FactCheck("letter", (letter,)) for letter in "aeimnot")
    rows = [example._replace(facts=letters) for example in _examples(40)]
    run = make_run_folder(tmp_path / "runs" / "r", {}, rows, [])
    config = _config(lively_base, learning_rate=1e-2, max_new_tokens=12)
    trained = grpo.train(_job(lively_base, run, config, FACTS.spec(), told))
    assert trained.steps == trained.total == len(told) == 20
    rewards = [step.extra["reward"] for step in told]
    assert sum(rewards[-4:]) > 1.3 * sum(rewards[:4])
    assert told[3].target_tokens_per_second > 0
    assert run.adapter.is_dir()


def test_the_reward_is_the_designs_own_and_a_broken_floor_earns_less_than_nothing(tiny_base: Path) -> None:
    prompts = [grpo.Prompt(_examples(1)[0], [1] * 10, {"facts_right": 1.0})]
    noted: dict[str, float] = {}
    grader = grpo.Grader(QUALITY.spec(), prompts, _config(tiny_base, ms_per_token=1.0, ms_per_prompt_token=1.0))
    texts = ["Note: drug 0 mg.", "Note: drug", "Note: 0 mg of it is good.", ""]
    rewards = grader(completions=texts, completion_ids=[[0] * 40] * 4, place=[0] * 4, log_metric=noted.__setitem__)
    assert rewards[0] == pytest.approx(0.5 * 1.0 + 0.5 * 0.5)
    assert rewards[1] == pytest.approx(0.5 * 10 / 16 + 0.5 * 0.5)  # 10 of 16 characters are above the guardrail
    assert rewards[2] < 0  # no drug is named
    assert rewards[3] == -1.0
    assert noted["kept_floors"] == 0.5
    assert noted["design_reward"] == pytest.approx((rewards[0] + rewards[1]) / 4)


def test_our_scores_of_drafts_are_those_of_trl(tiny_base: Path, tmp_path: Path) -> None:
    found = []
    for trainer_class in (trl.GRPOTrainer, grpo.Trainer):
        model, tokenizer = load_base(tiny_base)
        config = _config(tiny_base)
        grader = grpo.Grader(PRICE.spec(), [grpo.Prompt(_examples(1)[0], [1], {})], config)
        trainer = grpo.build_trainer(model, tokenizer, [[0, 0]], grader, None, config, tmp_path, CPU, trainer_class)
        ids = torch.arange(2, 2 + 3 * 12).view(3, 12) % 300
        mask = torch.ones_like(ids)
        mask[1, :3], mask[2, 8:], mask[0, :1] = 0, 0, 0
        log_probs, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, 6, compute_entropy=True)
        found.append(log_probs * mask[:, -6:])
    assert torch.allclose(found[0], found[1], atol=1e-5)


def test_drafts_come_from_the_adapted_model_and_nothing_adds_up(tiny_base: Path, tmp_path: Path) -> None:
    model, tokenizer = load_base(tiny_base)
    config = _config(tiny_base)
    grader = grpo.Grader(PRICE.spec(), [grpo.Prompt(_examples(1)[0], [1], {})], config)
    trainer = grpo.build_trainer(model, tokenizer, [[0, 0]], grader, None, config, tmp_path, CPU)
    torch.manual_seed(1)
    for name, weight in trainer.model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.2)
    rollout = grpo.Rollout(tiny_base, CPU, config)
    first = rollout(["Patient 1"] * 4, trainer)
    again = rollout(["Patient 1"] * 4, trainer)
    assert first["completion_ids"] == again["completion_ids"]
    assert len({tuple(ids) for ids in first["completion_ids"]}) == 4
    merged = Decoder(trainer.model.merge_and_unload(), tokenizer, torch.float32)
    wanted = merged.generate(["Patient 1"] * 4, max_new_tokens=24, temperature=1.0, seed=0)
    assert first["completion_ids"] == [list(row.token_ids) for row in wanted]


def test_a_stopped_run_goes_on_to_the_very_same_adapter(tiny_base: Path, tmp_path: Path) -> None:
    config = _config(tiny_base, batch_size=32, checkpoint_every=2, max_new_tokens=8, floor_share=0.5)
    whole, cut = (_run(tmp_path / "runs" / name) for name in ("whole", "cut"))
    design = QUALITY.spec()
    grpo.train(_job(tiny_base, whole, config, design))
    assert grpo.train(_job(tiny_base, cut, config, design, stop_at=3)).stopped
    assert not cut.adapter.exists()
    grpo.train(_job(tiny_base, cut, config, design))
    files = [run.adapter / "adapter_model.safetensors" for run in (whole, cut)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len((cut.path / grpo.FLOORS).read_text().splitlines()) == 24


def test_held_out_drafts_are_graded_by_the_design(tiny_base: Path, tmp_path: Path) -> None:
    config = _config(tiny_base, learning_rate=2e-2, batch_size=32)
    run = _run(tmp_path / "runs" / "r", heldout=_examples(30)[24:])
    grpo.train(_job(tiny_base, run, config, PRICE.spec()))
    description = {"dataset_id": "d", "reward_design": PRICE.spec()}
    assert grpo.evaluate(run, tiny_base, config, description, lambda *_: False)
    summary = json.loads(run.evaluation.read_text())["summary"]
    for which in ("before", "after"):
        assert summary[f"reward_{which}"] == pytest.approx(1 - summary[f"tokens_{which}"] / 24, abs=1e-6)
    assert len(summary["reward_gain_ci"]) == 2


def test_a_judge_stands_for_quality_and_the_floor_of_facts_still_holds(tiny_base: Path) -> None:
    class Taste(RewardModelJudge):
        """Loaded from no folder: likes texts with an exclamation mark, by one point."""

        def __init__(self) -> None: ...

        def scores(self, prompts: Sequence[str], texts: Sequence[str], on_judged: Any = None) -> list[float]:
            return [1.0 if "!" in text else -1.0 for text in texts]

    design = RewardDesign(name="q", signals=(SignalSpec("written_share", 1.0, 0.0, 1.0),)).spec()
    prompts = [grpo.Prompt(_examples(1)[0], [1] * 10, {"facts_right": 0.9})]
    grader = grpo.Grader(design, prompts, _config(tiny_base), Taste())
    rewards = grader(
        completions=["drug!", "drug", "nothing!"],
        completion_ids=[[0] * 4] * 3,
        place=[0] * 3,
        log_metric=lambda name, value: None,
    )
    assert rewards[:2] == pytest.approx([0.7311, 0.2689], abs=1e-4)
    assert rewards[2] < 0


def test_another_architecture_climbs_through_transformers_own_forward(tiny_base: Path, tmp_path: Path) -> None:
    _, tokenizer = load_base(tiny_base)
    shape = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    base = tmp_path / "qwen"
    Qwen2ForCausalLM(shape).save_pretrained(base)
    tokenizer.save_pretrained(base)
    told: list[Step] = []
    config = _config(base, batch_size=32, max_new_tokens=6)
    trained = grpo.train(_job(base, _run(tmp_path / "runs" / "r"), config, PRICE.spec(), told))
    assert trained.steps == 6
    assert told[-1].extra["output_tokens"] > 0


def test_no_design_and_one_that_knows_nothing_are_sentences(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(DesignError, match="'grpo' climbs a reward design, and this run has none"):
        grpo.train(_job(tiny_base, _run(tmp_path / "runs" / "r"), _config(tiny_base), None))
    accepted = RewardDesign(name="a", signals=(SignalSpec("accepted", 1.0, 0.0, 1.0),)).spec()
    with pytest.raises(DesignError, match="weighs only accepted, which nobody can know"):
        grpo.train(_job(tiny_base, _run(tmp_path / "runs" / "s"), _config(tiny_base), accepted))
    with pytest.raises(DesignError, match="batch_size is 10 drafts a step and group_size 8"):
        GrpoConfig(batch_size=10).check()
    with pytest.raises(DesignError, match="patience is 2, and grpo has no held-out loss to stop by"):
        GrpoConfig(patience=2).check()
