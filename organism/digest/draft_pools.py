"""Sampled drafts as arrays: what best-of-n chooses from under any reward. Pure."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

WHOLE = 1.0
MEASURED = ("accepted", "cost_usd", "latency_ms", "output_tokens", "ttft_ms")
COUNTS = ("draft_chars", "retained_chars", "final_chars", "n_facts", "n_facts_right")


class Pool(NamedTuple):
    """Sampled drafts as arrays, a place a draft.

    `signals` are those that are known without anybody's seeing a draft; `counts` the columns that ratios are made of;
    `stop_at` 1 for whole drafts, less for beginnings. `table` (prompts, drafts) holds each prompt's places, the whole
    drafts first, and `whole` those of its whole drafts alone; -1 where a prompt has fewer.
    """

    signals: dict[str, Numbers]
    counts: dict[str, Numbers]
    stop_at: Numbers
    table: Places
    whole: Places


def make_pool(drafts: pd.DataFrame) -> Pool:
    """The pool of the table that `read_sampled_drafts` gives; a signal that no draft has is not in it."""
    drafts = drafts.sort_values(["prompt_key", "stop_at", "draft_number"], ascending=[True, False, True])
    counts = {name: drafts[name].to_numpy(dtype=float, na_value=np.nan) for name in COUNTS}
    signals = {name: drafts[name].to_numpy(dtype=float, na_value=np.nan) for name in MEASURED}
    signals["retained_char_rate"] = _ratio(counts["retained_chars"], counts["draft_chars"])
    signals["written_share"] = _ratio(counts["retained_chars"], counts["final_chars"])
    stop_at, table = drafts["stop_at"].to_numpy(dtype=float), _by_prompt(drafts["prompt_key"])
    return Pool(
        {name: values for name, values in sorted(signals.items()) if np.isfinite(values).any()},
        counts,
        stop_at,
        table,
        _whole_only(table, stop_at),
    )


def _by_prompt(prompts: pd.Series) -> Places:
    codes, names = pd.factorize(prompts)
    nth = pd.Series(codes).groupby(codes).cumcount().to_numpy()
    table = np.full((len(names), int(nth.max()) + 1 if len(nth) else 0), -1, dtype=np.intp)
    table[codes, nth] = np.arange(len(codes))
    return table


def _whole_only(table: Places, stop_at: Numbers) -> Places:
    """The same table without the beginnings. Whole drafts come first, so the columns that hold none are the last."""
    whole = np.where((table >= 0) & (np.append(stop_at, 0.0)[table] == WHOLE), table, -1)
    return whole[:, (whole >= 0).any(axis=0)]


def _ratio(above: Numbers, below: Numbers) -> Numbers:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
