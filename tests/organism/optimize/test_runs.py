"""A run is a folder: written whole, read back equal, and a broken one says so."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from organism.errors import DesignError, RunError
from organism.optimize.configs import SftConfig
from organism.optimize.runs import (
    Example,
    RunFolder,
    Status,
    append_line,
    disk_error_in,
    make_run_folder,
    read_lines,
    training_steps,
    why_the_disk,
    why_the_memory,
    write_json,
)
from organism.records import FactCheck, RunStatus

EXAMPLE = Example("Prompt ä", "Final", "user", "id", (FactCheck("age", ("41", "41 yo")),), "Second")


def test_what_is_written_into_a_folder_is_read_back_equal(tmp_path: Path) -> None:
    run = make_run_folder(
        tmp_path / "runs" / "r", {"recipe": "sft", "config": {"epochs": 2}}, [EXAMPLE], [EXAMPLE._replace(facts=())]
    )
    assert run.examples() == [EXAMPLE]
    assert run.heldout() == [EXAMPLE._replace(facts=())]
    assert run.config() == SftConfig(epochs=2)
    assert run.status().state is RunStatus.QUEUED
    assert (run.run_id, run.workspace) == ("r", tmp_path)


def test_a_status_is_replaced_whole(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_status(Status(RunStatus.RUNNING, "Step 1 of 2", 12, 1.5, step=1))
    run.write_status(Status(RunStatus.DONE, "Trained"))
    assert run.status() == Status(RunStatus.DONE, "Trained")
    assert [file.name for file in tmp_path.iterdir()] == ["status.json"]


def test_a_line_that_is_still_being_written_is_left_for_later(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    append_line(file, {"step": 1})
    with file.open("a") as out:
        out.write('{"step": 2')
    assert list(read_lines(file)) == [{"step": 1}]


def test_of_a_step_that_a_resumed_run_repeated_the_last_counts(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for step, loss in [(1, 3.0), (2, 2.0), (3, 9.0), (3, 1.0)]:
        append_line(run.progress, {"phase": "train", "step": step, "loss": loss})
    append_line(run.progress, {"phase": "evaluate", "which": "before", "done": 1, "total": 2})
    assert [(row["step"], row["loss"]) for row in training_steps(run)] == [(1, 3.0), (2, 2.0), (3, 1.0)]


def test_a_broken_file_is_named_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "data.jsonl").write_text('{"prompt": "p"}\n')
    with pytest.raises(RunError, match=r"config\.json cannot be read"):
        RunFolder(tmp_path).config()
    with pytest.raises(RunError, match=r"data\.jsonl is broken"):
        RunFolder(tmp_path).examples()
    with pytest.raises(RunError, match=r"heldout\.jsonl is missing"):
        RunFolder(tmp_path).heldout()


def test_a_full_disk_is_called_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "status.json.tmp").symlink_to("/dev/full")
    with pytest.raises(OSError) as caught:
        write_json(tmp_path / "status.json", {"state": "running"})
    assert "is full" in why_the_disk(caught.value, tmp_path)
    with pytest.raises(OSError) as caught:
        write_json(tmp_path / "missing" / "status.json", {})
    assert "No such file" in why_the_disk(caught.value, tmp_path)


def test_a_full_disk_is_known_through_the_libraries_that_write_checkpoints(tmp_path: Path) -> None:
    full = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    error = disk_error_in(full)
    assert error is not None
    assert "is full" in why_the_disk(error, tmp_path)
    torch_says = RuntimeError(
        "[enforce fail at inline_container.cc:664] . PytorchStreamWriter failed writing file data/0"
    )
    error = disk_error_in(torch_says)
    assert error is not None
    assert "is the disk full?" in why_the_disk(error, tmp_path)
    assert disk_error_in(ValueError("nothing of the kind")) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("learning_rate", 1.0),
        ("replay_share", 1.0),
        ("batch_size", -1),
        ("lora_r", float("nan")),
        ("seed", 10**400),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(DesignError, match=name):
        replace(SftConfig(), **{name: value}).check()


def test_an_unknown_setting_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DesignError, match=r"no setting 'epoch'; known settings: .*epochs"):
        SftConfig.from_dict({"epoch": 3})


def test_equal_settings_have_equal_ids_and_a_change_changes_it() -> None:
    assert SftConfig().id == SftConfig.from_dict(json.loads(json.dumps({"epochs": 3}))).id
    assert SftConfig().id != SftConfig(seed=1).id
    SftConfig().check()


def test_memory_that_was_not_enough_is_a_sentence_that_names_what_to_shrink(tmp_path: Path) -> None:
    run = make_run_folder(tmp_path / "run", {"recipe": "sft", "config": asdict(SftConfig(batch_size=32))}, [], [])
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**16)
    for error in (caught.value, MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")):
        assert "shrink batch_size (now 32), max_length (now 640) or lora_r (now 16)" in str(why_the_memory(error, run))
    assert why_the_memory(RuntimeError("shapes do not fit"), run) is None
