"""Recipe kto: its loss, its weights, its refusals, and a run that was cut off and goes on to the same adapter."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import trl
from safetensors.torch import load_file

from organism.errors import DesignError
from organism.optimize.configs import KtoConfig
from organism.optimize.preferences import reference_log_probs
from organism.optimize.recipes import kto
from organism.optimize.runs import Labeled, RunFolder, make_run_folder
from organism.optimize.training import Job, Machine, Step, load_base

# transformers and peft ask each other for arguments by their old names.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
CPU = Machine("cpu", False, 1)
CONFIG = KtoConfig(epochs=2, batch_size=6, checkpoint_every=3, learning_rate=1e-2, lora_r=4, max_length=64)


def _thumbs(n: int) -> list[Labeled]:
    return [
        Labeled(f"Patient {i} takes {i} mg.", f"Note: {'drug' if i % 3 else 'never'} {i} mg.", i % 3 > 0, "u", str(i))
        for i in range(n)
    ]


def _never() -> bool:
    return False


def _job(base: Path, run: RunFolder, stop_asked: Callable[[], bool] = _never) -> tuple[Job, list[Step]]:
    steps: list[Step] = []
    return Job(base, CONFIG, run, CPU, steps.append, stop_asked, lambda sentence: None), steps


@pytest.mark.parametrize("rows", [6, 1])
def test_our_loss_and_its_gradient_are_those_of_trl(tiny_base: Path, tmp_path: Path, rows: int) -> None:
    losses, slopes = [], []
    config, weights = KtoConfig(beta=0.5), kto.Weights(0.7, 1.9)
    for number, trainer_class in enumerate((trl.KTOTrainer, kto.Trainer)):
        model, tokenizer = load_base(tiny_base)
        thumbs = kto.tokenized_thumbs(_thumbs(rows), tokenizer)
        folder = tmp_path / str(number)
        folder.mkdir()
        reference = reference_log_probs(model, [thumb.text for thumb in thumbs], folder, CPU, _never)
        assert reference is not None
        data = kto.batch_rows(range(rows), thumbs, reference)
        trainer = kto.build_trainer(model, tokenizer, data, config, weights, folder, CPU, _ready(trainer_class))
        torch.manual_seed(1)
        for name, matrix in trainer.model.named_parameters():
            if "lora_B" in name:  # an adapter that does something: a fresh one adds nothing
                torch.nn.init.normal_(matrix, std=0.05)
        loss = trainer.compute_loss(trainer.model, trainer.data_collator(data))
        loss.backward()
        losses.append(loss.item())
        trained = [(name, matrix) for name, matrix in trainer.model.named_parameters() if matrix.requires_grad]
        slopes.append(torch.cat([matrix.grad.flatten() for _, matrix in sorted(trained)]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert torch.allclose(slopes[0], slopes[1], rtol=1e-3, atol=1e-6)


def _ready(trainer_class: type[trl.KTOTrainer]) -> type[trl.KTOTrainer]:
    """The trainer, taking rows that are tokens already."""
    return type("Ready", (trainer_class,), {"_prepare_dataset": lambda self, dataset, *_, **__: dataset})


def test_each_row_carries_the_completion_of_another_prompt_of_its_batch(tiny_base: Path) -> None:
    _, tokenizer = load_base(tiny_base)
    thumbs = kto.tokenized_thumbs(_thumbs(3), tokenizer)
    rows = kto.batch_rows([2, 0, 1], thumbs, [-1.0, -2.0, -3.0])
    assert [row["ref_logps"] for row in rows] == [-3.0, -1.0, -2.0]
    own = [row["completion_ids"] for row in rows]
    assert [row["KL_completion_ids"] for row in rows] == [own[2], own[0], own[1]]


def test_thumbs_down_make_up_the_share_that_was_asked_whatever_their_number() -> None:
    weights = kto.weights_of([True] * 90 + [False] * 10, 0.4)
    assert 10 * weights.undesirable == pytest.approx(0.4 * 100)
    assert 90 * weights.desirable == pytest.approx(0.6 * 100)


def test_thumbs_pull_the_desirable_up_and_the_undesirable_down(tiny_base: Path, tmp_path: Path) -> None:
    job, steps = _job(tiny_base, make_run_folder(tmp_path / "run", {}, _thumbs(30), []))
    trained = kto.train(job)
    assert (trained.steps, trained.n_rows, trained.stopped) == (10, 30, False)
    margins = [step.extra["margin"] for step in steps if "margin" in step.extra]
    assert margins[-1] > 0.1
    assert (job.run.adapter / "adapter_model.safetensors").is_file()


def test_a_stopped_run_goes_on_to_the_very_same_adapter(tiny_base: Path, tmp_path: Path) -> None:
    whole, _ = _job(tiny_base, make_run_folder(tmp_path / "whole", {}, _thumbs(30), []))
    kto.train(whole)
    run = make_run_folder(tmp_path / "cut", {}, _thumbs(30), [])
    seen: list[Step] = []
    cut = _job(tiny_base, run)[0]._replace(on_step=seen.append, stop_asked=lambda: len(seen) >= 4)
    assert kto.train(cut).stopped
    kto.train(_job(tiny_base, run)[0])
    weights = [load_file(job.run.adapter / "adapter_model.safetensors") for job in (whole, cut)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_with_patience_the_best_checkpoint_on_users_set_apart_is_kept(tiny_base: Path, tmp_path: Path) -> None:
    rows = [row._replace(user_key=f"user {n % 5}") for n, row in enumerate(_thumbs(45))]
    job = _job(tiny_base, make_run_folder(tmp_path / "run", {}, rows, []))[0]
    trained = kto.train(job._replace(config=replace(CONFIG, patience=2, validation_share=0.2, epochs=1)))
    assert trained.n_rows == 36
    assert trained.best_step in (3, 6)
    assert trained.heldout_loss is not None


@pytest.mark.parametrize(("label", "words"), [(True, "desirable"), (False, "undesirable")])
def test_thumbs_of_one_kind_are_refused(tiny_base: Path, tmp_path: Path, label: bool, words: str) -> None:
    rows = [row._replace(label=label) for row in _thumbs(30)]
    job, _ = _job(tiny_base, make_run_folder(tmp_path / "run", {}, rows, []))
    with pytest.raises(DesignError, match=f"all 30 rows are {words} .*give rows of both kinds"):
        kto.train(job)


def test_rows_that_do_not_fit_are_counted(tiny_base: Path, tmp_path: Path) -> None:
    long = [row._replace(completion="word " * 200) for row in _thumbs(5)]
    job, _ = _job(tiny_base, make_run_folder(tmp_path / "run", {}, [*_thumbs(24), *long], []))
    trained = kto.train(job)
    assert trained.n_too_long == 5
    assert trained.dropped == {"longer than the model may read": 5}
