"""A preview asked of a workspace: read from the store, tokenized in a child, answered in plain data."""

from pathlib import Path

import pytest

from organism.config import Workspace
from organism.digest.training_set_flow import build_training_set
from organism.errors import DesignError, ModelError
from organism.optimize.configs import DpoConfig, SftConfig
from organism.optimize.inspection import preview_tokens
from organism.records import Recipe
from organism.store.database import Store
from tests.organism.conftest import START, Events


def _dataset(events: Events) -> str:
    for n in range(60):
        events.answered(f"user-{n % 12}", prompt=f"prompt {n} about drug {n}")
    events.write()
    return build_training_set(events.store, events.loop_id, name="rows", now=START).dataset_id


def test_a_training_set_is_shown_as_the_model_sees_it_without_torch_in_this_process(
    store: Store, events: Events, tiny_base: Path, tmp_path: Path
) -> None:
    dataset_id = _dataset(events)
    found = preview_tokens(
        store, Workspace(tmp_path), dataset_id, Recipe.SFT, SftConfig(base=str(tiny_base), max_length=64), n=3
    )
    assert len(found.rows) >= 3
    assert "".join(found.rows[0].tokens).startswith("<|visit|>\nprompt ")
    assert found.n_rows == found.n_usable + sum(found.dropped.values())
    assert 0 < found.rows[0].n_learned < found.rows[0].n_tokens


def test_a_set_of_another_kind_and_a_broken_base_are_sentences(
    store: Store, events: Events, tiny_base: Path, tmp_path: Path
) -> None:
    dataset_id, workspace = _dataset(events), Workspace(tmp_path)
    with pytest.raises(DesignError, match="is of the kind sft, and the recipe 'dpo' learns from one of the kind pref"):
        preview_tokens(store, workspace, dataset_id, Recipe.DPO, DpoConfig(base=str(tiny_base)))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelError, match="cannot be loaded"):
        preview_tokens(store, workspace, dataset_id, Recipe.SFT, SftConfig(base=str(empty)))
