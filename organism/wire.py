"""How values look on the wire: plain JSON data, the same from the API and from the command line."""

import json
import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import pandas as pd


def as_json(data: Any) -> str:
    """One JSON object; unknown figures (NaN, NaT, infinite) are null, times are ISO 8601 UTC."""
    return json.dumps(plain(data), indent=2, ensure_ascii=False)


def plain(value: Any) -> Any:
    """Tables, tuples, times and numpy scalars as plain JSON data."""
    if isinstance(value, pd.DataFrame):
        return [plain(row) for row in value.to_dict("records")]
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, list | tuple | set):
        return [plain(v) for v in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    if value is pd.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, datetime):
        return value.isoformat() + ("Z" if value.tzinfo is None else "")
    return value.isoformat() if isinstance(value, date) else value
