"""Exported sets as trainers read them: datasets.load_dataset takes the files, TRL's own checks take the columns."""

import json
import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from organism.digest.set_files import TRL_COLUMNS, FileForm, columns_of
from organism.digest.set_reading import describe, export, find_set
from organism.digest.training_set_flow import freeze
from organism.digest.training_sets import is_heldout
from organism.digest.training_settings import Basis, SetSettings
from organism.errors import InputError
from organism.records import DatasetKind

NOW = datetime(2026, 10, 1)
USERS = [f"user-{n:02d}" for n in range(40)]
KINDS = list(DatasetKind)


@pytest.fixture
def frozen(store, events) -> dict[DatasetKind, str]:
    """A set of each kind from forty users; a third of the drafts was rejected."""
    for n in range(120):
        kind = "reject" if n % 3 == 0 else "edit"
        events.answered(USERS[n % 40], at=NOW - timedelta(hours=n), kind=kind, output=f"Draft {n}, “as is”.\nTwo lines")
    events.write()
    return {kind: freeze(store, events.loop_id, SetSettings(kind=kind), now=NOW).dataset_id for kind in KINDS}


def load(file: Path, form: FileForm):
    """The file as a trainer's author would load it, without leaving anything behind."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    reader = "json" if form is FileForm.JSONL else "parquet"
    return load_dataset(reader, data_files=str(file), split="train", cache_dir=str(file.parent / "cache"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", list(FileForm))
def test_an_export_loads_with_trl_s_columns_and_types_and_names_where_each_row_came_from(
    store, events, frozen, tmp_path, kind, form
):
    file = tmp_path / f"set.{form}"
    file.write_bytes(export(store, events.loop_id, frozen[kind], form=form))
    loaded = load(file, form)
    assert tuple(loaded.column_names) == columns_of(kind)
    types = {name: loaded.features[name].dtype for name in TRL_COLUMNS[kind]}
    assert types == {name: "bool" if name == "label" else "string" for name in TRL_COLUMNS[kind]}
    header = find_set(store, events.loop_id, frozen[kind])
    assert len(loaded) == header.n_train + header.n_heldout
    known = {i for (i,) in store.rows("SELECT interaction_id::VARCHAR FROM interactions")}
    said = {i for (i,) in store.rows("SELECT feedback_id::VARCHAR FROM feedback_events")}
    assert set(loaded["interaction_id"]) <= known
    assert set(loaded["feedback_id"]) <= said
    drafts = {DatasetKind.PREFERENCE: "rejected", DatasetKind.UNPAIRED: "completion"}.get(kind)
    assert drafts is None or any("“as is”.\nTwo lines" in text for text in loaded[drafts])


def test_both_forms_say_the_same_and_a_split_is_only_its_users(store, events, frozen, tmp_path):
    for form in FileForm:
        (tmp_path / form).write_bytes(export(store, events.loop_id, frozen["preference"], form=form, split="heldout"))
    rows = [load(tmp_path / form, form).to_list() for form in FileForm]
    assert rows[0] == rows[1]
    assert all(is_heldout(row["user_key"], 0.25) for row in rows[0])


def test_a_reward_is_named_after_the_text_that_earned_it(store, events, frozen):
    def first(made: str) -> dict:
        return json.loads(export(store, events.loop_id, made).splitlines()[0])

    for kind in KINDS:
        by_expert = first(frozen[kind])
        assert 0 < by_expert["draft_reward"] < 1
        assert "reward" not in by_expert, "the text may be a person's"
        assert "draft_reward" in describe(store, events.loop_id, frozen[kind]).examples
    pair = first(frozen["preference"])
    assert pair["rejected_reward"] == pair["draft_reward"], "the rejected text is the draft that earned it"
    settings = SetSettings(basis=Basis.REWARD, min_reward=0.0)
    made = freeze(store, events.loop_id, settings, now=NOW).dataset_id
    by_reward = first(made)
    assert tuple(by_reward) == columns_of(DatasetKind.SFT, Basis.REWARD)
    assert (by_reward["reward"] > 0, "draft_reward" in by_reward) == (True, False)
    assert "reward" in describe(store, events.loop_id, made).examples


def test_a_set_is_found_by_the_beginning_of_its_id_or_hash(store, events, frozen):
    header = find_set(store, events.loop_id, frozen["sft"])
    assert find_set(store, events.loop_id, header.content_hash[:10].upper()) == header
    with pytest.raises(InputError, match=r"no training set begins with the id 'zzzz'; there are: "):
        find_set(store, events.loop_id, "zzzz")
    with pytest.raises(InputError, match="several training sets begin"):
        find_set(store, events.loop_id, frozen["sft"][:8])
    with pytest.raises(InputError, match="one of: jsonl, parquet"):
        export(store, events.loop_id, frozen["sft"], form="csv")
    with pytest.raises(InputError, match="one of: train, heldout"):
        export(store, events.loop_id, frozen["sft"], split="test")


def test_the_composition_counts_every_row_once(store, events, frozen):
    found = describe(store, events.loop_id, frozen["unpaired"], n_examples=2)
    total = found.header.n_train + found.header.n_heldout
    parts = found.composition
    assert all(
        table[["train", "heldout"]].sum().sum() == total for table in (parts.variants, parts.answers, parts.labels)
    )
    assert parts.users["n_rows"].sum() == total
    assert parts.rewards[["train", "heldout"]].sum().sum() == total
    assert 0 < parts.mean_reward < 1
    assert parts.labels["label"].tolist() == ["desirable", "undesirable"]
    assert found.examples["split"].value_counts().to_dict() == {"train": 2, "heldout": 2}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_the_trainer_of_each_kind_takes_two_steps_on_an_exported_set(store, events, frozen, tmp_path, tiny_base, kind):
    import trl
    from transformers import AutoModelForCausalLM, AutoTokenizer

    name = {"sft": "SFT", "preference": "DPO", "unpaired": "KTO"}[kind]
    file = tmp_path / "set.parquet"
    file.write_bytes(export(store, events.loop_id, frozen[kind], form=FileForm.PARQUET, split="train"))
    config = getattr(trl, f"{name}Config")(
        output_dir=str(tmp_path / "run"),
        max_steps=2,
        per_device_train_batch_size=2,
        max_length=96,
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
    )
    trainer = getattr(trl, f"{name}Trainer")(
        AutoModelForCausalLM.from_pretrained(tiny_base),
        args=config,
        train_dataset=load(file, FileForm.PARQUET),
        processing_class=AutoTokenizer.from_pretrained(tiny_base),
    )
    assert trainer.train().global_step == 2
