"""Quantiles of the signals, for anchors."""

from collections.abc import Sequence

import pandas as pd

from organism.store.database import Store
from organism.store.signals import SIGNALS


def read_quantiles(store: Store, loop_id: str, signals: Sequence[str], probabilities: Sequence[float]) -> pd.DataFrame:
    """Each signal's quantiles over the interactions that carry it: columns signal, probability, value (NaN: none)."""
    named = [signal for signal in signals if signal in SIGNALS]
    asked = ", ".join(f"quantile_cont({name}, ?) FILTER (isfinite({name}))" for name in named)
    ((*found,),) = store.rows(
        f"SELECT {asked} FROM signals WHERE loop_id = ?", [*[list(probabilities)] * len(named), loop_id]
    )
    return pd.DataFrame(
        [
            (name, probability, None if values is None else values[i])
            for name, values in zip(named, found, strict=True)
            for i, probability in enumerate(probabilities)
        ],
        columns=["signal", "probability", "value"],
    )
