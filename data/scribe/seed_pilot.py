"""Write what stands beside the history into a workspace: a vendor's meter, the simulated choices, the pool."""

import json
import random
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from data.scribe.choices import CHOICE_SOURCE
from data.scribe.first_turn import LEAD
from organism.digest.signals_flow import define_signal
from organism.errors import InputError
from organism.records import event_id
from organism.store.choices import Choice, append_choices
from organism.store.database import Store
from organism.store.interactions import DraftRef, find_drafts
from organism.store.sampled_drafts import append_sampled_drafts

VENDOR_SCORES = {"base": 58.0, "scribe-1": 71.0, "scribe-brief": 52.0}
VENDOR_SPREAD = 3.0
VENDOR_SIGNAL = "vendor_score"
VENDOR_EXPRESSION = f"CAST(interaction.attributes->>'{VENDOR_SIGNAL}' AS DOUBLE)"
VENDOR_NOTE = "Simulated: what a vendor's quality meter says of the draft, from 0 to 100"


def with_vendor_score(row: Mapping[str, Any]) -> dict[str, Any]:
    """The interaction with `attributes.vendor_score`: what a vendor's meter says, which knows only the variant.

    Planted, to be found out: higher for the better variant on average, pure seeded noise within each.
    """
    noise = random.Random(f"vendor score {row['external_id']}").gauss(0.0, VENDOR_SPREAD)
    score = round(VENDOR_SCORES[row["variant_id"]] + noise, 1)
    return {**row, "attributes": json.loads(row["attributes"]) | {VENDOR_SIGNAL: score}}


def define_vendor_score(store: Store, loop_id: str, at: datetime) -> None:
    """Make the vendor's score a signal that designs may weigh."""
    define_signal(store, loop_id, VENDOR_SIGNAL, VENDOR_EXPRESSION, note=VENDOR_NOTE, author=LEAD, now=at)


def put_choices(store: Store, loop_id: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Record the simulated choices between drafts that the store holds; raises InputError when it lacks one."""
    sides = [[DraftRef(None, row[f"{s}_source"], row[f"{s}_external_id"]) for s in ("left", "right")] for row in rows]
    with store.cursor() as cursor:
        found = find_drafts(cursor, [ref for pair in sides for ref in pair])
    if missing := [ref.external_id for pair in sides for ref in pair if ref not in found]:
        raise InputError(
            f"the shipped choices name {missing[0]}, which the history and the pilot do not hold; "
            "make the pilot anew with `python -m data.scribe.pilot --out data/scribe/pilot`"
        )
    append_choices(
        store,
        [
            Choice(
                choice_id=event_id(row["occurred_at"], CHOICE_SOURCE, row["external_id"]),
                loop_id=loop_id,
                kind="drafts",
                left_id=found[left].interaction_id,
                right_id=found[right].interaction_id,
                chosen=row["chosen"],
                actor=row["actor"],
                is_synthetic=True,
                created_at=row["occurred_at"],
            )
            for row, (left, right) in zip(rows, sides, strict=True)
        ],
    )


def put_pool(store: Store, loop_id: str, rows: Sequence[Mapping[str, Any]], at: datetime) -> None:
    """Keep the drafts that were sampled for the pool's prompts."""
    append_sampled_drafts(store, [{**row, "loop_id": loop_id, "is_synthetic": True} for row in rows], at)
