"""A loop's holdout: the share of its users who take part in no experiment, so that the sum of all can be judged."""

from datetime import datetime
from typing import NamedTuple

from organism.store.database import Store


class Holdout(NamedTuple):
    """Users whose hash under `salt` falls below `share` are held out; who set it, and when."""

    share: float
    salt: str
    actor: str
    created_at: datetime


def read_holdout(store: Store, loop_id: str) -> Holdout | None:
    """The loop's holdout; None while it has none."""
    found = store.rows("SELECT share, salt, actor, created_at FROM holdouts WHERE loop_id = ?", [loop_id])
    return Holdout(*found[0]) if found else None


def put_holdout(store: Store, loop_id: str, share: float, salt: str, actor: str, now: datetime) -> None:
    """Set the share; the first salt stays, so that whoever was held out stays held out while the share grows."""
    store.execute(
        "INSERT INTO holdouts VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
        "SET share = excluded.share, actor = excluded.actor, created_at = excluded.created_at",
        [loop_id, share, salt, actor, now],
        "holdouts",
    )
