"""Which of several tracks should go to an experiment: not beaten in everything, nothing broken, a sure gain. Pure."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import pandas as pd

from organism.records import RunStatus

AXES = {"quality": True, "tokens": False, "latency_ms": False}
"""What tracks are weighed by, and whether more of it is better."""
NOT_STARTED = "not started"


class Quality(StrEnum):
    """By which share of characters quality is read: of what the model wrote, or of what the expert needed."""

    RETAINED = "retained"
    WRITTEN = "written"


QUALITY_IN_WORDS = {Quality.RETAINED: "of what it writes", Quality.WRITTEN: "of what experts needed"}


def choose(frame: pd.DataFrame, objections: Mapping[str, str | None], quality: Quality) -> pd.DataFrame:
    """The tracks with on_front, to_experiment and why, a sentence each.

    `frame` has a track a row: run_id (None for the base), label, status, message, the AXES, latency_ms_low and _high,
    gain, gain_low and _high (of quality, over the base) and written_low and _high (the change of the written share).
    `objections` says by run what the facts gate or the safety cases say against it.

    A track that breaks a guardrail (facts, safety, a written share that surely fell) beats nobody and is on no front:
    a model that stops after a few words keeps nearly all of them and is cheap and quick at that. Latency counts only
    where two intervals are apart: a few timed drafts tell more of what else the machine did than of two models alike.
    """
    rows = frame.to_dict("records")
    broken = [_broken(row, objections.get(row["run_id"])) for row in rows]
    fit = [row["status"] == RunStatus.DONE and not why for row, why in zip(rows, broken, strict=True)]
    beaten_by = [_beaten_by(rows, fit, place) for place in range(len(rows))]
    on_front = [is_fit and not other for is_fit, other in zip(fit, beaten_by, strict=True)]
    why = [
        _why(row, hurt, front, beaten, quality)
        for row, hurt, front, beaten in zip(rows, broken, on_front, beaten_by, strict=True)
    ]
    sure = [_is_tuned(row) and front and _is_sure(row) for row, front in zip(rows, on_front, strict=True)]
    return frame.assign(on_front=on_front, to_experiment=sure, why=why)


def _beaten_by(rows: Sequence[Mapping[str, Any]], fit: Sequence[bool], place: int) -> str:
    """The first fit track that is behind this one in nothing and ahead in something; empty without."""
    this = rows[place]
    for other, is_fit in zip(rows, fit, strict=True):
        lead = [_lead(name, other, this) for name in AXES]
        if is_fit and other is not this and min(lead) >= 0 and max(lead) > 0:
            return str(other["label"])
    return ""


def _lead(name: str, other: Mapping[str, Any], this: Mapping[str, Any]) -> int:
    """1 where the other is ahead on this axis, -1 where it is behind, 0 where they are alike or one is unknown."""
    if pd.isna(other[name]) or pd.isna(this[name]):
        return 0
    if name == "latency_ms" and _overlap(other, this):
        return 0
    ahead = (other[name] - this[name]) * (1 if AXES[name] else -1)
    return int(ahead > 0) - int(ahead < 0)


def _overlap(other: Mapping[str, Any], this: Mapping[str, Any]) -> bool:
    """Whether the intervals of two latencies share a value; False where one is unknown."""
    return bool(
        other["latency_ms_low"] <= this["latency_ms_high"] and this["latency_ms_low"] <= other["latency_ms_high"]
    )


def _broken(row: Mapping[str, Any], objection: str | None) -> str | None:
    if objection:
        return objection
    if pd.notna(row["written_high"]) and row["written_high"] < 0:
        change = _points(row["written_low"], row["written_high"])
        return f"it writes less of what experts needed than the base ({change}), so what it keeps says little"
    return None


def _is_tuned(row: Mapping[str, Any]) -> bool:
    """Whether this is a track; the base has no run, which a table of texts gives back as NaN."""
    return bool(row["status"] == NOT_STARTED or pd.notna(row["run_id"]))


def _is_sure(row: Mapping[str, Any]) -> bool:
    return bool(pd.notna(row["gain_low"]) and row["gain_low"] > 0)


def _why(row: Mapping[str, Any], broken: str | None, front: bool, beaten_by: str, quality: Quality) -> str:
    """The reason for a track's place, as a sentence."""
    if not _is_tuned(row):
        return "The base as it is: what every track is measured against."
    if row["status"] != RunStatus.DONE:
        return f"Not measured: {str(row['message'] or row['status']).rstrip('.')}."
    if broken:
        return f"No: {broken}."
    if pd.isna(row["gain_low"]):
        return "No: too few held-out users to say how sure its gain is."
    gain = f"{_points(row['gain_low'], row['gain_high'])} {QUALITY_IN_WORDS[quality]}"
    if not _is_sure(row):
        return f"No: its gain over the base may be nothing ({gain})."
    if not front:
        return f"No: '{beaten_by}' is at least as good in everything that was measured, and better in something."
    return f"Yes: it keeps more than the base ({gain}), its facts hold, and no other track beats it in everything."


def _points(low: float, high: float) -> str:
    return f"{100 * low:+.1f} to {100 * high:+.1f} points"
