"""Recipe `evaluate`: learns nothing; two versions draft the held-out rows, and every figure has its interval.

config.json names both under `models`: before and after, each with model_version_id, base and adapter (addresses).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from organism.config import Workspace
from organism.lm.decoder import Decoder
from organism.optimize.configs import TrainingConfig
from organism.optimize.evaluation import OnDraft, measure_models
from organism.optimize.runs import RunFolder, write_json


def evaluate(
    run: RunFolder, base: Path, config: TrainingConfig, description: Mapping[str, Any], on_draft: OnDraft
) -> bool:
    """Measure both models and write evaluation.json with the versions that it is about; False when asked to stop.

    Raises ModelError when a model cannot be loaded, RunError when no held-out row can be used.
    """
    models, place = description["models"], Workspace(run.workspace)
    before, after = models["before"], models["after"]
    found = measure_models(
        run, lambda: _load(before, place), lambda: _load(after, place), config, description, on_draft
    )
    if found is None:
        return False
    ids = {
        "model_version_id": after["model_version_id"],
        "baseline_version_id": before["model_version_id"],
    }
    write_json(run.evaluation, {**found, **ids})
    return True


def _load(model: Mapping[str, Any], place: Workspace) -> Decoder:
    adapter = model["adapter"]
    return Decoder.from_folder(place.locate(model["base"]), None if adapter is None else place.locate(adapter))
