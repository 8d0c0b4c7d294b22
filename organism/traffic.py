"""Drafts out, interactions in: one draft for whoever asks, or a whole experiment's worth for simulated people."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from organism.config import DEMO_LOOP, utcnow
from organism.deploy.flow import live_version, version_by_name
from organism.deploy.serving import Draft, DraftServer
from organism.errors import DesignError, InputError, RunError
from organism.experiment.flow import assign_user, read_experiment
from organism.ingest.flow import ingest
from organism.records import EventKind, ModelVersion, new_id
from organism.store.database import Store
from organism.store.experiments import served_so_far
from organism.store.loops import loop_id_of, loop_name_of
from organism.store.model_versions import read_version

Progress = Callable[[str, float, str], None]
"""Called with the stage, the share done (0 to 1), and a sentence."""

SERVED_SOURCE = "organism-drafts"
SIMULATED_SOURCE = "simulated-traffic"
BATCH_SIZE = 24
SEEDS_PER_EXPERIMENT = 100_000


class Visit(Protocol):
    """One piece of work that a person brings: who, and what the model is asked."""

    @property
    def user_key(self) -> str: ...
    @property
    def encounter_id(self) -> str: ...
    @property
    def prompt(self) -> str: ...
    @property
    def region(self) -> str: ...
    @property
    def consent(self) -> bool: ...
    @property
    def attributes(self) -> dict[str, Any]: ...


class Environment(Protocol):
    """Somebody to serve: brings visits, and answers drafts. The shipped one is simulated."""

    def fresh_visits(self, n_per_user: int, *, seed: int) -> Sequence[Visit]:
        """Visits that no model has seen."""
        ...

    def respond(
        self, visit: Any, draft: str, *, interaction_id: str, now: datetime
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Feedback rows and outcome rows, in the shape that ingest takes."""
        ...


class Served(NamedTuple):
    """A draft with the id under which it was logged, and the version that wrote it."""

    interaction_id: str
    version: str
    draft: Draft


def serve_draft(
    store: Store,
    drafts: DraftServer,
    *,
    prompt: str,
    loop: str = DEMO_LOOP,
    version_name: str | None = None,
    user_key: str | None = None,
    max_new_tokens: int = 256,
) -> Served:
    """Write one draft with the live version (or a named one) and log it durably as an interaction.

    Raises InputError for an empty prompt or an unknown loop, DesignError when nothing is live.
    """
    if not prompt.strip():
        raise InputError("the prompt is empty; give the text that the model should answer.")
    version = _version(store, loop_id_of(store, loop), loop, version_name)
    (draft,) = drafts.drafts(version, [prompt], max_new_tokens=max_new_tokens)
    now = utcnow()
    row = _interaction(loop, version, draft, occurred_at=now, prompt=prompt, source=SERVED_SOURCE)
    row |= {"external_id": new_id(now), "user_key": user_key}
    (interaction_id,) = _ingested(store, EventKind.INTERACTIONS, [row])
    return Served(interaction_id, version.name, draft)


def run_simulated_traffic(
    store: Store,
    drafts: DraftServer,
    experiment_id: str,
    environment: Environment,
    *,
    visits_per_user: int,
    progress: Progress | None = None,
) -> int:
    """Serve fresh simulated visits through both arms: assign by hash, draft for real, ingest the answers.

    The visits are seeded by the experiment's place among the loop's and by what it has had so far: every call
    brings new ones, and no version is tested on visits whose answers trained it. Returns the number of
    drafts; everything written is marked synthetic.
    """
    experiment = read_experiment(store, experiment_id)
    loop_name = loop_name_of(store, experiment.loop_id)
    place, n_so_far = served_so_far(store, experiment_id)
    visits = environment.fresh_visits(visits_per_user, seed=place * SEEDS_PER_EXPERIMENT + n_so_far)
    by_arm: dict[str, list[Visit]] = {variant.name: [] for variant in experiment.variants}
    for visit in visits:
        by_arm[assign_user(store, experiment_id, visit.user_key, now=utcnow()).variant].append(visit)
    done = 0
    for arm, queue in by_arm.items():
        version_id = experiment.variant(arm).model_version_id
        if version_id is None:
            raise DesignError(f"variant {arm!r} is served by the product itself; no draft of it can be written here")
        version = read_version(store, version_id)
        for first in range(0, len(queue), BATCH_SIZE):
            batch = queue[first : first + BATCH_SIZE]
            _serve_batch(store, drafts, version, experiment_id, loop_name, environment, batch)
            done += len(batch)
            if progress:
                progress("observe", done / len(visits), f"{done} of {len(visits)} drafts for simulated physicians")
    return done


def _serve_batch(
    store: Store,
    drafts: DraftServer,
    version: ModelVersion,
    experiment_id: str,
    loop_name: str,
    environment: Environment,
    visits: Sequence[Visit],
) -> None:
    written = drafts.drafts(version, [visit.prompt for visit in visits], batch_size=BATCH_SIZE)
    now = utcnow()
    rows = [
        _interaction(
            loop_name,
            version,
            draft,
            occurred_at=now + timedelta(microseconds=place),
            prompt=visit.prompt,
            source=SIMULATED_SOURCE,
        )
        | {
            "external_id": f"{experiment_id}/{visit.encounter_id}",
            "experiment_id": experiment_id,
            "user_key": visit.user_key,
            "business_key": visit.encounter_id,
            "region": visit.region,
            "consent": visit.consent,
            "is_synthetic": True,
            "attributes": visit.attributes,
        }
        for place, (visit, draft) in enumerate(zip(visits, written, strict=True))
    ]
    ids = _ingested(store, EventKind.INTERACTIONS, rows)
    answers = [
        environment.respond(visit, draft.text, interaction_id=interaction_id, now=utcnow())
        for visit, draft, interaction_id in zip(visits, written, ids, strict=True)
    ]
    _ingested(store, EventKind.FEEDBACK, [row for feedback, _ in answers for row in feedback])
    _ingested(store, EventKind.OUTCOMES, [row for _, outcomes in answers for row in outcomes])


def _interaction(
    loop: str, version: ModelVersion, draft: Draft, *, occurred_at: datetime, prompt: str, source: str
) -> dict[str, Any]:
    return {
        "loop": loop,
        "variant_id": version.name,
        "model_version_id": version.model_version_id,
        "occurred_at": occurred_at,
        "prompt": prompt,
        "output": draft.text,
        "input_tokens": draft.input_tokens,
        "output_tokens": draft.output_tokens,
        "latency_ms": draft.latency_ms,
        "cost_usd": draft.cost_usd,
        "finish_reason": draft.finish_reason,
        "source": source,
    }


def _ingested(store: Store, kind: EventKind, rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    done = ingest(store, kind, rows, now=utcnow()).result()
    if done.quarantined:
        raise RunError(f"{done.quarantined} of our own {kind} were not accepted ({done.reasons[0]}); please report it.")
    return [identity for identity in done.ids if identity is not None]


def _version(store: Store, loop_id: str, loop: str, name: str | None) -> ModelVersion:
    if name is not None:
        return version_by_name(store, loop_id, name)
    live = live_version(store, loop_id)
    if live is None:
        raise DesignError(f"no version of loop '{loop}' is live; promote one, or name a version in the request.")
    return live
