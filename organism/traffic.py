"""Drafts out, interactions in: one draft for whoever asks, or a whole experiment's worth for simulated people."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from organism.config import DEMO_LOOP, utcnow
from organism.deploy.flow import live_version, version_by_name
from organism.deploy.serving import Draft, DraftServer
from organism.errors import DesignError, InputError, RunError
from organism.experiment.assign_flow import Assigned, assign_user, record_exposures
from organism.ingest.flow import ingest
from organism.records import EventKind, ModelVersion, new_id
from organism.store.database import Store
from organism.store.experiments import read_experiment, served_so_far
from organism.store.exposures import Exposure
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
    """A draft with the id under which it was logged, the version that wrote it, and what its experiment said.

    `assigned` is None where no experiment was asked; its variant is None where the experiment leaves the user out,
    who is then served like everybody.
    """

    interaction_id: str
    version: str
    draft: Draft
    assigned: Assigned | None = None


def serve_draft(
    store: Store,
    drafts: DraftServer,
    *,
    prompt: str,
    loop: str = DEMO_LOOP,
    version_name: str | None = None,
    user_key: str | None = None,
    experiment_id: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    max_new_tokens: int = 256,
) -> Served:
    """Write one draft with the live version (or a named one) and log it durably as an interaction.

    With `experiment_id` the user is assigned there, the variant's version writes with the variant's instruction put
    before the prompt, and the exposure is recorded; `attributes` are what its targeting looks at, and are logged.
    Raises InputError for an empty prompt or an unknown loop, DesignError when nothing is live, or for a variant that
    the product serves by itself.
    """
    if not prompt.strip():
        raise InputError("the prompt is empty; give the text that the model should answer.")
    loop_id = loop_id_of(store, loop)
    assigned = _assigned(store, loop_id, experiment_id, user_key, version_name, attributes)
    arm = _arm(store, assigned)
    version = arm.version if arm else _version(store, loop_id, loop, version_name)
    asked = instructed(arm.instruction if arm else None, prompt)
    (draft,) = drafts.drafts(version, [asked], max_new_tokens=max_new_tokens)
    now = utcnow()
    row = _interaction(loop, version, draft, occurred_at=now, prompt=prompt, source=SERVED_SOURCE)
    row |= {"external_id": new_id(now), "user_key": user_key} | _told(attributes)
    if arm:
        row |= {"experiment_id": arm.experiment_id, "variant_id": arm.name}
    (interaction_id,) = _ingested(store, EventKind.INTERACTIONS, [row])
    if arm:
        record_exposures(store, [Exposure(arm.experiment_id, str(user_key), arm.name, now, SERVED_SOURCE)])
    return Served(interaction_id, version.name, draft, assigned)


def instructed(instruction: str | None, prompt: str) -> str:
    """What the model is asked: the variant's instruction, an empty line, then what the person asked."""
    return f"{instruction}\n\n{prompt}" if instruction else prompt


def run_simulated_traffic(
    store: Store,
    drafts: DraftServer,
    experiment_id: str,
    environment: Environment,
    *,
    visits_per_user: int,
    progress: Progress | None = None,
) -> int:
    """Serve fresh simulated visits through every variant: assign, draft for real, ingest the answers.

    The visits are seeded by the experiment's place among the loop's and by what it has had so far: every call
    brings new ones, and no version is tested on visits whose answers trained it. Visits of people whom the
    experiment leaves out are not served. Returns the number of drafts; everything written is marked synthetic.
    """
    experiment = read_experiment(store, experiment_id)
    loop_name = loop_name_of(store, experiment.loop_id)
    place, n_so_far = served_so_far(store, experiment_id)
    visits = environment.fresh_visits(visits_per_user, seed=place * SEEDS_PER_EXPERIMENT + n_so_far)
    versions = {one.name: _version_of(store, one.name, one.model_version_id) for one in experiment.variants}
    by_arm: dict[str | None, list[Visit]] = {}
    for visit in visits:
        told = visit.attributes | {"region": visit.region}
        known = {name: value for name, value in told.items() if isinstance(value, str | int | float)}
        found = assign_user(store, experiment_id, visit.user_key, utcnow(), known)
        by_arm.setdefault(found.variant, []).append(visit)
    n_served = len(visits) - len(by_arm.pop(None, []))
    done = 0
    for variant in experiment.variants:
        queue = by_arm.get(variant.name, [])
        for first in range(0, len(queue), BATCH_SIZE):
            batch = queue[first : first + BATCH_SIZE]
            arm = _Arm(experiment_id, variant.name, variant.prompt, versions[variant.name])
            _serve_batch(store, drafts, arm, loop_name, environment, batch)
            done += len(batch)
            if progress:
                progress("observe", done / n_served, f"{done} of {n_served} drafts for simulated physicians")
    return done


class _Arm(NamedTuple):
    """A variant of an experiment by its name: the version that writes for it, and the instruction before the prompt."""

    experiment_id: str
    name: str
    instruction: str | None
    version: ModelVersion


def _serve_batch(
    store: Store,
    drafts: DraftServer,
    arm: _Arm,
    loop_name: str,
    environment: Environment,
    visits: Sequence[Visit],
) -> None:
    asked = [instructed(arm.instruction, visit.prompt) for visit in visits]
    written = drafts.drafts(arm.version, asked, batch_size=BATCH_SIZE)
    now = utcnow()
    rows = [
        _interaction(
            loop_name,
            arm.version,
            draft,
            occurred_at=now + timedelta(microseconds=place),
            prompt=visit.prompt,
            source=SIMULATED_SOURCE,
        )
        | {
            "external_id": f"{arm.experiment_id}/{visit.encounter_id}",
            "experiment_id": arm.experiment_id,
            "variant_id": arm.name,
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
    met = {row["user_key"]: row["occurred_at"] for row in reversed(rows)}
    record_exposures(
        store,
        [Exposure(arm.experiment_id, user, arm.name, at, SIMULATED_SOURCE) for user, at in met.items()],
    )
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


def _assigned(
    store: Store,
    loop_id: str,
    experiment_id: str | None,
    user_key: str | None,
    version_name: str | None,
    attributes: Mapping[str, Any] | None,
) -> Assigned | None:
    """What the experiment serves the user; None where none is asked. Raises InputError for what cannot go together."""
    if experiment_id is None:
        return None
    if version_name is not None:
        raise InputError("a version and an experiment are both named; name one of them, the experiment picks its own")
    if read_experiment(store, experiment_id).loop_id != loop_id:
        raise InputError("the experiment belongs to another loop; name its loop in the request")
    return assign_user(store, experiment_id, user_key or "", utcnow(), attributes)


def _arm(store: Store, assigned: Assigned | None) -> _Arm | None:
    """What writes for the user; None outside of any experiment."""
    if assigned is None or assigned.variant is None:
        return None
    version = _version_of(store, assigned.variant, assigned.model_version_id)
    return _Arm(assigned.experiment_id, assigned.variant, assigned.prompt, version)


def _told(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is known of the user, as an interaction keeps it: the region has a column of its own."""
    if not attributes:
        return {}
    region = attributes.get("region")
    return {"attributes": dict(attributes)} | ({"region": region} if isinstance(region, str) and region else {})


def _version_of(store: Store, variant: str, model_version_id: str | None) -> ModelVersion:
    if model_version_id is None:
        raise DesignError(
            f"variant {variant!r} is the product's own system, so no draft of it can be written here; serve it there "
            "and send its interactions with the experiment's id"
        )
    return read_version(store, model_version_id)


def _version(store: Store, loop_id: str, loop: str, name: str | None) -> ModelVersion:
    if name is not None:
        return version_by_name(store, loop_id, name)
    live = live_version(store, loop_id)
    if live is None:
        raise DesignError(f"no version of loop '{loop}' is live; promote one, or name a version in the request.")
    return live
