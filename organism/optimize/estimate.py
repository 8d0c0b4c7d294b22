"""How long a run will take and what memory it needs, said before it starts: measured rates times counted work.

bench/estimates.py measures the rates in estimates.json (processor seconds, so that neighbors do not count) and their
error on configurations that were held out of the fit. Finished runs of this workspace then correct the time: another
machine, or an accelerator, is as fast as its runs were.
"""

import json
import statistics
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from organism.config import Workspace
from organism.errors import DesignError, ModelError, RunError
from organism.optimize.catalog import kind_of
from organism.optimize.configs import TrainingConfig
from organism.optimize.run_settings import read_run_settings
from organism.optimize.runs import FORM_OF_KIND, Pair, Row, RunFolder, read_rows, write_json
from organism.optimize.workload import Texts, Workload, shape_of, texts_of, workload
from organism.records import DatasetKind, Recipe
from organism.store.database import Store
from organism.store.datasets import read_dataset_rows
from organism.store.training_runs import read_dataset_header, read_done_runs, sample_texts

RATES_FILE = Path(__file__).with_name("estimates.json")
N_EARLIER = 8


class Rates(NamedTuple):
    """What one recipe's phases cost in processor seconds a unit of work, and how far off that was where it was tried.

    The rates of a phase stand in the order of Workload.units. `error` is the largest relative error on held-out runs.
    """

    before: tuple[float, ...]
    training: tuple[float, ...]
    evaluation: tuple[float, ...]
    error: float
    n_heldout: int


class Measured(NamedTuple):
    """All rates, where they were measured, and the memory: constant in MiB, factors of weights and activations."""

    machine: dict[str, Any]
    parallel: float
    memory: tuple[float, float, float]
    memory_error: float
    rates: dict[str, Rates]


class Estimate(NamedTuple):
    """What a run will take, with the range that held-out measurements support; None where nothing was measured."""

    seconds: float
    seconds_low: float | None
    seconds_high: float | None
    memory_mb: float
    memory_low: float
    memory_high: float
    cost_usd: float | None
    sentence: str


class Correction(NamedTuple):
    """How much longer runs took here than the rates say, the largest deviation from that, and how many there were."""

    factor: float
    error: float
    n_runs: int


@lru_cache(maxsize=1)
def measured() -> Measured:
    """The rates that were measured and shipped; raises RunError when those of imitation are missing."""
    kept = json.loads(RATES_FILE.read_text(encoding="utf-8"))
    rates = {
        name: Rates(tuple(r["before"]), tuple(r["training"]), tuple(r["evaluation"]), r["error"], r["n_heldout"])
        for name, r in kept["recipes"].items()
    }
    if Recipe.SFT not in rates:
        raise RunError(f"{RATES_FILE} holds no rates of sft; measure them: python -m bench.estimates sft --write")
    return Measured(kept["machine"], kept["parallel"], tuple(kept["memory"]), kept["memory_error"], rates)


def processor_seconds(work: Workload, rates: Rates) -> float:
    """What the work takes of one processor."""
    units = work.units()
    return sum(
        rate * amount
        for phase, amounts in units.items()
        for rate, amount in zip(getattr(rates, phase), amounts, strict=True)
    )


def memory_of(work: Workload, memory: Sequence[float]) -> float:
    """What the process holds at most, in MiB."""
    return memory[0] + memory[1] * work.weights_mb + memory[2] * work.activations_mb


def estimate(
    store: Store,
    workspace: Workspace,
    dataset_id: str,
    recipe: Recipe,
    config: TrainingConfig,
    *,
    eval_dataset_id: str | None = None,
) -> Estimate:
    """What a run on this frozen set would take.

    Raises InputError for an unknown set, ModelError for a base that cannot be read.
    """
    header = read_dataset_header(store, dataset_id)
    base = workspace.locate(config.base)
    learned = _texts(store, base, dataset_id, DatasetKind(header.kind), "train")
    judged = eval_dataset_id or dataset_id
    heldout = _texts(store, base, judged, DatasetKind(read_dataset_header(store, judged).kind), "heldout")
    return estimate_of(store, workspace, learned, heldout, recipe, config)


def estimate_ahead(
    store: Store,
    workspace: Workspace,
    loop_id: str,
    recipe: Recipe,
    config: TrainingConfig,
    *,
    n_train: int,
    n_heldout: int,
) -> Estimate:
    """The same before a set is frozen: so many rows, as long as the loop's latest drafts are.

    Raises DesignError when the loop has no drafts to go by, ModelError for a base that cannot be read.
    """
    base = workspace.locate(config.base)
    rows = sample_texts(store, loop_id)
    if not rows:
        raise DesignError("there are no drafts yet to tell how long the rows will be; send interactions first")
    like = texts_of(base, rows, n_train)
    return estimate_of(store, workspace, like, like._replace(n_rows=n_heldout), recipe, config)


def estimate_of(
    store: Store,
    workspace: Workspace,
    learned: Texts,
    heldout: Texts,
    recipe: Recipe,
    config: TrainingConfig,
) -> Estimate:
    """From the counted texts to seconds, memory, dollars and a sentence."""
    known = measured()
    shape = shape_of(workspace.locate(config.base))
    work = workload(shape, learned, heldout, config, recipe)
    rates = known.rates.get(recipe)
    by_rates = processor_seconds(work, rates or known.rates[Recipe.SFT]) / known.parallel
    here = correction(store, workspace, recipe)
    seconds = by_rates * (here.factor if here else 1.0)
    error = here.error if here else rates.error if rates else None
    memory = memory_of(work, known.memory)
    return Estimate(
        seconds,
        None if error is None else seconds / (1 + error),
        None if error is None else seconds * (1 + error),
        memory,
        memory / (1 + known.memory_error),
        memory * (1 + known.memory_error),
        read_run_settings(workspace).cost(seconds),
        _sentence(seconds, memory, error, known, recipe, rates, here),
    )


def correction(store: Store, workspace: Workspace, recipe: Recipe) -> Correction | None:
    """What the last finished runs of this recipe say about this machine; None before there is one."""
    ratios = []
    for run in read_done_runs(store, recipe, N_EARLIER):
        foreseen = RunFolder(workspace.runs / run.run_id).foreseen()
        if foreseen and foreseen["by_rates"] > 0 and run.seconds:
            ratios.append(run.seconds / foreseen["by_rates"])
    if not ratios:
        return None
    factor = statistics.median(ratios)
    spread = max(max(ratio / factor, factor / ratio) for ratio in ratios) - 1
    known = measured().rates.get(recipe)
    return Correction(factor, max(spread, known.error if known else 0.0), len(ratios))


def _texts(store: Store, base: Path, dataset_id: str, kind: DatasetKind, split: str) -> Texts:
    rows = read_dataset_rows(store, dataset_id, split)
    column = "chosen" if kind is DatasetKind.PREFERENCE else "completion"
    return texts_of(base, list(zip(rows["prompt"], rows[column], strict=True)), len(rows))


def _sentence(
    seconds: float,
    memory: float,
    error: float | None,
    known: Measured,
    recipe: Recipe,
    rates: Rates | None,
    here: Correction | None,
) -> str:
    what = f"About {in_words(seconds)} and {memory / 1024:.1f} GB of memory"
    memory_error = f"memory was off by up to {known.memory_error:.0%}"
    if here and error is not None:
        return f"{what}, going by {_counted(here.n_runs)} of this recipe here (within {error:.0%}; {memory_error})."
    if rates is None:
        return (
            f"{what}, as imitation would take: this recipe was not measured yet, so nobody knows how far that is off."
        )
    cores = "one quiet core" if known.machine["cores"] == 1 else f"{known.machine['cores']} quiet cores"
    tried = "one held-out run" if rates.n_heldout == 1 else f"{rates.n_heldout} held-out runs"
    return f"{what} on {cores}: the time of {tried} was off by up to {rates.error:.0%} there; {memory_error}."


def _counted(n_runs: int) -> str:
    return "one earlier run" if n_runs == 1 else f"{n_runs} earlier runs"


def in_words(seconds: float) -> str:
    """A time as a person says it: 40 s, 3 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def note_foreseen(workspace: Workspace, run: RunFolder) -> None:
    """Keep in a run's folder what the rates foresee of it, so that its time can correct later estimates.

    Nothing is kept for a recipe that was not measured, or a base that cannot be counted.
    """
    try:
        known = measured()
        rates = known.rates.get(run.recipe())
        if rates is None:
            return
        work = workload_of(run, workspace.locate(run.config().base))
    except (ModelError, RunError):
        return
    foreseen = {
        "by_rates": processor_seconds(work, rates) / known.parallel,
        "memory_mb": memory_of(work, known.memory),
        "work": work._asdict(),
    }
    write_json(run.path / "foreseen.json", foreseen)


def workload_of(run: RunFolder, base: Path) -> Workload:
    """The work of a run whose folder is written; raises ModelError for a base that cannot be counted."""
    kind = kind_of(run.recipe())
    rows: list[Row] = read_rows(run.path / "data.jsonl", FORM_OF_KIND[kind])
    learned = texts_of(base, [(row.prompt, _text(row)) for row in rows], len(rows))
    heldout = run.heldout()
    judged = texts_of(base, [(row.prompt, row.completion) for row in heldout], len(heldout))
    return workload(shape_of(base), learned, judged, run.config(), run.recipe())


def _text(row: Row) -> str:
    return row.chosen if isinstance(row, Pair) else row.completion
