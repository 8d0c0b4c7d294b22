"""Which users of a layer an experiment draws from: the layer's own hash, the same for every experiment in it. Pure."""

import math
from typing import NamedTuple

from organism.errors import DesignError
from organism.experiment.assignment import bucket
from organism.store.layers import STEPS


class Range(NamedTuple):
    """[low, high) of a layer's hash; the whole of it covers every user."""

    low: float
    high: float


def in_layer(user_key: str, layer: str, low: float, high: float) -> bool:
    """Whether a user's place in the layer is in [low, high): GrowthBook's `inNamespace`, so that its SDKs agree."""
    return low <= bucket(f"__{layer}", user_key, version=1) < high


def check_range(layer: str | None, low: float | None, high: float | None) -> Range | None:
    """The range as it is meant, the whole layer where an end is left out; None without a layer.

    Raises DesignError for a layer without a name, ends out of order or outside of 0 to 1, a range in which no user
    falls, or ends without a layer.
    """
    if layer is None:
        if low is not None or high is not None:
            raise DesignError(
                "a range needs a layer to be a part of; name one, such as --layer drafts (coverage of a part of the "
                "users is a range of a layer that nobody else takes)"
            )
        return None
    if not layer.strip():
        raise DesignError("the layer has no name; give it one, or leave it out to take every user")
    # 0.1 + 0.2 ends where 0.3 begins: what arithmetic left beyond the sixth digit is no part of a layer.
    found = Range(round(0.0 if low is None else low, 6), round(1.0 if high is None else high, 6))
    if not 0 <= found.low < found.high <= 1:  # NaN fails this too
        raise DesignError(
            f"found [{found.low:g}, {found.high:g}) of layer {layer!r}; wanted two ends in order, between 0 and 1"
        )
    if math.ceil(found.high * STEPS) <= math.ceil(found.low * STEPS):
        raise DesignError(
            f"[{found.low:g}, {found.high:g}) of layer {layer!r} holds no user: its places are thousandths; widen it"
        )
    return found
