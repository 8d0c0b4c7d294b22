"""One reading of an experiment for all that its page shows: the scorecard and the tracks are arithmetic on it."""

import pandas as pd

from organism.experiment.evidence import Evidence
from organism.experiment.flow import evidence_of, track_of
from organism.experiment.rules import judge
from organism.experiment.scorecard import Scorecard
from organism.store.database import Store
from ui import runtime


def scorecard(experiment_id: str) -> Scorecard:
    """The scorecard as of the last change of the data; raises as `evidence_of` does."""
    return runtime.hold(_judged, experiment_id)


def track(experiment_id: str) -> pd.DataFrame:
    """The effect day by day of the treatment that does best: the columns of `effect_track`."""
    return runtime.hold(_tracked, experiment_id)


def _evidence(experiment_id: str) -> Evidence:
    """What the store was asked for, once for each state of the data."""
    return runtime.hold(evidence_of, experiment_id)


def _judged(_store: Store, experiment_id: str) -> Scorecard:
    return judge(_evidence(experiment_id))


def _tracked(_store: Store, experiment_id: str) -> pd.DataFrame:
    return track_of(_evidence(experiment_id))
