"""Recipe dpo: its loss, its refusals, and a run that was cut off and goes on to the same adapter."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import trl
from safetensors.torch import load_file

from organism.errors import DesignError
from organism.optimize.configs import DpoConfig
from organism.optimize.preferences import reference_log_probs, texts_of
from organism.optimize.recipes import dpo
from organism.optimize.runs import Example, Pair, RunFolder, make_run_folder
from organism.optimize.training import Job, Machine, Step, load_base, tokenized

# transformers and peft ask each other for arguments by their old names.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
CPU = Machine("cpu", False, 1)
CONFIG = DpoConfig(epochs=2, batch_size=4, checkpoint_every=3, learning_rate=1e-2, lora_r=4, max_length=64)


def _pairs(n: int) -> list[Pair]:
    return [
        Pair(
            f"Patient {i} takes drug {i} mg.", f"Note: drug {i} mg.", f"Note: a drug{' again' * (i % 3)}.", "u", str(i)
        )
        for i in range(n)
    ]


def _never() -> bool:
    return False


def _job(
    base: Path, run: RunFolder, config: DpoConfig = CONFIG, stop_asked: Callable[[], bool] = _never
) -> tuple[Job, list[Step]]:
    steps: list[Step] = []
    return Job(base, config, run, CPU, steps.append, stop_asked, lambda sentence: None), steps


@pytest.mark.parametrize("imitation", [0.0, 0.4])
def test_our_loss_and_its_gradient_are_those_of_trl(tiny_base: Path, tmp_path: Path, imitation: float) -> None:
    losses, slopes = [], []
    config = DpoConfig(beta=0.3, imitation=imitation)
    for number, trainer_class in enumerate((trl.DPOTrainer, dpo.Trainer)):
        model, tokenizer = load_base(tiny_base)
        rows = dpo.tokenized_pairs(_pairs(5), tokenizer)
        folder = tmp_path / str(number)
        folder.mkdir()
        texts = [text for row in rows for text in row]
        reference = reference_log_probs(model, texts, folder, CPU, _never)
        assert reference is not None
        data = [dpo.row_of(row, reference[2 * n : 2 * n + 2]) for n, row in enumerate(rows)]
        if trainer_class is trl.DPOTrainer:
            data = [{name: row[name] for name in ("prompt_ids", "chosen_ids", "rejected_ids")} for row in data]
        trainer = dpo.build_trainer(model, tokenizer, data, config, folder, CPU, _ready(trainer_class))
        torch.manual_seed(1)
        for name, weights in trainer.model.named_parameters():
            if "lora_B" in name:  # an adapter that does something: a fresh one adds nothing
                torch.nn.init.normal_(weights, std=0.05)
        loss = trainer.compute_loss(trainer.model, trainer.data_collator(data))
        loss.backward()
        losses.append(loss.item())
        slopes.append(torch.cat([w.grad.flatten() for _, w in sorted(_trained(trainer.model))]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert torch.allclose(slopes[0], slopes[1], rtol=1e-3, atol=1e-6)


def _trained(model: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, weights) for name, weights in model.named_parameters() if weights.requires_grad]


def _ready(trainer_class: type[trl.DPOTrainer]) -> type[trl.DPOTrainer]:
    """The trainer, taking rows that are tokens already."""
    return type("Ready", (trainer_class,), {"_prepare_dataset": lambda self, dataset, *_, **__: dataset})


def test_a_text_reads_the_same_to_every_recipe(tiny_base: Path) -> None:
    _, tokenizer = load_base(tiny_base)
    (text,) = texts_of(["Patient 1"], ["Note 1"], tokenizer)
    (row,) = tokenized([Example("Patient 1", "Note 1", "u", "i")], tokenizer)
    assert text.input_ids == row.input_ids
    assert len(text.completion_ids) == row.n_targets


def test_preferring_makes_the_chosen_likelier_than_the_rejected(tiny_base: Path, tmp_path: Path) -> None:
    job, steps = _job(tiny_base, make_run_folder(tmp_path / "run", {}, _pairs(24), []))
    trained = dpo.train(job)
    assert (trained.steps, trained.n_rows, trained.stopped) == (12, 24, False)
    assert steps[0].extra["margin"] == pytest.approx(0, abs=1e-4)
    assert steps[-1].extra["margin"] > 0.1
    assert steps[-1].extra["accuracy"] > 0.9
    assert steps[-1].loss < steps[0].loss
    assert (job.run.adapter / "adapter_model.safetensors").is_file()


def test_a_stopped_run_goes_on_to_the_very_same_adapter(tiny_base: Path, tmp_path: Path) -> None:
    whole, _ = _job(tiny_base, make_run_folder(tmp_path / "whole", {}, _pairs(24), []))
    dpo.train(whole)
    run = make_run_folder(tmp_path / "cut", {}, _pairs(24), [])
    seen: list[Step] = []
    cut = _job(tiny_base, run)[0]._replace(on_step=seen.append, stop_asked=lambda: len(seen) >= 4)
    assert dpo.train(cut).stopped
    dpo.train(_job(tiny_base, run)[0])
    weights = [load_file(job.run.adapter / "adapter_model.safetensors") for job in (whole, cut)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_with_patience_the_best_checkpoint_on_users_set_apart_is_kept(tiny_base: Path, tmp_path: Path) -> None:
    pairs = [pair._replace(user_key=f"user {n % 6}") for n, pair in enumerate(_pairs(36))]
    config = replace(CONFIG, patience=2, validation_share=0.2, epochs=1)
    trained = dpo.train(_job(tiny_base, make_run_folder(tmp_path / "run", {}, pairs, []), config)[0])
    assert trained.n_rows == 24
    assert trained.best_step in (3, 6)
    assert trained.heldout_loss is not None
    assert trained.heldout_loss < 0.69


def test_a_run_that_is_stopped_while_the_base_reads_leaves_no_adapter(tiny_base: Path, tmp_path: Path) -> None:
    job, steps = _job(tiny_base, make_run_folder(tmp_path / "run", {}, _pairs(24), []), stop_asked=lambda: True)
    assert dpo.train(job).stopped
    assert not steps
    assert not job.run.adapter.exists()


def test_pairs_with_equal_texts_are_left_out_and_too_few_others_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    same = [pair._replace(rejected=pair.chosen + " ") for pair in _pairs(30)]
    job, _ = _job(tiny_base, make_run_folder(tmp_path / "run", {}, [*_pairs(19), *same], []))
    with pytest.raises(DesignError, match=r"19 of 49 training rows can be learned from \(30 with two equal texts\)"):
        dpo.train(job)


def test_a_pair_is_as_long_as_its_longer_text(tiny_base: Path, tmp_path: Path) -> None:
    long = [pair._replace(rejected="word " * 200) for pair in _pairs(5)]
    job, _ = _job(tiny_base, make_run_folder(tmp_path / "run", {}, [*_pairs(19), *long], []))
    with pytest.raises(DesignError, match=r"19 of 24 training rows can be learned from \(5 longer than"):
        dpo.train(job)
