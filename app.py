"""Composition root: one ASGI app that holds the pages, the HTTP API under /v1, and the one store they share.

Started by `organism serve` (uvicorn on a socket without Nagle's delay) or by `streamlit run app.py`.
"""

import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.routing import Mount

from organism.api.product import create_product_api
from organism.config import ROOT, workspace
from organism.deploy.serving import DraftServer
from organism.errors import OrganismError
from organism.store.database import Store


@asynccontextmanager
async def lifespan(_app: st.App) -> AsyncIterator[dict[str, object]]:
    """Open what the process shares before the first visitor, close it after the last.

    A workspace that cannot be opened is said here and on every page, and tried again by each visit.
    """
    from ui import runtime

    try:
        await run_in_threadpool(runtime.opened)
    except OrganismError as error:
        print(f"organism: {error}", file=sys.stderr, flush=True)
    # Streamlit collects all generations after every run of a page; frozen imports make that free.
    gc.collect()
    gc.freeze()
    yield {}
    await run_in_threadpool(runtime.release)


def _store() -> Store:
    from ui import runtime

    return runtime.store()


def _drafts() -> DraftServer:
    from ui import runtime

    return runtime.opened().drafts


app = st.App(
    ROOT / "ui" / "shell.py",
    routes=[Mount("/v1", create_product_api(workspace(), _store, _drafts))],
    lifespan=lifespan,
)

if __name__ == "__main__":
    app.run()
