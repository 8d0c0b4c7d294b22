"""Who was assigned which variant with what probability, and who really met one."""

from datetime import datetime

from organism.store.database import Store


def read_assignment(store: Store, experiment_id: str, user_key: str) -> tuple[str, float] | None:
    """The variant that a user has, with its probability; None when the user has none yet."""
    found = store.rows(
        "SELECT variant_id, probability FROM assignments WHERE experiment_id = ? AND user_key = ?",
        [experiment_id, user_key],
    )
    return found[0] if found else None


def append_assignment(
    store: Store, experiment_id: str, user_key: str, variant: str, probability: float, now: datetime
) -> None:
    """Keep a user's variant; one that is there already stays."""
    store.execute(
        "INSERT INTO assignments VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [experiment_id, user_key, variant, probability, now],
        "assignments",
    )
