"""The whole product over HTTP: events in, and every stage of the loop that pages and command line can turn."""

from collections.abc import Callable, Sequence

from fastapi import FastAPI

from organism.api import (
    analysis,
    assignment,
    bases,
    choices,
    datasets,
    drafts,
    evaluations,
    experiments,
    models,
    off_policy,
    plans,
    rewards,
    runs,
    selftest,
    signals,
    tracks,
    validity,
    votes,
    weights,
)
from organism.api.app import create_api
from organism.api.parts import Parts
from organism.config import Workspace
from organism.deploy.serving import DraftServer
from organism.store.database import Store

ROUTERS = (
    rewards.router,
    weights.router,
    signals.router,
    validity.router,
    choices.router,
    off_policy.router,
    datasets.router,
    runs.router,
    evaluations.router,
    tracks.router,
    models.router,
    bases.router,
    drafts.router,
    votes.router,
    experiments.router,
    selftest.router,
    analysis.router,
    plans.router,
    assignment.router,
)


def create_product_api(
    workspace: Workspace,
    get_store: Callable[[], Store],
    get_drafts: Callable[[], DraftServer],
    *,
    hosts: Sequence[str] = ("*",),
) -> FastAPI:
    """The API of one workspace, to be mounted at /v1; open to holders of the workspace's key."""
    api = create_api(get_store, workspace.api_key(), routers=ROUTERS, hosts=hosts)
    api.state.parts = Parts(workspace, get_drafts)
    return api
