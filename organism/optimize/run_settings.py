"""How many runs train at once, and what an hour costs: of the workspace, in the file run_settings.json. No store.

A file, so that it can be changed while a server holds the database. The environment wins over it: ORGANISM_MAX_RUNS,
ORGANISM_USD_PER_HOUR.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from organism.config import Workspace
from organism.errors import DesignError, StoreError
from organism.optimize.runs import why_the_disk, write_json

MAX_RUNS, USD_PER_HOUR = "ORGANISM_MAX_RUNS", "ORGANISM_USD_PER_HOUR"
MOST_RUNS = 64
DEAREST = 10_000.0


class RunSettings(NamedTuple):
    """`max_runs` train on this machine at once; `usd_per_hour` is None until somebody states a price."""

    max_runs: int = 1
    usd_per_hour: float | None = None

    def cost(self, seconds: float | None) -> float | None:
        """What that much time costs in dollars; None without a stated price, or without a time."""
        if seconds is None or self.usd_per_hour is None:
            return None
        return seconds / 3600 * self.usd_per_hour


def read_run_settings(workspace: Workspace, environment: Mapping[str, str] = os.environ) -> RunSettings:
    """What holds now; raises DesignError for a value that cannot be used, naming where it stands."""
    file = _file(workspace)
    try:
        kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except (OSError, ValueError) as error:
        raise DesignError(f"{file} cannot be read ({error}); mend or remove it") from error
    cap, price = environment.get(MAX_RUNS, "").strip(), environment.get(USD_PER_HOUR, "").strip()
    return RunSettings(
        _cap(cap, MAX_RUNS) if cap else _cap(kept.get("max_runs", RunSettings().max_runs), file.name),
        _price(price, USD_PER_HOUR) if price else _price(kept.get("usd_per_hour"), file.name),
    )


def set_cap(workspace: Workspace, max_runs: int) -> RunSettings:
    """Let this many runs train at once from now on; those at work go on. Raises DesignError for less than one."""
    return _keep(workspace, {"max_runs": _cap(max_runs, "the cap")})


def set_price(workspace: Workspace, usd_per_hour: float | None) -> RunSettings:
    """State what an hour of this machine costs, or None for unknown. Raises DesignError for a negative price."""
    return _keep(workspace, {"usd_per_hour": _price(usd_per_hour, "the price")})


def read_cap(workspace: Workspace) -> int:
    """How many runs may train at once."""
    return read_run_settings(workspace).max_runs


def _keep(workspace: Workspace, changes: Mapping[str, Any]) -> RunSettings:
    changed = read_run_settings(workspace, {})._replace(**changes)
    try:
        workspace.path.mkdir(parents=True, exist_ok=True)
        write_json(_file(workspace), changed._asdict())
    except OSError as error:
        raise StoreError(why_the_disk(error, workspace.path)) from error
    return read_run_settings(workspace)


def _file(workspace: Workspace) -> Path:
    return workspace.path / "run_settings.json"


def _cap(value: Any, where: str) -> int:
    number = _number(value)
    if number is None or number != int(number) or not 1 <= number <= MOST_RUNS:
        raise DesignError(f"{where} asks for {value!r:.40} runs at once; give a whole number from 1 to {MOST_RUNS}")
    return int(number)


def _price(value: Any, where: str) -> float | None:
    if value is None:
        return None
    number = _number(value)
    if number is None or not 0 <= number <= DEAREST:
        raise DesignError(f"{where} says {value!r:.40} dollars an hour; give a number from 0 to {DEAREST:g}")
    return number


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and not isinstance(value, bool) else None
