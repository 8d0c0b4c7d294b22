"""The one door between the product and the shipped demo: seed a new workspace, and give it somebody to serve."""

import os
from datetime import datetime

from organism.config import Workspace, utcnow
from organism.store.database import Store
from organism.store.schema import open_store
from organism.traffic import Environment


def open_workspace(workspace: Workspace, *, demo: bool | None = None, now: datetime | None = None) -> Store:
    """Open a workspace; a new one is filled with the synthetic demo unless `demo` is False.

    `demo` defaults to the environment's ORGANISM_DEMO (0 turns it off). Raises StoreError when another
    process holds the workspace, or a newer Organism wrote it.
    """
    wanted = os.environ.get("ORGANISM_DEMO", "1") != "0" if demo is None else demo
    is_new = not workspace.database.exists()
    store = open_store(workspace.database)
    if is_new and wanted:
        from data.scribe.seed import seed_demo

        try:
            seed_demo(store, workspace, now=now or utcnow())
        except BaseException:
            store.close()
            raise
    return store


def demo_environment() -> Environment:
    """The sixty simulated physicians of the shipped scribe."""
    from data.scribe.environment import ScribeEnvironment

    return ScribeEnvironment()
