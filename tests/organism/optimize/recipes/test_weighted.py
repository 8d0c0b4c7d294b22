"""Recipe weighted: what a text would have earned is how much it counts; equal weights are plain imitation."""

from pathlib import Path
from typing import Any

import pytest
import torch

from organism.errors import DesignError
from organism.optimize.configs import WeightedConfig
from organism.optimize.recipes import sft, weighted
from organism.optimize.runs import Example, make_run_folder
from organism.optimize.training import Job, Machine, Tokens, load_base, tokenized

# transformers and peft ask each other for arguments by their old names.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
CPU = Machine("cpu", False, 1)
BREVITY = {"signals": [{"signal": "output_tokens", "weight": 1.0, "worst": 60.0, "best": 0.0}]}


def _examples(n: int, text: str = "Note: drug {i} mg.") -> list[Example]:
    return [Example(f"Patient {i}", text.format(i=i), f"user {i % 5}", str(i)) for i in range(n)]


def _job(base: Path, folder: Path, examples: list[Example], design: dict[str, Any] | None, **settings: Any) -> Job:
    run = make_run_folder(folder, {}, examples, [])
    config = WeightedConfig(batch_size=8, epochs=1, **settings)
    return Job(base, config, run, CPU, lambda step: None, lambda: False, lambda sentence: None, design)


def test_the_loss_counts_each_row_by_its_weight(tiny_base: Path, tmp_path: Path) -> None:
    _, tokenizer = load_base(tiny_base)
    rows = tokenized([*_examples(2), Example("Patient", "Note: a much longer note.", "u", "i")], tokenizer)

    def loss(trainer_class: type[sft.Trainer], weights: list[float]) -> float:
        mine = [row._replace(weight=weight) for row, weight in zip(rows, weights, strict=True)]
        config = WeightedConfig()
        trainer = sft.build_trainer(load_base(tiny_base)[0], tokenizer, mine, config, tmp_path, CPU, trainer_class)
        batch = next(iter(trainer.get_train_dataloader()))
        found: torch.Tensor = trainer.compute_loss(trainer.model, batch, num_items_in_batch=1)
        return found.item()

    assert loss(weighted.Trainer, [1.0, 1.0, 1.0]) == pytest.approx(loss(sft.Trainer, [1.0, 1.0, 1.0]), rel=1e-6)
    alone = [loss(weighted.Trainer, [float(place == own) for place in range(3)]) for own in range(3)]
    assert loss(weighted.Trainer, [0.5, 2.0, 3.0]) == pytest.approx(
        0.5 * alone[0] + 2.0 * alone[1] + 3.0 * alone[2], rel=1e-5
    )


def test_a_design_that_likes_brevity_weighs_short_texts_more_and_sharper_weighs_them_more_still(
    tiny_base: Path, tmp_path: Path
) -> None:
    examples = [*_examples(20), *_examples(20, "Note: patient takes drug {i} mg.")]
    rewards = weighted.rewards_of(examples, _job(tiny_base, tmp_path / "run", examples, BREVITY))
    rows, dropped = weighted.weighed(examples, rewards, 1.0)
    assert dropped == {}
    assert sum(row.weight for row in rows) == pytest.approx(40)
    assert min(row.weight for row in rows[:20]) > max(row.weight for row in rows[20:])
    sharper, _ = weighted.weighed(examples, rewards, 4.0)
    assert sharper[0].weight > rows[0].weight > 1.0
    assert {row.weight for row in weighted.weighed(examples, rewards, 0.0)[0]} == {1.0}


def test_texts_that_earn_nothing_are_left_out_and_counted(tiny_base: Path, tmp_path: Path) -> None:
    examples = [*_examples(24), *_examples(3, "Note: " + "drug " * 60)]
    trained = weighted.train(_job(tiny_base, tmp_path / "run", examples, BREVITY))
    assert trained.n_rows == 24
    assert trained.dropped == {"with a reward of 0": 3}
    with pytest.raises(DesignError, match=r"17 of 20 training rows can be learned from \(3 with a reward of 0\)"):
        weighted.train(_job(tiny_base, tmp_path / "few", examples[7:], BREVITY))


def test_without_a_design_nothing_can_be_weighed(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(DesignError, match="this run has none; name one"):
        weighted.train(_job(tiny_base, tmp_path / "run", _examples(20), None))


def test_tokens_carry_the_weight_of_their_row(tiny_base: Path) -> None:
    _, tokenizer = load_base(tiny_base)
    (row,) = tokenized([_examples(1)[0]._replace(weight=2.5)], tokenizer)
    assert isinstance(row, Tokens)
    assert row.weight == 2.5
