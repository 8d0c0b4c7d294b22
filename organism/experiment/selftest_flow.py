"""Read the users of an experiment, or of a loop's last weeks, and self-test on them."""

from datetime import datetime, timedelta

from organism.errors import DesignError, InputError
from organism.experiment.plan import PRIMARY, Plan, plan_of
from organism.experiment.reading import design_of
from organism.experiment.selftest import PERMUTATIONS, Progress, Question, SelfTest, self_test
from organism.experiment.sizing_flow import check_metrics
from organism.measures.metric_names import quantile_of
from organism.records import RewardDesign
from organism.store.database import Store
from organism.store.experiment_tables import ADAPTIVE, row_columns
from organism.store.experiments import Experiment, read_experiment
from organism.store.loop_past import read_past
from organism.store.reward_designs import read_saved
from organism.store.self_test_users import read_of_experiment, read_of_loop
from organism.store.signal_definitions import columns_of

WEEKS, MOST_WEEKS = 8, 520


def self_test_experiment(
    store: Store,
    experiment_id: str,
    *,
    metric: str | None = None,
    treatment: str | None = None,
    permutations: int = PERMUTATIONS,
    alpha: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> SelfTest:
    """Split the users of the control and a treatment (the first unless named) anew, as many into each as there were.

    The metric is the plan's first, alpha the plan's, unless given. Raises InputError for an unknown experiment or
    treatment, DesignError for an unknown metric or where no split can say anything.
    """
    experiment = read_experiment(store, experiment_id)
    plan = plan_of(experiment.plan)
    name = metric or plan.primary[0]
    second = _treatment(experiment, treatment)
    if experiment.policy == ADAPTIVE:
        raise DesignError(
            f"the shares of {experiment.name!r} followed its results, so its users cannot be swapped; test on the "
            "loop's last weeks instead (--loop)"
        )
    columns = _columns(store, experiment.loop_id, name, design_of(store, experiment, plan))
    if progress is not None:
        progress("read", 0.0, "Reading every user's sums")
    users, n_treatment = read_of_experiment(store, experiment, (experiment.control, second), columns)
    source = f"{experiment.name}: {experiment.control} and {second}"
    question = Question(source, name, n_treatment, plan.alpha if alpha is None else alpha, permutations, seed)
    return self_test(users, question, progress)


def self_test_loop(
    store: Store,
    loop_id: str,
    *,
    metric: str | None = None,
    weeks: int = WEEKS,
    permutations: int = PERMUTATIONS,
    alpha: float = 0.05,
    seed: int = 0,
    now: datetime,
    progress: Progress | None = None,
) -> SelfTest:
    """Split all users of the loop's last weeks (back from its last interaction) into two halves; raises as above."""
    if not 1 <= weeks <= MOST_WEEKS:
        raise DesignError(f"{weeks} weeks were asked for; wanted 1 to {MOST_WEEKS}")
    name = metric or PRIMARY
    saved = read_saved(store, loop_id)
    columns = _columns(store, loop_id, name, saved[0].design if saved else None)
    past = read_past(store, loop_id)
    if past.last_at is None:
        raise DesignError("this loop has no interactions yet; a self-test needs its logs")
    until = min(now, past.last_at)
    users = read_of_loop(store, loop_id, columns, since=until - timedelta(weeks=weeks), until=until)
    source = f"the loop's last {weeks} weeks" if weeks > 1 else "the loop's last week"
    return self_test(users, Question(source, name, None, alpha, permutations, seed), progress)


def _treatment(experiment: Experiment, named: str | None) -> str:
    names = [variant.name for variant in experiment.variants[1:]]
    if named is not None and named not in names:
        raise InputError(f"{named!r} is no treatment of this experiment; it has {', '.join(names)}")
    return named or names[0]


def _columns(
    store: Store, loop_id: str, metric: str, design: RewardDesign | None
) -> tuple[str, str] | tuple[str, float]:
    check_metrics(store, loop_id, Plan(primary=(metric,), guardrails=(), watched=()))
    if quantile := quantile_of(metric):
        return columns_of(store, loop_id, [quantile[0]])[0], quantile[1]
    return row_columns(store, loop_id, [metric], design)[metric]
