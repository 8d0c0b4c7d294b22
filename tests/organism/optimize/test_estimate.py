"""What a run will take is said before it starts, with how far that may be off, and corrected by the runs here."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from organism.config import BUNDLED_BASE, Workspace, utcnow
from organism.errors import DesignError, InputError, ModelError
from organism.optimize.configs import SftConfig
from organism.optimize.estimate import (
    Rates,
    correction,
    estimate,
    estimate_ahead,
    in_words,
    measured,
    memory_of,
    processor_seconds,
)
from organism.optimize.flow import set_price, start_run
from organism.optimize.runs import RunFolder
from organism.optimize.workload import Workload
from organism.records import Recipe
from organism.store.database import Store
from organism.store.loops import ensure_loop
from organism.store.training_runs import update_run
from tests.organism.conftest import Events
from tests.organism.optimize.test_supervisor import freeze

NOW = datetime(2026, 9, 7, 8)
SHIPPED = SftConfig(base=BUNDLED_BASE)
WORK = Workload(
    steps=10, gigaflops=100, rolled=0, prepared=20, sampled=3, written=5, judged=40, weights_mb=14, activations_mb=200
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def dataset(store: Store) -> tuple[str, str]:
    loop_id = ensure_loop(store, "clinical-notes", NOW)
    return loop_id, freeze(store, loop_id, 40, 6)


def _finished(store: Store, workspace: Workspace, dataset: tuple[str, str], seed: int, times_as_long: float) -> None:
    """A run that took so many times what the rates say."""
    run_id = start_run(store, workspace, *dataset, replace(SHIPPED, seed=seed), now=utcnow())
    foreseen = RunFolder(workspace.runs / run_id).foreseen() or {}
    update_run(store, run_id, {"status": "done", "seconds": foreseen["by_rates"] * times_as_long, "finished_at": NOW})


def test_every_phase_is_charged_by_its_rates() -> None:
    rates = Rates((4.0, 0.1, 0.5), (0.2, 0.03, 9.0), (1.0, 0.4, 0.01), 0.2, 2)
    before, training, evaluation = 4 + 2 + 1.5, 2 + 3, 1 + 2 + 0.4
    assert processor_seconds(WORK, rates) == pytest.approx(before + training + evaluation)
    assert memory_of(WORK, (300, 2, 1.5)) == pytest.approx(300 + 28 + 300)


def test_what_is_shipped_was_measured_with_runs_held_out() -> None:
    known = measured()
    assert known.rates[Recipe.SFT].n_heldout >= 1
    assert 0 < known.rates[Recipe.SFT].error < 1
    assert all(rate >= 0 for rates in known.rates.values() for rate in (*rates.before, *rates.training))
    assert known.memory[0] > 100, "torch alone takes more"


def test_more_rows_passes_and_a_longer_evaluation_take_longer(
    store: Store, workspace: Workspace, dataset: tuple[str, str]
) -> None:
    def seconds(**changes: int) -> float:
        return estimate(store, workspace, dataset[1], Recipe.SFT, replace(SHIPPED, **changes)).seconds

    assert seconds(epochs=1) < seconds(epochs=2) < seconds(epochs=4)
    assert seconds(eval_rows=1) < seconds(eval_rows=6)
    larger = freeze(store, dataset[0], 400, 6)
    assert estimate(store, workspace, larger, Recipe.SFT, SHIPPED).seconds > seconds()


def test_the_range_is_that_of_the_held_out_runs_and_the_sentence_says_so(
    store: Store, workspace: Workspace, dataset: tuple[str, str]
) -> None:
    found = estimate(store, workspace, dataset[1], Recipe.SFT, SHIPPED)
    error = measured().rates[Recipe.SFT].error
    assert found.seconds_high == pytest.approx(found.seconds * (1 + error))
    assert found.seconds_low == pytest.approx(found.seconds / (1 + error))
    assert found.memory_low < found.memory_mb < found.memory_high
    assert f"off by up to {error:.0%} there" in found.sentence
    assert found.cost_usd is None
    set_price(workspace, 3.6)
    priced = estimate(store, workspace, dataset[1], Recipe.SFT, SHIPPED)
    assert priced.cost_usd == pytest.approx(priced.seconds / 1000)


def test_the_runs_of_this_place_correct_the_time(store: Store, workspace: Workspace, dataset: tuple[str, str]) -> None:
    by_rates = estimate(store, workspace, dataset[1], Recipe.SFT, SHIPPED)
    assert correction(store, workspace, Recipe.SFT) is None
    for seed, times_as_long in ((1, 2.0), (2, 3.0), (3, 6.0)):
        _finished(store, workspace, dataset, seed, times_as_long)
    here = correction(store, workspace, Recipe.SFT)
    assert here is not None
    assert (here.factor, here.n_runs) == (pytest.approx(3.0), 3)
    assert here.error == pytest.approx(max(1.0, measured().rates[Recipe.SFT].error)), "6 is twice the 3 that was told"
    found = estimate(store, workspace, dataset[1], Recipe.SFT, SHIPPED)
    assert found.seconds == pytest.approx(3 * by_rates.seconds)
    assert "going by 3 earlier runs of this recipe here" in found.sentence
    assert correction(store, workspace, Recipe.DPO) is None


def test_a_recipe_that_was_not_measured_has_no_range(
    store: Store, workspace: Workspace, dataset: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = measured()
    only_sft = known._replace(rates={Recipe.SFT: known.rates[Recipe.SFT]})
    monkeypatch.setattr("organism.optimize.estimate.measured", lambda: only_sft)
    found = estimate(store, workspace, dataset[1], Recipe.KTO, SHIPPED)
    assert (found.seconds_low, found.seconds_high) == (None, None)
    assert "this recipe was not measured yet" in found.sentence


def test_before_a_set_is_frozen_the_latest_drafts_say_how_long_rows_are(
    store: Store, workspace: Workspace, events: Events
) -> None:
    def ahead(n_train: int) -> float:
        sizes = {"n_train": n_train, "n_heldout": 20}
        return estimate_ahead(store, workspace, events.loop_id, Recipe.SFT, SHIPPED, **sizes).seconds

    with pytest.raises(DesignError, match="there are no drafts yet to tell how long the rows will be"):
        ahead(100)
    events.answered("ana", prompt="a long visit " * 30)
    events.write()
    assert 0 < ahead(100) < ahead(1000)


def test_what_was_foreseen_is_kept_with_the_run(store: Store, workspace: Workspace, dataset: tuple[str, str]) -> None:
    run_id = start_run(store, workspace, *dataset, SHIPPED, now=utcnow())
    foreseen = RunFolder(workspace.runs / run_id).foreseen() or {}
    assert foreseen["work"]["steps"] == 8
    by_rates = estimate(store, workspace, dataset[1], Recipe.SFT, SHIPPED).seconds
    assert foreseen["by_rates"] == pytest.approx(by_rates)


def test_what_cannot_be_foreseen_is_a_sentence(store: Store, workspace: Workspace, dataset: tuple[str, str]) -> None:
    with pytest.raises(InputError, match="no training set has the id 'nope'"):
        estimate(store, workspace, "nope", Recipe.SFT, SHIPPED)
    with pytest.raises(ModelError, match="no model folder at"):
        estimate(store, workspace, dataset[1], Recipe.SFT, SftConfig(base="/nowhere"))


@pytest.mark.parametrize(("seconds", "words"), [(40.4, "40 s"), (200, "3 min"), (9000, "2.5 h")])
def test_times_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
