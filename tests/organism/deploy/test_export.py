"""A version leaves the house whole: weights that draft the same text elsewhere, and a card of nothing but facts."""

import hashlib
import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from organism.config import Workspace
from organism.deploy.export import export_version, facts_of
from organism.deploy.flow import register_base, register_version
from organism.deploy.model_cards import Facts, written_card
from organism.errors import InputError, ModelError
from organism.records import ModelVersion, RewardDesign, Role, SignalSpec, new_id
from organism.store.database import Store
from organism.store.datasets import append_dataset
from organism.store.evaluations import EvalRun, insert_evaluation
from tests.organism.conftest import START

# peft asks transformers for a property by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
SUMMARY = {
    "before": 0.4,
    "after": 0.8,
    "gain_ci": [0.35, 0.45],
    "facts_before": 0.9,
    "facts_after": 0.85,
    "facts_gain_ci": [-0.09, -0.01],
    "floor": 0.05,
    "ceiling": None,
    "n_rows": 9,
    "n_users": 3,
}


@pytest.fixture(scope="module")
def adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter whose effect is large, so that forgetting it would show."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    torch.manual_seed(4)
    config = LoraConfig(r=4, lora_alpha=32, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    folder = tmp_path_factory.mktemp("adapter")
    get_peft_model(LlamaForCausalLM.from_pretrained(tiny_base), config).save_pretrained(folder)
    return folder


@pytest.fixture
def version(store: Store, events, tiny_base: Path, adapter: Path) -> ModelVersion:
    """An evaluated version of the loop `notes`, with the six rows that it learned from."""
    rows = []
    for n in range(8):
        draft = events.draft(f"user {n % 4}")
        texts = {"prompt": f"Patient {n} takes drug {n} mg.", "completion": f"Note: drug {n} mg."}
        row = {**texts, "interaction_id": draft, "feedback_id": new_id(START), "user_key": f"user {n % 4}"}
        rows.append({**row, "row_number": n, "split": "train" if n < 6 else "heldout"})
    events.write()
    header = {
        "dataset_id": new_id(START),
        "loop_id": events.loop_id,
        "name": "notes of September",
        "content_hash": "abc123",
        "n_train": 6,
        "n_heldout": 2,
        "n_users_train": 3,
        "n_users_heldout": 1,
        "dropped": {},
        "created_at": START,
    }
    append_dataset(store, header, rows)
    made = register_version(
        store,
        events.loop_id,
        name="notes-1",
        base_path=str(tiny_base),
        adapter_path=str(adapter),
        dataset_id=header["dataset_id"],
        now=START,
    )
    record = EvalRun(
        eval_run_id=new_id(START),
        loop_id=events.loop_id,
        run_id=None,
        model_version_id=made.model_version_id,
        baseline_version_id="base",
        dataset_id=header["dataset_id"],
        summary=SUMMARY,
        created_at=START,
    )
    store.write(lambda cursor: insert_evaluation(cursor, record, []), "eval_runs")
    return made


def test_an_exported_version_drafts_the_same_text_by_transformers_alone(store, version, tiny_base, adapter, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from organism.lm.decoder import Decoder

    to = tmp_path / "out" / "notes-1"
    done = export_version(store, Workspace(tmp_path / "w"), version, to)
    assert (done.folder, done.n_checked, done.n_equal) == (to, 2, 2)
    prompt = "Patient 77 takes drug 12 mg."
    model, tokenizer = AutoModelForCausalLM.from_pretrained(to), AutoTokenizer.from_pretrained(to)
    framed = [{"role": "user", "content": prompt}]
    ids = tokenizer.apply_chat_template(framed, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    ids.pop("token_type_ids", None)
    written = model.generate(**ids, max_new_tokens=20, do_sample=False)[0, ids["input_ids"].shape[1] :]
    text = tokenizer.decode(written, skip_special_tokens=True)
    assert text == Decoder.from_folder(tiny_base, adapter).generate([prompt], max_new_tokens=20)[0].text
    assert text != Decoder.from_folder(tiny_base).generate([prompt], max_new_tokens=20)[0].text


def test_an_export_holds_adapter_training_set_and_card_and_names_every_file_with_its_hash(store, version, tmp_path):
    to = tmp_path / "notes-1"
    export_version(store, Workspace(tmp_path / "w"), version, to)
    names = {file.relative_to(to).as_posix() for file in to.rglob("*") if file.is_file()}
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names
    assert {"adapter/adapter_model.safetensors", "adapter/adapter_config.json", "training/train.jsonl"} <= names
    rows = [json.loads(line) for line in (to / "training/train.jsonl").read_text().splitlines()]
    assert [row["completion"] for row in rows] == [f"Note: drug {n} mg." for n in range(6)]
    manifest = json.loads((to / "manifest.json").read_text())
    assert {file["name"] for file in manifest["files"]} == names - {"README.md", "manifest.json"}
    for file in manifest["files"]:
        assert hashlib.sha256((to / file["name"]).read_bytes()).hexdigest() == file["sha256"]
    assert json.loads((to / "adapter/adapter_config.json").read_text())["base_model_name_or_path"] == version.base_path


def test_a_card_states_figures_intervals_limits_and_lineage_and_nothing_unknown(store, version, tmp_path):
    card = written_card(facts_of(store, Workspace(tmp_path / "w"), version))
    assert "| retained characters | 40.0% | 80.0% | +40.0 points, +35.0 to +45.0 |" in card
    assert "On 9 held-out drafts of 3 users" in card
    assert "- It gets fewer facts right than its base: -9.0 to -1.0 points." in card
    assert "Training set 'notes of September' (sft): 6 rows of 3 users; held out: 2 rows of 1 others." in card
    assert "chance floor 5.0%" in card
    assert "ceiling" not in card
    assert "None" not in card
    assert f"- version: `{version.model_version_id}`" in card
    assert "**All of the drafts it learned from are simulated" in card


def test_the_card_of_a_run_tells_recipe_design_training_set_and_machine(version) -> None:
    design = RewardDesign(name="quality", signals=(SignalSpec("retained_char_rate", 1.0, 0.0, 1.0),))
    facts = Facts(
        version=version,
        loop="notes",
        base={"uri": "bundled:base", "n_parameters": 3_740_000, "license": "apache-2.0"},
        run={"recipe": "sft", "preset": "quick", "config": {"epochs": 3, "threads": None}},
        design=design,
        dataset={"name": "s", "kind": "sft", "n_train": 6, "n_users_train": 3, "n_heldout": 2, "n_users_heldout": 1}
        | {"content_hash": "abc"},
        environment={"machine": {"device": "cpu", "threads": 2, "bf16": True}, "libraries": {"torch": "2"}},
        trained={"steps": 18, "n_rows": 6, "n_too_long": 1},
    )
    card = written_card(facts, [{"name": "model.safetensors", "bytes": 1000, "sha256": "ff"}], folder="notes-1")
    assert card.startswith("---\nlibrary_name: transformers\nmodel_name: notes-1\nbase_model: bundled:base\nlicense: ")
    assert "The model has 3.74 million parameters." in card
    assert "Recipe `sft`, preset `quick`" in card
    assert f"Reward design 'quality' (`{design.id}`): retained_char_rate 1" in card
    assert "6 rows of 3 users; held out: 2 rows of 1 others" in card
    assert "18 steps on 6 usable rows" in card
    assert "1 training rows were longer than the context" in card
    assert "Settings: epochs 3\n" in card
    assert "vllm serve notes-1" in card
    assert "this version was never evaluated" in card


def test_a_base_alone_can_be_exported_too(store, events, tiny_base, tmp_path) -> None:
    base = register_base(store, events.loop_id, str(tiny_base), now=START)
    done = export_version(store, Workspace(tmp_path / "w"), base, tmp_path / "base")
    assert not (done.folder / "adapter").exists()
    assert not (done.folder / "training").exists()
    told = load_file(done.folder / "model.safetensors")
    assert all((told[name] == weights).all() for name, weights in load_file(tiny_base / "model.safetensors").items())


def test_an_adapter_for_another_base_is_refused_and_nothing_is_left(store, version, adapter, tmp_path) -> None:
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    (wrong / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({name: tensor[:, :-1] for name, tensor in weights.items()}, wrong / "adapter_model.safetensors")
    other = register_version(
        store, version.loop_id, name="notes-2", base_path=version.base_path, adapter_path=str(wrong), now=START
    )
    with pytest.raises(ModelError, match="was trained for another base: its"):
        export_version(store, Workspace(tmp_path / "w"), other, tmp_path / "out" / "notes-2")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_export_never_writes_over_what_is_there(store, version, tmp_path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="is there already and not empty"):
        export_version(store, Workspace(tmp_path / "w"), version, tmp_path / "full")
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["thesis.txt"]


def test_the_card_of_a_judge_says_that_it_never_writes(version) -> None:
    from dataclasses import replace

    evaluation = {"judge_agreement": {"n": 40, "agreement": 0.8, "ci": [0.7, 0.9]}}
    facts = Facts(version=replace(version, role=Role.JUDGE), loop="notes", base={"uri": "b"}, evaluation=evaluation)
    card = written_card(facts)
    assert "judges drafts of the loop `notes`; it writes none" in card
    assert "agrees with held-out people on 80.0% of 40 pairs (95% interval 70.0% to 90.0%)" in card
