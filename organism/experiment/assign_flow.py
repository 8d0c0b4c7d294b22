"""Assign users, record who met a variant, set the holdout: read, decide, write."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from organism.errors import DesignError, InputError
from organism.experiment.assignment import Arm, bucket, deal
from organism.experiment.layers import in_layer
from organism.experiment.targeting import check_attributes, is_targeted
from organism.experiment.thompson import Policy
from organism.experiment.thompson_flow import current_play
from organism.store.assignments import Draw, Kept, keep_assignments, read_assignments
from organism.store.database import Store
from organism.store.experiments import PLANNED, RUNNING, Experiment, read_experiment, read_running
from organism.store.exposures import Exposure, keep_exposures
from organism.store.holdouts import Holdout, put_holdout, read_holdout
from organism.store.layers import Slot, free_ranges, read_layers
from organism.store.model_versions import read_version

LONGEST_KEY = 500
MAX_HOLDOUT = 0.5


class Reason(StrEnum):
    """Why a user has this variant, or none."""

    HASH = "hash"
    THOMPSON = "thompson"
    KEPT = "kept"
    HOLDOUT = "holdout"
    OUTSIDE_LAYER = "outside the layer's range"
    NOT_TARGETED = "not targeted"


class Assigned(NamedTuple):
    """What an experiment serves a user: variant is None where it takes no part of the user, and `reason` says why.

    Serve `model_version` (None: the product's own system) with `prompt` put before what is asked, where there is one.
    `probability` is what the variant was drawn with and is on record; `is_new` says that this call drew it.
    """

    experiment_id: str
    experiment: str
    variant: str | None
    model_version_id: str | None
    model_version: str | None
    prompt: str | None
    probability: float | None
    reason: Reason
    is_new: bool = False


class Layer(NamedTuple):
    """A layer: who holds which part of it, and what is free."""

    layer: str
    slots: list[Slot]
    free: list[tuple[float, float]]


def assign_user(
    store: Store, experiment_id: str, user_key: str, now: datetime, attributes: Mapping[str, Any] | None = None
) -> Assigned:
    """The user's variant in one experiment, kept on first sight with its probability; the same at every later call.

    Raises InputError without a user or for attributes of the wrong type, DesignError for a new user of an experiment
    that does not run.
    """
    return assign_experiments(store, [experiment_id], user_key, now, attributes)[0]


def assign_experiments(
    store: Store,
    experiment_ids: Sequence[str],
    user_key: str,
    now: datetime,
    attributes: Mapping[str, Any] | None = None,
) -> list[Assigned]:
    """The same for several experiments at once, in their order and in one transaction."""
    known = _known(store)
    return _assigned(store, [known.experiment(store, one) for one in experiment_ids], user_key, now, attributes)


def assign_loop(
    store: Store, loop_id: str, user_key: str, now: datetime, attributes: Mapping[str, Any] | None = None
) -> list[Assigned]:
    """The same for every running experiment of the loop, the oldest first; empty when none runs."""
    return _assigned(store, _known(store).running(store, loop_id), user_key, now, attributes)


def record_exposures(store: Store, exposures: Sequence[Exposure]) -> int:
    """Keep that these users met these variants; returns how many were new. A variant of "" is the assigned one.

    Raises InputError for an unknown experiment or variant, or for a user without a variant.
    """
    return int(keep_exposures(store, [_checked(store, one) for one in exposures]).result())


def set_holdout(store: Store, loop_id: str, share: float, actor: str, *, now: datetime) -> Holdout:
    """Hold this share of the loop's users out of every experiment from now on; 0 ends it.

    Who has a variant keeps it. Raises InputError without a name, DesignError for a share outside of 0 to 0.5.
    """
    if not actor.strip():
        raise InputError("a holdout needs the name of who sets it")
    if not 0 <= share <= MAX_HOLDOUT:
        raise DesignError(
            f"found a holdout of {share:g}; give a share of users from 0 to {MAX_HOLDOUT:g}, such as 0.05"
        )
    put_holdout(store, loop_id, share, f"holdout of {loop_id}", actor.strip(), now)
    found = read_holdout(store, loop_id)
    assert found is not None
    return found


def is_held_out(holdout: Holdout | None, user_key: str) -> bool:
    """Whether the user is in the loop's holdout: by a hash of its own, apart from that of any experiment."""
    return holdout is not None and bucket(holdout.salt, user_key) < holdout.share


def layer_map(store: Store, loop_id: str) -> list[Layer]:
    """The loop's layers by name: the parts that running experiments hold, and those that are free."""
    return [Layer(name, slots, free_ranges(slots)) for name, slots in sorted(read_layers(store, loop_id).items())]


def _assigned(
    store: Store,
    experiments: Sequence[Experiment],
    user_key: str,
    now: datetime,
    attributes: Mapping[str, Any] | None,
) -> list[Assigned]:
    user, told = _user(user_key), check_attributes(attributes)
    kept = read_assignments(store, user, [one.experiment_id for one in experiments]) if experiments else {}
    drawn: dict[str, tuple[Draw, Reason]] = {}
    left_out: dict[str, Reason] = {}
    for experiment in (one for one in experiments if one.experiment_id not in kept):
        found = _drawn(store, experiment, user, told, now)
        if isinstance(found, Reason):
            left_out[experiment.experiment_id] = found
        else:
            draw = Draw(experiment.experiment_id, user, *found[0], now)
            drawn[experiment.experiment_id] = (draw, found[1])
    if drawn:
        kept |= dict(zip(drawn, keep_assignments(store, [draw for draw, _ in drawn.values()]).result(), strict=True))
    reasons = left_out | {one: reason for one, (_, reason) in drawn.items() if kept[one].is_new}
    return [
        _answer(store, one, kept.get(one.experiment_id), reasons.get(one.experiment_id, Reason.KEPT))
        for one in experiments
    ]


def _drawn(
    store: Store, experiment: Experiment, user: str, attributes: Mapping[str, Any], now: datetime
) -> tuple[Arm, Reason] | Reason:
    """What the user is dealt, or why nothing; raises DesignError when the experiment does not run."""
    if experiment.status == PLANNED:
        raise DesignError(f"experiment {experiment.name!r} has not started; start it, then assign its users")
    if experiment.status != RUNNING:
        raise DesignError(f"experiment {experiment.name!r} has ended; ask for the live version instead")
    if is_held_out(_known(store).holdout(store, experiment.loop_id), user):
        return Reason.HOLDOUT
    if experiment.layer is not None and not in_layer(
        user,
        experiment.layer,
        0.0 if experiment.layer_low is None else experiment.layer_low,
        1.0 if experiment.layer_high is None else experiment.layer_high,
    ):
        return Reason.OUTSIDE_LAYER
    if not is_targeted(experiment.targeting, attributes):
        return Reason.NOT_TARGETED
    if experiment.policy == Policy.THOMPSON:
        probabilities: Sequence[float] = current_play(store, experiment, now).probabilities
        return deal(experiment.salt, user, experiment.variants, probabilities), Reason.THOMPSON
    shares = [variant.share for variant in experiment.variants]
    return deal(experiment.salt, user, experiment.variants, shares), Reason.HASH


def _answer(store: Store, experiment: Experiment, kept: Kept | None, reason: Reason) -> Assigned:
    if kept is None:
        return Assigned(experiment.experiment_id, experiment.name, None, None, None, None, None, reason)
    variant = experiment.variant(kept.variant)
    version = variant.model_version_id
    return Assigned(
        experiment.experiment_id,
        experiment.name,
        variant.name,
        version,
        _known(store).version_name(store, version) if version else None,
        variant.prompt,
        kept.probability,
        reason,
        kept.is_new,
    )


def _checked(store: Store, exposure: Exposure) -> Exposure:
    """The exposure with the user as assigned users are written, and with its variant."""
    experiment = _known(store).experiment(store, exposure.experiment_id)
    user = _user(exposure.user_key)
    if exposure.variant:
        return exposure._replace(user_key=user, variant=experiment.variant(exposure.variant).name)
    kept = read_assignments(store, user, [experiment.experiment_id])
    if not kept:
        raise InputError(
            f"user {user!r} has no variant in experiment {experiment.name!r}; assign the user first, or name the "
            "variant that was served"
        )
    return exposure._replace(user_key=user, variant=kept[experiment.experiment_id].variant)


def _user(user_key: str) -> str:
    """The user's key as interactions keep it; raises InputError for an empty or an endless one."""
    user = user_key.strip()
    if not user:
        raise InputError("no user was named; send the key of the user who is to be served")
    if user.encode(errors="replace").decode() != user:
        raise InputError(f"the user's key {user!r} is no text: it holds half of a surrogate pair; send it in UTF-8")
    if len(user) > LONGEST_KEY:
        raise InputError(f"the user's key is {len(user):,} characters long; at most {LONGEST_KEY} are kept")
    return user


class _Known:
    """Experiments and holdouts as they stood at one version of their tables: assigning reads each once."""

    def __init__(self, version: int) -> None:
        self.version = version
        self._experiments: dict[str, Experiment] = {}
        self._running: dict[str, list[Experiment]] = {}
        self._holdouts: dict[str, Holdout | None] = {}
        self._names: dict[str, str] = {}

    def experiment(self, store: Store, experiment_id: str) -> Experiment:
        """One experiment; raises InputError for an unknown one."""
        if experiment_id not in self._experiments:
            self._experiments[experiment_id] = read_experiment(store, experiment_id)
        return self._experiments[experiment_id]

    def running(self, store: Store, loop_id: str) -> list[Experiment]:
        """The loop's running experiments, the oldest first."""
        if loop_id not in self._running:
            self._running[loop_id] = read_running(store, loop_id)
        return self._running[loop_id]

    def holdout(self, store: Store, loop_id: str) -> Holdout | None:
        """The loop's holdout; None without one."""
        if loop_id not in self._holdouts:
            self._holdouts[loop_id] = read_holdout(store, loop_id)
        return self._holdouts[loop_id]

    def version_name(self, store: Store, model_version_id: str) -> str:
        """The name of a model version."""
        if model_version_id not in self._names:
            self._names[model_version_id] = read_version(store, model_version_id).name
        return self._names[model_version_id]


_memory: WeakKeyDictionary[Store, _Known] = WeakKeyDictionary()


def _known(store: Store) -> _Known:
    """What is remembered of the store, forgotten when an experiment or a holdout changed."""
    version = store.version("experiments", "variants", "plans", "holdouts", "decisions", "model_versions")
    found = _memory.get(store)
    if found is None or found.version != version:
        found = _memory[store] = _Known(version)
    return found
