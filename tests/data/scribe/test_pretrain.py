"""Pre-training reads the same batches from the same seed, goes on where it stopped, and leaves a loadable model."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from data.scribe import curriculum, pretrain
from data.scribe.card import write_card
from data.scribe.curriculum import GROUP, LEVELS, level_at
from data.scribe.encounters import is_made_up, is_reserved
from data.scribe.measure import Share, count_right, unseen_visits
from data.scribe.notes import generic_note
from data.scribe.pretrain import Run
from data.scribe.tokenizer import framed, tokenizer_texts
from organism.lm.decoder import Decoder

N_STEPS, REFINE_STEPS = GROUP, GROUP


@pytest.fixture(scope="module", autouse=True)
def _small_levels() -> None:
    """Two rows a batch and a tokenizer of few visits, so that a run takes a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrain, "tokenizer_texts", lambda seed: tokenizer_texts(seed, 300))
        patch.setattr(curriculum, "REFINER", curriculum.REFINER._replace(n_rows=2))
        patch.setattr(curriculum, "LEVELS", tuple(level._replace(n_rows=2) for level in LEVELS))
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path, Path]:
    """A run trained to its end, with the checkpoint of its middle and the model folder of its end."""
    folder = tmp_path_factory.mktemp("pretrain")
    run = pretrain.new_run(N_STEPS, REFINE_STEPS, seed=4)
    for progress in pretrain.train(run):
        if progress.step == GROUP:
            pretrain.save_checkpoint(run, folder / "checkpoint.pt")
    pretrain.save_model(run, folder / "model")
    return run, folder / "checkpoint.pt", folder / "model"


def test_equal_seed_and_step_give_equal_batches(trained: tuple[Run, Path, Path]) -> None:
    tokenizer = trained[0].tokenizer
    first, again, other = (curriculum.batches(tokenizer, seed, 40, 100) for seed in (1, 1, 2))
    assert len(first) == GROUP
    assert all(torch.equal(a.ids, b.ids) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a.ids, b.ids) for a, b in zip(first, other, strict=True))


def test_the_loss_is_on_the_note_and_its_end_alone(trained: tuple[Run, Path, Path]) -> None:
    tokenizer = trained[0].tokenizer
    for batch in curriculum.batches(tokenizer, 1, 60, 100):
        for ids, is_note in zip(batch.ids, batch.is_note, strict=True):
            note = tokenizer.decode(ids[is_note])
            assert note.endswith("<|end|>")
            assert "D: " not in note
            assert tokenizer.decode(ids).startswith("<|visit|>\n")


def test_levels_follow_each_other_to_whole_visits() -> None:
    n_topics = [level_at(step, 1000).n_topics for step in range(1000)]
    assert n_topics == sorted(n_topics, key=lambda n: n or 99)
    assert (n_topics[0], n_topics[-1]) == (1, None)


def test_training_never_meets_a_reserved_name() -> None:
    rows = [curriculum.example(seed, level) for seed in range(150) for level in (LEVELS[0], LEVELS[-1])]
    words = {word.strip(".,") for row in rows for word in row.note.split()}
    reserved = {rx.drug for visit in unseen_visits(150) for rx in visit.prescriptions if is_made_up(rx.drug)}
    assert len(reserved) > 30
    assert words.isdisjoint(reserved)
    assert all(map(is_reserved, reserved))


def test_the_learning_rate_warms_up_and_ends_near_nothing() -> None:
    rates = [pretrain.rate_at(step, 1000, 200) for step in range(1200)]
    assert rates[0] == rates[1000] / pretrain.REFINE_RATE < 0.1
    assert (max(rates), max(rates[1000:])) == pytest.approx((1.0, 0.522), abs=0.001)
    assert max(rates[999], rates[1199]) < 0.01


def test_a_resumed_run_ends_with_the_same_weights(trained: tuple[Run, Path, Path]) -> None:
    whole, checkpoint, _ = trained
    resumed = pretrain.resume_checkpoint(checkpoint)
    assert resumed.progress.step == GROUP
    assert [progress.step for progress in pretrain.train(resumed)] == [N_STEPS + REFINE_STEPS]
    assert resumed.progress.tokens == whole.progress.tokens
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


def test_the_model_folder_is_small_framed_and_can_draft(trained: tuple[Run, Path, Path]) -> None:
    folder = trained[2]
    assert (folder / "model.safetensors").stat().st_size < 12e6
    decoder = Decoder.from_folder(folder)
    message = [{"role": "user", "content": "P: No fever."}]
    assert decoder.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True) == framed(
        "P: No fever."
    )
    assert decoder.tokenizer.tokenize("875") == ["8", "7", "5"]
    assert decoder.generate(["P: No fever."], max_new_tokens=3)[0].output_tokens == 3


def test_right_notes_count_as_right_and_strangers_do_not() -> None:
    visits = unseen_visits(30)
    notes = [generic_note(visit) for visit in visits]
    assert all(counted.right == counted.n > 0 for counted in count_right(visits, notes).values())
    wrong = count_right(visits, notes[1:] + notes[:1])
    assert wrong["all facts"].right == 0


def test_the_card_tells_what_fell_short(trained: tuple[Run, Path, Path]) -> None:
    run, _, folder = trained
    visits = unseen_visits(20)
    measured = count_right(visits, ["" for _ in visits])
    write_card(
        folder,
        asdict(run.progress),
        measured,
        seed=4,
        n_steps=N_STEPS,
        threads=1,
        first_seed=0,
        recipe={"matrix_rate": 0.02, "other_rate": 4e-3, "warmup": 30, "decay": 0.5, "refine_rate": 0.6},
    )
    card = (folder / "README.md").read_text()
    assert card.count("fell short") == 3
    assert "synthetic" in card
    assert "no medical" in card


def test_the_interval_of_a_share_is_wilsons() -> None:
    low, high = Share(9, 10).interval()
    assert (low, high) == pytest.approx((0.5958, 0.9821), abs=1e-3)  # statsmodels 0.15 proportion_confint
    assert Share(0, 0).interval() == (0.0, 1.0)
    assert Share(0, 0).share is None
