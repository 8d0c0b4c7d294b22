"""What a command says: words for people, plain data for scripts, a bar on stderr meanwhile."""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd


class Result(NamedTuple):
    """One command's answer: the same facts as words and as data."""

    text: str
    data: Mapping[str, Any]
    code: int = 0


def table(frame: pd.DataFrame, columns: Mapping[str, str], empty: str) -> str:
    """A table for a terminal: `columns` maps a column to its heading; `empty` is said when there is no row."""
    if frame.empty:
        return empty
    shown = frame[list(columns)].rename(columns=dict(columns))
    return str(shown.to_string(index=False, na_rep="-", float_format=lambda x: f"{x:,.3f}", max_colwidth=60))


class ProgressLine:
    """Progress on stderr: a bar that redraws itself on a terminal, a line a tenth elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._shown: tuple[str, int] = ("", -1)

    def __call__(self, stage: str, share: float, text: str) -> None:
        step = (stage, int(share * (100 if self._live else 10)))
        if step == self._shown:
            return
        self._shown = step
        line = f"{stage:<9} {'#' * int(share * 20):<20} {share:4.0%}  {text}"
        if self._live:
            print(f"\r\033[K{line[:150]}", end="\n" if share >= 1 else "", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)
