"""Decision records of a workspace: as kept, as of now, judged anew, and set against what the database says today."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from organism.config import utcnow
from organism.errors import DesignError, InputError
from organism.experiment.evidence import Evidence
from organism.experiment.flow import dealt_by, evidence_of, read_experiment
from organism.experiment.record import Outcome, Record, Replayed, evidence_in, make_record, read_record, replay
from organism.experiment.since import Since, changes_since
from organism.store.database import Store
from organism.store.decisions import KeptDecision, read_kept


class Kept(NamedTuple):
    """A record on file with its decision. `experiment_id` is the one that it is about."""

    decision_id: str
    experiment_id: str
    record: Record


def record_of(store: Store, experiment_id: str, now: datetime | None = None) -> Record:
    """The record of the experiment's last decision; before any, the record as of now.

    Raises InputError for an id that there is not, or a decision from before records were kept; DesignError for an
    experiment that has not started.
    """
    experiment = read_experiment(store, experiment_id)
    if read_kept(store, experiment_id):
        return kept_record(store, experiment_id).record
    return make_record(evidence_of(store, experiment_id, now or utcnow()), dealt_by(experiment))[0]


def kept_record(store: Store, any_id: str) -> Kept:
    """The record of a decision, or of an experiment's last one; raises InputError where there is none."""
    return _with_record(_kept(store, any_id))


def _kept(store: Store, any_id: str) -> KeptDecision:
    found = read_kept(store, any_id)
    if not found:
        experiment = read_experiment(store, any_id)
        raise InputError(f"nobody has decided {experiment.name!r} yet, so there is no record; decide it first")
    return found[0]


def _with_record(kept: KeptDecision) -> Kept:
    if kept.record is None:
        raise InputError(
            f"the decision of {kept.actor} ({kept.verdict}, {kept.created_at:%Y-%m-%d}) was taken before records were "
            "kept; its scorecard as it was seen is all there is"
        )
    return Kept(kept.decision_id, kept.experiment_id, Record(kept.record, kept.record_sha256 or ""))


def replay_decision(store: Store, any_id: str) -> Replayed:
    """Judge a kept record anew, by the id of its decision or experiment; raises InputError as `kept_record` does.

    It differs too where the database says of the decision what its record does not say.
    """
    kept = _kept(store, any_id)
    record = _with_record(kept).record
    found = replay(record.text, record.sha256)
    if not (other := _beside(kept, read_record(record.text)["decision"] or {})):
        return found
    return found._replace(is_same=False, outcome=Outcome.DIFFERS, sentence=f"Differs. {other} {found.sentence}")


def _beside(kept: KeptDecision, recorded: Mapping[str, Any]) -> str:
    """Where the decision's row in the database is not as in its record; empty where it is."""
    row = {"verdict": kept.verdict, "note": kept.note, "actor": kept.actor}
    changed = [
        f"its {name} is {said!r}, recorded was {recorded.get(name)!r}"
        for name, said in row.items()
        if recorded.get(name) != said
    ]
    return f"The decision was changed beside its record: {'; '.join(changed)}." if changed else ""


def since_decision(store: Store, any_id: str) -> Since:
    """What the database says today where the record's evidence was read: late answers, more interactions."""
    kept = kept_record(store, any_id)
    before = evidence_in(read_record(kept.record.text))
    return changes_since(before, _asked_again(store, before))


def _asked_again(store: Store, before: Evidence) -> Evidence:
    try:
        return evidence_of(store, before.experiment_id, before.read_at)
    except (DesignError, InputError) as error:
        raise InputError(f"the database cannot be asked again: {error}") from error
