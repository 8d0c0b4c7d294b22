"""Read the drafts that were sampled, so that every design can be asked what it would grow."""

from organism.digest.draft_pools import Pool, make_pool
from organism.store.database import Store
from organism.store.sampled_drafts import read_sampled_drafts


def read_pool(store: Store, loop_id: str) -> Pool | None:
    """The loop's pool of sampled drafts, read once for any number of designs; None where none was sampled."""
    drafts = read_sampled_drafts(store, loop_id)
    return make_pool(drafts) if len(drafts) else None
