"""Experiments in every state for the tests of their page: blocked, planned, of three variants; users are made up.

`python -m tests.pages.experiment_places DIR` writes all of them into a workspace that the clinic filled.
"""

import random
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from organism.config import DEMO_LOOP, utcnow, workspace
from organism.deploy.flow import version_by_name
from organism.experiment.flow import start_variants
from organism.experiment.plan import Plan
from organism.experiment.plan_flow import Proposal, plan_experiment
from organism.ingest.flow import ingest
from organism.records import EventKind, Variant
from organism.store.database import Store
from organism.store.loops import loop_id_of
from organism.store.schema import open_store

WORDS = "cough fever rest fluids tablet daily clinic weeks review advice stable pulse normal chest clear".split()
DRAFTS = 4
DAYS = 14


def variants(store: Store, *shares: float) -> tuple[Variant, ...]:
    """The base, the tuned version, and then prompts of the base, with these shares."""
    loop_id = loop_id_of(store, DEMO_LOOP)
    base, tuned = (version_by_name(store, loop_id, name).model_version_id for name in ("base", "scribe-1"))
    known = (("base", base, None), ("scribe-1", tuned, None), ("short-prompt", base, "Be brief."))
    return tuple(
        Variant(name=name, share=share, model_version_id=version, prompt=prompt)
        for (name, version, prompt), share in zip(known, shares, strict=False)
    )


def planned(store: Store, now: datetime) -> str:
    """A draft of a plan that nobody has started."""
    proposal = Proposal(
        name="shorter prompt",
        hypothesis="A short prompt keeps more",
        variants=tuple(replace(one, share=0.5) for one in variants(store, 0.5, 0.0, 0.5) if one.share),
        plan=Plan(covariates=("retained_char_rate",)),
    )
    kept = plan_experiment(store, loop_id_of(store, DEMO_LOOP), proposal, actor="ana", is_synthetic=True, now=now)
    return kept.experiment_id


def blocked(store: Store, now: datetime) -> str:
    """Two variants of equal shares, one with less than half of the other's users."""
    started = now - timedelta(days=DAYS)
    experiment_id = start(store, "lost users", variants(store, 0.5, 0.5), started)
    serve(store, experiment_id, {"base": (70, 0.4), "scribe-1": (28, 0.6)}, started)
    return experiment_id


def three(store: Store, now: datetime, n_users: int = 40, plan: Plan | None = None) -> str:
    """Three variants, the tuned version clearly the best."""
    started = now - timedelta(days=DAYS)
    experiment_id = start(store, "three ways", variants(store, 0.34, 0.33, 0.33), started, plan)
    means = {"base": 0.4, "scribe-1": 0.62, "short-prompt": 0.43}
    serve(store, experiment_id, {name: (n_users, mean) for name, mean in means.items()}, started)
    return experiment_id


def start(store: Store, name: str, split: tuple[Variant, ...], now: datetime, plan: Plan | None = None) -> str:
    """An experiment that runs since `now`."""
    loop_id = loop_id_of(store, DEMO_LOOP)
    return start_variants(store, loop_id, name, split, hypothesis=name, is_synthetic=True, plan=plan, now=now)


def serve(store: Store, experiment_id: str, users: Mapping[str, tuple[int, float]], started: datetime) -> None:
    """So many users of each variant, who keep about such a share of each of their drafts."""
    rng = random.Random("users")
    drafts: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    for variant, (n_users, mean) in users.items():
        for number in range(n_users):
            share, first = rng.gauss(mean, 0.1), rng.uniform(0, DAYS - 2)
            for draft in range(DRAFTS):
                at = started + timedelta(days=min(first + draft * rng.uniform(0.2, 3), DAYS - 0.1))
                key = f"{experiment_id}-{variant}-{number}-{draft}"
                text = " ".join(rng.choices(WORDS, k=40))
                drafts.append(_draft(key, f"{variant}-{number}", experiment_id, variant, text, at, number))
                kept = text[: max(0, round(len(text) * min(max(rng.gauss(share, 0.1), 0.05), 1.0)))]
                answers.append(_answer(key, kept, at + timedelta(minutes=9)))
    now = started + timedelta(days=DAYS)
    for kind, rows in ((EventKind.INTERACTIONS, drafts), (EventKind.FEEDBACK, answers)):
        done = ingest(store, kind, rows, now=now).result()
        assert not done.quarantined, done.reasons[:3]


def _draft(
    key: str, user: str, experiment_id: str, variant: str, text: str, at: datetime, number: int
) -> dict[str, Any]:
    return {
        "loop": DEMO_LOOP,
        "source": "made-up",
        "external_id": key,
        "user_key": user,
        "variant_id": variant,
        "experiment_id": experiment_id,
        "occurred_at": at,
        "prompt": key,
        "output": text,
        "output_tokens": 40,
        "latency_ms": 300.0 + number % 7 * 20,
        "cost_usd": 0.0002 + number % 5 * 0.00001,
        "consent": True,
        "region": ("north", "south", "east")[number % 3],
        "is_synthetic": True,
    }


def _answer(key: str, kept: str, at: datetime) -> dict[str, Any]:
    return {
        "source": "made-up",
        "external_id": f"answer {key}",
        "interaction_external_id": key,
        "kind": "edit",
        "final_text": kept + " 0123456789 0123456789",
        "occurred_at": at,
    }


if __name__ == "__main__":
    with closing(open_store(workspace(sys.argv[1]).database)) as opened:
        moment = utcnow()
        for made in (three, blocked, planned):
            print(made.__name__, made(opened, moment))
