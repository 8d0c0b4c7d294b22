"""What an interaction says of its user that rows can be grouped by: the region, and short words of its attributes."""

import json
from typing import Any

LONGEST = 40
NO_SEGMENT = frozenset({"second_final"})


def segments_of(region: Any, attributes: Any) -> dict[str, str]:
    """Names and values, such as {"region": "north", "plan": "gold"}; `attributes` is the sender's JSON as text.

    Only words of up to 40 letters count: numbers, lists and texts are no segments. Empty when nothing is known.
    """
    found = {"region": region} if isinstance(region, str) and region else {}
    sent = json.loads(attributes) if isinstance(attributes, str) else None
    if not isinstance(sent, dict):
        return found
    words = {name: value for name, value in sent.items() if isinstance(value, str) and 0 < len(value) <= LONGEST}
    return {**{name: value for name, value in words.items() if name not in NO_SEGMENT}, **found}
