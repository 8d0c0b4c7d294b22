"""What the loop's vital signs are read from: answers, waiting times, cycles, and where every draft ended up.

An answer is usable when its user consented and the text that an expert stood behind is known. Users who are
held out for evaluation are never trained on, so their answers do not wait.
"""

from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from organism.store.database import Store
from organism.store.signal_table import refresh_signals

_USABLE = """
    SELECT s.interaction_id, s.feedback_id, s.user_key, s.first_feedback_at AS answered_at
    FROM signals s JOIN interactions i ON i.interaction_id = s.interaction_id
    WHERE s.loop_id = $1 AND i.consent AND s.user_key IS NOT NULL AND s.answer IN ('accept', 'edit')
        AND s.user_key NOT IN (
            SELECT user_key FROM dataset_rows r JOIN datasets d USING (dataset_id)
            WHERE r.split = 'heldout' AND d.loop_id = $1
        )
"""
_FIRST_LIVE = """
    SELECT model_version_id, min(created_at) AS live_at FROM alias_events
    WHERE loop_id = $1 AND alias = 'live' GROUP BY model_version_id
"""


class Answers(NamedTuple):
    """Drafts and answers: those old enough to count as silent when nobody answered, and how long answers took."""

    n_interactions: int
    n_settled: int
    n_answered: int
    p50_s: float | None
    p90_s: float | None
    is_synthetic: bool


class Shipping(NamedTuple):
    """How long signals took from the answer to the first live version trained on them, and those still open."""

    n_shipped: int
    p50_days: float | None
    p85_days: float | None
    n_open: int
    open_p50_days: float | None
    oldest_open_days: float | None
    n_untrained: int
    oldest_untrained_days: float | None


def read_answers(store: Store, loop_id: str, settled_before: datetime) -> Answers:
    """Counts and answer times; only drafts from before `settled_before` can count as never answered."""
    refresh_signals(store)
    found = store.rows(
        """
        SELECT count(*), count(*) FILTER (occurred_at < $2),
            count(first_feedback_at) FILTER (occurred_at < $2),
            quantile_cont(epoch(first_feedback_at - occurred_at), 0.5)
                FILTER (occurred_at < $2 AND first_feedback_at IS NOT NULL),
            quantile_cont(epoch(first_feedback_at - occurred_at), 0.9)
                FILTER (occurred_at < $2 AND first_feedback_at IS NOT NULL),
            coalesce((SELECT bool_or(is_synthetic) FROM interactions WHERE loop_id = $1), false)
        FROM signals WHERE loop_id = $1
        """,
        [loop_id, settled_before],
    )
    return Answers(*found[0])


def read_two_weeks(store: Store, loop_id: str, before: datetime, since: datetime, until: datetime) -> pd.DataFrame:
    """Each user's retained and drafted characters in two adjoining spans.

    Columns: user_key, kept_0, drafted_0, kept_1, drafted_1.
    """
    refresh_signals(store)
    return store.frame(
        """
        SELECT coalesce(user_key, interaction_id::VARCHAR) AS user_key,
            coalesce(sum(retained_chars) FILTER (occurred_at < $3), 0)::DOUBLE AS kept_0,
            coalesce(sum(draft_chars) FILTER (occurred_at < $3), 0)::DOUBLE AS drafted_0,
            coalesce(sum(retained_chars) FILTER (occurred_at >= $3), 0)::DOUBLE AS kept_1,
            coalesce(sum(draft_chars) FILTER (occurred_at >= $3), 0)::DOUBLE AS drafted_1
        FROM signals WHERE loop_id = $1 AND occurred_at >= $2 AND occurred_at < $4 AND retained_chars IS NOT NULL
        GROUP BY 1 ORDER BY 1
        """,
        [loop_id, before, since, until],
    )


def read_weeks(store: Store, loop_id: str) -> pd.DataFrame:
    """By week (its Monday) and variant the moments over users of what was kept.

    Columns: week, variant, n_users, kept, drafted (means over users), kept_var, drafted_var, covariance (None for
    one user), written_share, n_interactions (drafts with a known answer).
    """
    refresh_signals(store)
    return store.frame(
        """
        WITH users AS (
            SELECT date_trunc('week', occurred_at)::TIMESTAMP AS week, coalesce(variant_id, 'unknown') AS variant,
                coalesce(user_key, interaction_id::VARCHAR) AS user_key, count(*) AS n_rows,
                sum(retained_chars)::DOUBLE AS kept, sum(draft_chars)::DOUBLE AS drafted,
                (sum(retained_chars) FILTER (final_chars IS NOT NULL))::DOUBLE AS written, sum(final_chars) AS final
            FROM signals WHERE loop_id = ? AND retained_chars IS NOT NULL AND draft_chars > 0 GROUP BY ALL
        )
        SELECT week, variant, count(*) AS n_users, avg(kept) AS kept, avg(drafted) AS drafted,
            var_samp(kept) AS kept_var, var_samp(drafted) AS drafted_var, covar_samp(kept, drafted) AS covariance,
            sum(written) / nullif(sum(final), 0) AS written_share, sum(n_rows)::BIGINT AS n_interactions
        FROM users GROUP BY week, variant ORDER BY week, variant
        """,
        [loop_id],
    )


def read_shipping(store: Store, loop_id: str, now: datetime) -> Shipping:
    """How long usable answers waited for a live version, and how old those are that still wait."""
    refresh_signals(store)
    found = store.rows(
        f"""
        WITH usable AS ({_USABLE}), first_live AS ({_FIRST_LIVE}), trained AS (
            SELECT r.interaction_id, min(l.live_at) AS live_at
            FROM dataset_rows r JOIN datasets d USING (dataset_id)
            LEFT JOIN model_versions v ON v.dataset_id = d.dataset_id
            LEFT JOIN first_live l ON l.model_version_id = v.model_version_id
            WHERE d.loop_id = $1 AND r.split = 'train' GROUP BY r.interaction_id
        ), ages AS (
            SELECT t.live_at, t.interaction_id IS NULL AS is_untrained,
                epoch(coalesce(t.live_at, $2) - u.answered_at) / 86400 AS days
            FROM usable u LEFT JOIN trained t USING (interaction_id) WHERE u.answered_at <= $2
        )
        SELECT count(live_at), quantile_cont(days, 0.5) FILTER (live_at IS NOT NULL),
            quantile_cont(days, 0.85) FILTER (live_at IS NOT NULL), count(*) FILTER (live_at IS NULL),
            quantile_cont(days, 0.5) FILTER (live_at IS NULL), max(days) FILTER (live_at IS NULL),
            count(*) FILTER (is_untrained), max(days) FILTER (is_untrained)
        FROM ages
        """,
        [loop_id, now],
    )
    return Shipping(*found[0])


def read_cycles(store: Store, loop_id: str) -> pd.DataFrame:
    """A row for each run that learned from a training set, newest first, with the time of every step it reached.

    A set that no run has learned from, an evaluation's among them, is no cycle yet.

    Columns: dataset_id, dataset, n_train, first_signal_at, latest_signal_at, frozen_at, run_id, run_status,
    run_started_at, run_finished_at, model_version_id, version, trained_at, experiment_id, experiment_started_at,
    verdict, decided_at, live_at.
    """
    return store.frame(
        f"""
        WITH first_live AS ({_FIRST_LIVE}), tested AS (
            SELECT v.model_version_id, arg_min(e.experiment_id, e.started_at) AS experiment_id,
                min(e.started_at) AS experiment_started_at
            FROM experiments e JOIN variants v USING (experiment_id)
            WHERE e.loop_id = $1 AND v.position > 0 AND e.started_at IS NOT NULL GROUP BY v.model_version_id
        ), decided AS (
            SELECT experiment_id, arg_max(verdict, created_at) AS verdict, max(created_at) AS decided_at
            FROM decisions WHERE verdict <> 'keep_running' GROUP BY experiment_id
        ), learned AS (
            SELECT r.dataset_id, min(f.occurred_at) AS first_signal_at
            FROM dataset_rows r JOIN feedback_events f USING (feedback_id)
            WHERE r.split = 'train' GROUP BY r.dataset_id
        )
        SELECT d.dataset_id, d.name AS dataset, d.n_train, s.first_signal_at, d.latest_signal_at,
            d.created_at AS frozen_at, r.run_id, r.status AS run_status, r.started_at AS run_started_at,
            r.finished_at AS run_finished_at, v.model_version_id, v.name AS version, v.created_at AS trained_at,
            t.experiment_id, t.experiment_started_at, c.verdict, c.decided_at, l.live_at
        FROM datasets d JOIN training_runs r ON r.dataset_id = d.dataset_id AND r.recipe <> 'evaluate'
        LEFT JOIN learned s ON s.dataset_id = d.dataset_id
        LEFT JOIN model_versions v ON v.run_id = r.run_id
        LEFT JOIN tested t ON t.model_version_id = v.model_version_id
        LEFT JOIN decided c ON c.experiment_id = t.experiment_id
        LEFT JOIN first_live l ON l.model_version_id = v.model_version_id
        WHERE d.loop_id = $1 ORDER BY d.created_at DESC, r.created_at DESC
        """,
        [loop_id],
    )


def read_lifts(store: Store, loop_id: str) -> pd.DataFrame:
    """The decided experiments, oldest first, as they were seen: verdict, decided_at, effect, ci_low, ci_high."""
    return store.frame(
        """
        SELECT d.verdict, d.created_at AS decided_at, (d.scorecard->>'effect')::DOUBLE AS effect,
            (d.scorecard->>'ci_low')::DOUBLE AS ci_low, (d.scorecard->>'ci_high')::DOUBLE AS ci_high
        FROM decisions d JOIN experiments e USING (experiment_id)
        WHERE e.loop_id = ? AND d.verdict <> 'keep_running' ORDER BY d.created_at
        """,
        [loop_id],
    )


def read_flow(store: Store, loop_id: str, settled_before: datetime) -> pd.DataFrame:
    """Where every draft ended up: answer, use, version, served, n.

    answer: answered, waiting (younger than `settled_before`), silent. use: trained, heldout, unused, unusable.
    version: the first one that was trained on it. served: whether that version was ever live.
    """
    refresh_signals(store)
    return store.frame(
        f"""
        WITH first_live AS ({_FIRST_LIVE}), used AS (
            SELECT r.interaction_id, bool_or(r.split = 'train') AS is_trained,
                arg_min(v.name, v.created_at) FILTER (r.split = 'train') AS version,
                arg_min(l.live_at IS NOT NULL, v.created_at) FILTER (r.split = 'train') AS served
            FROM dataset_rows r JOIN datasets d USING (dataset_id)
            LEFT JOIN model_versions v ON v.dataset_id = d.dataset_id
            LEFT JOIN first_live l ON l.model_version_id = v.model_version_id
            WHERE d.loop_id = $1 GROUP BY r.interaction_id
        )
        SELECT CASE WHEN s.answer IS NOT NULL THEN 'answered'
                WHEN s.occurred_at >= $2 THEN 'waiting' ELSE 'silent' END AS answer,
            CASE WHEN s.answer IS NULL THEN NULL WHEN u.is_trained THEN 'trained'
                WHEN u.interaction_id IS NOT NULL THEN 'heldout'
                WHEN i.consent AND s.answer IN ('accept', 'edit') THEN 'unused' ELSE 'unusable' END AS use,
            u.version, u.served, count(*) AS n
        FROM signals s JOIN interactions i ON i.interaction_id = s.interaction_id
        LEFT JOIN used u ON u.interaction_id = s.interaction_id
        WHERE s.loop_id = $1 GROUP BY 1, 2, 3, 4 ORDER BY ALL
        """,
        [loop_id, settled_before],
    )


def read_quarantine_state(store: Store) -> tuple[int, str | None]:
    """How many rows wait in quarantine, and the commonest reason."""
    found: tuple[int, Any] = store.rows("SELECT count(*), mode(reason) FROM quarantine WHERE mended_at IS NULL")[0]
    return found


def read_untested(store: Store, loop_id: str) -> pd.DataFrame:
    """Trained versions that no experiment ever tested and that were never live, newest first: version, trained_at."""
    return store.frame(
        f"""
        SELECT v.name AS version, v.created_at AS trained_at FROM model_versions v
        WHERE v.loop_id = $1 AND v.run_id IS NOT NULL
            AND v.model_version_id NOT IN (SELECT model_version_id FROM ({_FIRST_LIVE}))
            AND v.model_version_id NOT IN (
                SELECT t.model_version_id FROM variants t JOIN experiments e USING (experiment_id)
                WHERE e.loop_id = $1 AND t.model_version_id IS NOT NULL
            )
        ORDER BY v.created_at DESC
        """,
        [loop_id],
    )


def read_last_run(store: Store, loop_id: str) -> tuple[str, str, str | None, datetime] | None:
    """The newest run: run_id, status, message, created_at; None without runs."""
    found = store.rows(
        "SELECT run_id, status, message, created_at FROM training_runs WHERE loop_id = ? "
        "ORDER BY created_at DESC, run_id DESC LIMIT 1",
        [loop_id],
    )
    return found[0] if found else None


def read_running_experiments(store: Store, loop_id: str) -> list[str]:
    """The ids of the loop's running experiments, oldest first."""
    found = store.rows(
        "SELECT experiment_id FROM experiments WHERE loop_id = ? AND status = 'running' ORDER BY started_at", [loop_id]
    )
    return [row[0] for row in found]
