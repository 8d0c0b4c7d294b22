"""`organism reward map` and `organism reward growth` on a small workspace."""

import json
from pathlib import Path
from typing import Any

import pytest

from organism.cli.main import main
from organism.store.loops import ensure_loop
from organism.store.schema import open_store
from tests.organism.api.test_weights import sample
from tests.organism.cli.test_rewards import AT, put


@pytest.fixture
def place(tmp_path: Path) -> list[str]:
    store = open_store(tmp_path / "organism.duckdb")
    loop_id = ensure_loop(store, "notes", AT)
    put(store, loop_id)
    sample(store, loop_id)
    store.close()
    return ["--workspace", str(tmp_path), "--no-demo"]


def test_the_map_in_words_and_as_data(place: list[str], capsys: Any) -> None:
    assert main(["reward", "map", *place]) == 0
    said = capsys.readouterr().out
    assert "wins." in said
    assert "Effective number of signals" in said
    assert main(["reward", "map", "quality", "--json", *place]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["winner"], len(data["mixes"])) == ("tuned", 325)
    assert {row["variant"]: row["on_front"] for row in data["front"]} == {"base": True, "tuned": True}
    assert {"interaction_id", "place_live", "place_draft", "change"} <= data["moves"][0].keys()


def test_the_map_shows_the_front_and_the_drafts_that_move(place: list[str], capsys: Any) -> None:
    assert main(["reward", "map", *place]) == 0
    said = capsys.readouterr().out
    assert "beaten in all means" in said
    assert "those that move most" not in said, "nothing moves from the live design to itself"
    assert main(["reward", "map", "price", *place]) == 0
    assert "Of 24 drafts that both designs score, those that move most" in capsys.readouterr().out


def test_growth_in_words_and_as_data(place: list[str], capsys: Any) -> None:
    assert main(["reward", "growth", *place]) == 0
    said = capsys.readouterr().out
    assert "as sampled" in said
    assert "the model would learn to stop writing" in said
    assert main(["reward", "growth", "--json", *place]) == 0
    assert json.loads(capsys.readouterr().out)["grown"]["n_prompts"] == 1


def test_what_is_not_there_is_exit_2(place: list[str], tmp_path: Path, capsys: Any) -> None:
    assert main(["reward", "map", "nonesuch", *place]) == 2
    assert main(["reward", "growth", str(tmp_path / "absent.toml"), *place]) == 2
    assert "cannot be read" in capsys.readouterr().err
