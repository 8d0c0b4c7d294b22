"""The report of an experiment: of a decided one from its record alone, of any other from the database as of now."""

from datetime import datetime

import pandas as pd

from organism.config import utcnow
from organism.errors import OrganismError
from organism.experiment.analysis import settings_of
from organism.experiment.evidence import Evidence
from organism.experiment.flow import evidence_of, read_experiment
from organism.experiment.plan_flow import proposal_of, size_plan
from organism.experiment.record import evidence_in, read_record, replay
from organism.experiment.report import Decision, Subject, render
from organism.experiment.rules import judge
from organism.experiment.svg import Look
from organism.experiment.track import track
from organism.records import Verdict
from organism.store.database import Store
from organism.store.decisions import read_kept
from organism.store.experiments import Experiment


def report_of(store: Store, experiment_id: str, now: datetime | None = None) -> str:
    """The report as one HTML document: of a decided experiment from its record alone, else as of now.

    Raises InputError for an id that there is not.
    """
    experiment = read_experiment(store, experiment_id)
    kept = read_kept(store, experiment_id)
    decisions = tuple(Decision(Verdict(one.verdict), one.rule, one.note, one.actor, one.created_at) for one in kept)
    blank = Subject(
        experiment_id=experiment_id,
        name=experiment.name,
        hypothesis=experiment.hypothesis,
        loop_name=experiment.loop_name,
        status=experiment.status,
        is_synthetic=experiment.is_synthetic,
        started_at=experiment.started_at,
        ended_at=experiment.ended_at,
        variants=experiment.variants,
        plan=experiment.plan,
        decisions=decisions,
        card=None,
        looks=(),
        standing="Nothing was measured yet.",
        sha256=None,
    )
    if experiment.started_at is None:
        return render(blank._replace(asked=_asked(store, experiment)))
    if experiment.ended_at is not None and kept and kept[0].record is not None:
        return render(_from_record(blank, kept[0].record, kept[0].record_sha256))
    return render(_from_data(store, blank, now or utcnow()))


def _asked(store: Store, experiment: Experiment) -> str:
    """What the plan asks of this loop's traffic, or why that cannot be said."""
    try:
        return size_plan(store, experiment.loop_id, proposal_of(experiment), utcnow()).sentence
    except OrganismError as error:
        return f"{str(error)[:1].upper()}{str(error)[1:]}."


def _from_record(blank: Subject, text: str, sha256: str | None) -> Subject:
    evidence = evidence_in(read_record(text))
    again = replay(text, sha256)
    standing = "Every figure comes from the record that was kept with the decision, as of " + _as_of(evidence) + ". "
    standing += "Judged anew for this report, it came to the same bytes." if again.is_same else again.sentence
    return _with_card(blank, evidence)._replace(standing=standing, sha256=again.sha256)


def _from_data(store: Store, blank: Subject, now: datetime) -> Subject:
    """As of now; of an experiment that was decided before records were kept, as of its end."""
    evidence = evidence_of(store, blank.experiment_id, blank.ended_at or now)
    standing = f"Figures as of {_as_of(evidence)}, data version {evidence.data_version}; the experiment still runs."
    if blank.ended_at is not None:
        standing = "It was decided before records were kept: these figures are what the database says of it today."
    return _with_card(blank, evidence)._replace(standing=standing)


def _as_of(evidence: Evidence) -> str:
    return f"{evidence.read_at:%Y-%m-%d %H:%M} UTC"


def _with_card(blank: Subject, evidence: Evidence) -> Subject:
    card = judge(evidence)
    return blank._replace(card=card, looks=_looks(track(evidence, settings_of(evidence), card.treatment)))


def _looks(frame: pd.DataFrame) -> tuple[Look, ...]:
    figures = frame[["effect", "low", "high", "always_low", "always_high"]].astype(object)
    rows = figures.where(figures.notna(), None).itertuples(index=False)
    return tuple(Look(day.to_pydatetime(), *row) for day, row in zip(frame["day"], rows, strict=True))
