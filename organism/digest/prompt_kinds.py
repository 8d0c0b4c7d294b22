"""Kinds of prompt by their length: pairs are drawn within one, and a router may pick by it. Pure."""

import numpy as np
import pandas as pd

KINDS_OF_PROMPT = ("short", "medium", "long")


def prompt_kinds(lengths: pd.Series) -> pd.Series:
    """Short, medium or long, by the terciles of these lengths (characters); None where the prompt is unknown."""
    known = lengths.astype(float)
    cuts = known.quantile([1 / 3, 2 / 3]).to_numpy()
    place = np.searchsorted(cuts, known.to_numpy(), side="left")
    words = np.array(KINDS_OF_PROMPT, dtype=object)[np.minimum(place, 2)]
    return pd.Series(np.where(known.notna(), words, None), index=lengths.index, dtype=object)
