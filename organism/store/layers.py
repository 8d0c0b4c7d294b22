"""Layers: ranges of one hash that running experiments share out among them, so that no user is in two at once."""

from collections.abc import Sequence
from typing import NamedTuple

from organism.errors import DesignError
from organism.store.database import Cursor, Store

STEPS = 1000
"""A layer's hash has this many places (GrowthBook's namespaces): a range's ends are thousandths."""


class Slot(NamedTuple):
    """The range [low, high) of a layer that an experiment draws its users from."""

    experiment_id: str
    experiment: str
    low: float
    high: float


def read_layers(store: Store, loop_id: str) -> dict[str, list[Slot]]:
    """The ranges that running experiments of this loop hold, by layer, from low to high."""
    with store.cursor() as cursor:
        found = cursor.execute(f"{_TAKEN} ORDER BY layer, layer_low", [loop_id]).fetchall()
    layers: dict[str, list[Slot]] = {}
    for layer, *slot in found:
        layers.setdefault(layer, []).append(Slot(*slot))
    return layers


def refuse_overlap(
    cursor: Cursor, loop_id: str, experiment_id: str, layer: str | None, low: float | None, high: float | None
) -> None:
    """Raise DesignError when another running experiment of the loop holds a part of [low, high) of this layer.

    To be called in the transaction that lets the experiment run: two that start at once cannot both pass. The
    sentence names the one that is in the way and the ranges that are free.
    """
    if layer is None:
        return
    start, end = 0.0 if low is None else low, 1.0 if high is None else high
    taken = cursor.execute(f"{_TAKEN} AND layer = ? AND experiment_id <> ?", [loop_id, layer, experiment_id]).fetchall()
    slots = [Slot(*slot) for _, *slot in taken]
    in_the_way = [slot for slot in slots if slot.low < end and start < slot.high]
    if in_the_way:
        free = free_ranges(slots)
        rest = f"free are {in_words(free)}" if free else "nothing of the layer is free: wait, or take another layer"
        raise DesignError(
            f"{in_words([(start, end)])} of layer {layer!r} overlaps experiment {in_the_way[0].experiment!r}, which "
            f"runs on {in_words([in_the_way[0][2:]])}; {rest}"
        )


def free_ranges(slots: Sequence[Slot]) -> list[tuple[float, float]]:
    """What the ranges leave of [0, 1), from low to high."""
    free, start = [], 0.0
    for slot in sorted(slots, key=lambda slot: slot.low):
        if slot.low > start:
            free.append((start, slot.low))
        start = max(start, slot.high)
    return [*free, (start, 1.0)] if start < 1 else free


def in_words(ranges: Sequence[tuple[float, float]]) -> str:
    """Ranges as they are written: [0, 0.4) and [0.7, 1)."""
    return " and ".join(f"[{low:g}, {high:g})" for low, high in ranges)


_TAKEN = """
    SELECT layer, experiment_id, name, coalesce(layer_low, 0.0), coalesce(layer_high, 1.0)
    FROM experiments WHERE loop_id = ? AND layer IS NOT NULL AND status = 'running'
"""
