"""How an experiment deals its users just now, in one value: for a page, the command line and HTTP."""

from typing import NamedTuple

from organism.experiment.targeting import in_words
from organism.experiment.thompson import Policy
from organism.experiment.thompson_flow import read_play
from organism.store.database import Store
from organism.store.experiments import RUNNING, Experiment, read_experiment
from organism.store.exposures import ExposureCount, count_exposures
from organism.store.holdouts import read_holdout
from organism.store.layers import Slot, free_ranges, read_layers


class AssignmentState(NamedTuple):
    """Policy, layer, holdout and targeting, and by variant who was assigned and who really met it.

    `covered` is the share of the loop's users that an experiment of these terms can take, before targeting. `dealt` is
    the probability a variant that Thompson sampling deals to the next user; None under the policy hash, and once the
    experiment has ended. `layer_free` is what is left of the layer.
    """

    policy: str
    salt: str
    layer: str | None
    layer_range: tuple[float, float] | None
    layer_slots: list[Slot]
    layer_free: list[tuple[float, float]]
    holdout: float
    covered: float
    targeting: str
    variants: list[ExposureCount]
    dealt: tuple[float, ...] | None
    sentence: str


def read_assignment_state(store: Store, experiment_id: str) -> AssignmentState:
    """How the experiment deals as of now; raises InputError for an unknown one."""
    experiment = read_experiment(store, experiment_id)
    held = read_holdout(store, experiment.loop_id)
    holdout = held.share if held else 0.0
    slots = read_layers(store, experiment.loop_id).get(experiment.layer, []) if experiment.layer else []
    place = _place(experiment)
    counts = count_exposures(store, experiment_id)
    play = read_play(store, experiment) if _adapts(experiment) else None
    return AssignmentState(
        policy=experiment.policy,
        salt=experiment.salt,
        layer=experiment.layer,
        layer_range=place,
        layer_slots=slots,
        layer_free=free_ranges(slots) if experiment.layer else [],
        holdout=holdout,
        covered=(1 - holdout) * ((place[1] - place[0]) if place else 1.0),
        targeting=in_words(experiment.targeting),
        variants=counts,
        dealt=play.probabilities if play else None,
        sentence=_said(experiment, counts, play.why if play else None),
    )


def _place(experiment: Experiment) -> tuple[float, float] | None:
    if experiment.layer is None:
        return None
    low, high = experiment.layer_low, experiment.layer_high
    return (0.0 if low is None else low), (1.0 if high is None else high)


def _adapts(experiment: Experiment) -> bool:
    return experiment.policy == Policy.THOMPSON and experiment.status == RUNNING


def _said(experiment: Experiment, counts: list[ExposureCount], why: str | None) -> str:
    n_assigned, n_exposed = sum(one.n_assigned for one in counts), sum(one.n_exposed for one in counts)
    people = "simulated users" if experiment.is_synthetic else "users"
    only = f" Only users whose {in_words(experiment.targeting)}." if experiment.targeting else ""
    rest = f"{only} {why or ''}".rstrip()
    if not n_assigned and not n_exposed:
        return f"No user was assigned yet.{rest}"
    met = f"{n_assigned:,} {people} have a variant, and {n_exposed:,} met one."
    strayed = sum(one.n_strayed for one in counts)
    astray = f" {strayed:,} met another than they were assigned, and are in no figure." if strayed else ""
    unassigned = sum(one.n_unassigned for one in counts)
    without = f" {unassigned:,} met one without an assignment, and count where they met it." if unassigned else ""
    return f"{met}{astray}{without}{rest}"
