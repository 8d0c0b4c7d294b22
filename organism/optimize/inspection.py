"""Before a run: exactly what the model would see of a training set, and how many rows it would leave out and why."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from organism.config import ROOT, Workspace
from organism.errors import DesignError, ModelError
from organism.optimize.catalog import RECIPES
from organism.optimize.configs import TrainingConfig
from organism.optimize.flow import read_training_rows
from organism.optimize.runs import Row, make_run_folder
from organism.optimize.seen import SeenRow, TokenPreview
from organism.records import Recipe
from organism.store.database import Store
from organism.store.training_runs import read_dataset_header

TIMEOUT_S = 300


def preview_tokens(
    store: Store, workspace: Workspace, dataset_id: str, recipe: Recipe, config: TrainingConfig, *, n: int = 5
) -> TokenPreview:
    """The first n rows of a training set as this recipe shows them to the model, and counts of what is left out.

    Takes a few seconds, since a child process loads the tokenizer. Raises InputError for an unknown set, DesignError
    for one of another kind or with too few rows, ModelError when the base's tokenizer cannot be loaded.
    """
    config.check()
    header, card = read_dataset_header(store, dataset_id), RECIPES[recipe]
    if header.kind != card.kind:
        raise DesignError(
            f"training set '{header.name}' is of the kind {header.kind}, and the recipe '{recipe}' learns from one of "
            f"the kind {card.kind}; name another set, or another recipe"
        )
    rows = read_training_rows(store, dataset_id, header)
    return _in_a_child(workspace.locate(config.base), rows, recipe, config, n)


def _in_a_child(base: Path, rows: Sequence[Row], recipe: Recipe, config: TrainingConfig, n: int) -> TokenPreview:
    described = {"recipe": recipe, "config": {**asdict(config), "base": str(base)}}
    with TemporaryDirectory() as folder:
        make_run_folder(Path(folder), described, rows, ())
        ended = subprocess.run(
            [sys.executable, "-m", "organism.optimize.seen", folder, str(n)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=TIMEOUT_S,
            check=False,
        )
    if ended.returncode != 0:
        raise ModelError((ended.stderr.strip().splitlines() or ["the preview ended without a word"])[-1])
    found = json.loads(ended.stdout)
    return TokenPreview(**{**found, "rows": [SeenRow(**row) for row in found["rows"]]})
