"""The schema as a numbered history. A step that has shipped is never edited: add the next one."""

from collections.abc import Callable
from pathlib import Path

import duckdb

from organism.errors import StoreError
from organism.store.database import Cursor, Store

Step = Callable[[Cursor], None]


def open_store(path: Path) -> Store:
    """Open the workspace's database, bring it to this version, and return the one handle to it.

    Raises StoreError when another process holds it, or when a newer Organism wrote it.
    """
    store = Store(path)
    try:
        migrate(store)
        store.load_versions()
    except BaseException:
        store.close()
        raise
    return store


def migrate(store: Store) -> list[str]:
    """Apply the steps that this store has not seen, in order; return their names."""
    with store.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS schema_steps (name VARCHAR PRIMARY KEY, applied_at TIMESTAMP)")
        seen = {name for (name,) in cursor.execute("SELECT name FROM schema_steps").fetchall()}
        known = {step.__name__ for step in STEPS}
        if newer := sorted(seen - known):
            raise StoreError(
                f"{store.path.parent} was written by a newer Organism (it has {newer[-1]}, this one ends at "
                f"{STEPS[-1].__name__}); update Organism, or choose another folder with --workspace."
            )
        pending = [step for step in STEPS if step.__name__ not in seen]
        for step in pending:
            _apply(cursor, step)
        if pending:
            cursor.execute("FORCE CHECKPOINT")
    return [step.__name__ for step in pending]


def _apply(cursor: Cursor, step: Step) -> None:
    cursor.begin()
    try:
        step(cursor)
        cursor.execute("INSERT INTO schema_steps VALUES (?, now()::TIMESTAMP)", [step.__name__])
    except duckdb.Error:
        cursor.rollback()
        raise
    cursor.commit()


def m001_events(cursor: Cursor) -> None:
    """Event tables carry no key or index (7 times the load, 4.8 times the file): MERGE removes doubles."""
    cursor.execute("""
        CREATE TABLE table_versions (table_name VARCHAR PRIMARY KEY, version BIGINT NOT NULL);
        CREATE TABLE loops (
            loop_id VARCHAR PRIMARY KEY, name VARCHAR UNIQUE NOT NULL, job_to_be_done VARCHAR,
            unit_of_value VARCHAR, created_at TIMESTAMP NOT NULL
        );
        CREATE TABLE interactions (
            interaction_id UUID NOT NULL, loop_id VARCHAR NOT NULL, session_id VARCHAR, user_key VARCHAR,
            variant_id VARCHAR, experiment_id VARCHAR, model_version_id VARCHAR,
            occurred_at TIMESTAMP NOT NULL, created_at TIMESTAMP NOT NULL, prompt VARCHAR, output VARCHAR,
            input_tokens INTEGER, output_tokens INTEGER, latency_ms DOUBLE, ttft_ms DOUBLE, cost_usd DOUBLE,
            error VARCHAR, finish_reason VARCHAR, business_key VARCHAR, consent BOOLEAN, region VARCHAR,
            is_synthetic BOOLEAN, source VARCHAR NOT NULL, external_id VARCHAR NOT NULL, config_hash VARCHAR,
            attributes JSON
        );
        CREATE TABLE feedback_events (
            feedback_id UUID NOT NULL, interaction_id UUID NOT NULL, kind VARCHAR NOT NULL, name VARCHAR,
            value DOUBLE, final_text VARCHAR, comment VARCHAR, draft_chars INTEGER, retained_chars INTEGER,
            final_chars INTEGER, actor_kind VARCHAR, actor_key VARCHAR, supersedes_id UUID,
            occurred_at TIMESTAMP NOT NULL, created_at TIMESTAMP NOT NULL, source VARCHAR NOT NULL,
            external_id VARCHAR NOT NULL
        );
        CREATE TABLE outcomes (
            outcome_id UUID NOT NULL, loop_id VARCHAR NOT NULL, business_key VARCHAR NOT NULL,
            name VARCHAR NOT NULL, value DOUBLE NOT NULL, occurred_at TIMESTAMP NOT NULL,
            attribution_window_s BIGINT, created_at TIMESTAMP NOT NULL, source VARCHAR NOT NULL,
            external_id VARCHAR NOT NULL
        );
        CREATE TABLE quarantine (
            quarantine_id VARCHAR PRIMARY KEY, kind VARCHAR NOT NULL, source VARCHAR, reason VARCHAR NOT NULL,
            row JSON NOT NULL, created_at TIMESTAMP NOT NULL, mended_at TIMESTAMP
        );
        CREATE TABLE audit_log (
            logged_at TIMESTAMP NOT NULL, actor VARCHAR NOT NULL, action VARCHAR NOT NULL, subject VARCHAR, detail JSON
        );
    """)


def m002_digest_and_optimize(cursor: Cursor) -> None:
    """Reward designs, frozen datasets, runs, versions and their evaluations."""
    cursor.execute("""
        CREATE TABLE reward_designs (
            reward_design_id VARCHAR NOT NULL, loop_id VARCHAR NOT NULL, name VARCHAR NOT NULL,
            version INTEGER NOT NULL, parent_id VARCHAR, spec JSON NOT NULL, author VARCHAR, note VARCHAR,
            created_at TIMESTAMP NOT NULL, PRIMARY KEY (loop_id, version)
        );
        CREATE TABLE datasets (
            dataset_id VARCHAR PRIMARY KEY, loop_id VARCHAR NOT NULL, name VARCHAR NOT NULL,
            content_hash VARCHAR NOT NULL, reward_design_id VARCHAR, n_train INTEGER NOT NULL,
            n_heldout INTEGER NOT NULL, n_users_train INTEGER NOT NULL, n_users_heldout INTEGER NOT NULL,
            dropped JSON NOT NULL, latest_signal_at TIMESTAMP, created_at TIMESTAMP NOT NULL
        );
        CREATE TABLE dataset_rows (
            dataset_id VARCHAR NOT NULL, row_number INTEGER NOT NULL, split VARCHAR NOT NULL,
            interaction_id UUID NOT NULL, feedback_id UUID NOT NULL, user_key VARCHAR NOT NULL,
            prompt VARCHAR NOT NULL, completion VARCHAR NOT NULL, facts JSON
        );
        CREATE TABLE training_runs (
            run_id VARCHAR PRIMARY KEY, loop_id VARCHAR NOT NULL, dataset_id VARCHAR NOT NULL,
            reward_design_id VARCHAR, recipe VARCHAR NOT NULL, config JSON NOT NULL, status VARCHAR NOT NULL,
            message VARCHAR, step INTEGER, total_steps INTEGER, loss DOUBLE, tokens_per_second DOUBLE,
            pid INTEGER, pid_started_at DOUBLE, started_at TIMESTAMP, finished_at TIMESTAMP,
            model_version_id VARCHAR, created_at TIMESTAMP NOT NULL
        );
        CREATE TABLE model_versions (
            model_version_id VARCHAR PRIMARY KEY, loop_id VARCHAR NOT NULL, name VARCHAR NOT NULL,
            base_path VARCHAR NOT NULL, adapter_path VARCHAR, run_id VARCHAR, dataset_id VARCHAR,
            reward_design_id VARCHAR, created_at TIMESTAMP NOT NULL, UNIQUE (loop_id, name)
        );
        CREATE TABLE alias_events (
            alias_event_id VARCHAR PRIMARY KEY, loop_id VARCHAR NOT NULL, alias VARCHAR NOT NULL,
            model_version_id VARCHAR NOT NULL, previous_id VARCHAR, actor VARCHAR NOT NULL, reason VARCHAR,
            created_at TIMESTAMP NOT NULL
        );
        CREATE TABLE eval_runs (
            eval_run_id VARCHAR PRIMARY KEY, loop_id VARCHAR NOT NULL, run_id VARCHAR,
            model_version_id VARCHAR NOT NULL, baseline_version_id VARCHAR NOT NULL, dataset_id VARCHAR,
            n_users INTEGER NOT NULL, n_rows INTEGER NOT NULL, summary JSON NOT NULL, created_at TIMESTAMP NOT NULL
        );
        CREATE TABLE eval_results (
            eval_run_id VARCHAR NOT NULL, row_number INTEGER NOT NULL, user_key VARCHAR NOT NULL,
            prompt VARCHAR NOT NULL, before VARCHAR NOT NULL, after VARCHAR NOT NULL, final_text VARCHAR NOT NULL,
            measures JSON NOT NULL
        );
    """)


def m003_experiments(cursor: Cursor) -> None:
    """Experiments, who was put where with what probability, and what people decided."""
    cursor.execute("""
        CREATE TABLE experiments (
            experiment_id VARCHAR PRIMARY KEY, loop_id VARCHAR NOT NULL, name VARCHAR NOT NULL,
            hypothesis VARCHAR, control_version_id VARCHAR NOT NULL, treatment_version_id VARCHAR NOT NULL,
            treatment_share DOUBLE NOT NULL, salt VARCHAR NOT NULL, plan JSON NOT NULL, status VARCHAR NOT NULL,
            started_at TIMESTAMP NOT NULL, ended_at TIMESTAMP, is_synthetic BOOLEAN NOT NULL
        );
        CREATE TABLE assignments (
            experiment_id VARCHAR NOT NULL, user_key VARCHAR NOT NULL, variant_id VARCHAR NOT NULL,
            probability DOUBLE NOT NULL, assigned_at TIMESTAMP NOT NULL, PRIMARY KEY (experiment_id, user_key)
        );
        CREATE TABLE decisions (
            decision_id VARCHAR PRIMARY KEY, experiment_id VARCHAR NOT NULL, verdict VARCHAR NOT NULL,
            rule VARCHAR NOT NULL, note VARCHAR NOT NULL, actor VARCHAR NOT NULL, scorecard JSON NOT NULL,
            created_at TIMESTAMP NOT NULL
        );
    """)


def m004_signals(cursor: Cursor) -> None:
    """One row of signals per interaction; a missing signal is NULL, never 0.

    Of several answers to one draft the latest that was not superseded counts. `accepted` is 1 when
    the draft was used (accept or edit), 0 when it was rejected. Answers are found by their row's number:
    carrying them through the grouping as structs took 5 to 10 times as long at 100,000 interactions, as
    did an anti join in place of NOT IN.
    """
    cursor.execute("""
        CREATE VIEW signals AS
        WITH answer AS (
            SELECT interaction_id,
                arg_max(rowid, occurred_at) FILTER (kind IN ('accept', 'edit', 'reject')) AS last,
                arg_max(value, occurred_at) FILTER (kind = 'rating') AS rating,
                min(occurred_at) AS first_feedback_at
            FROM feedback_events
            WHERE feedback_id NOT IN (SELECT supersedes_id FROM feedback_events WHERE supersedes_id IS NOT NULL)
            GROUP BY interaction_id
        )
        SELECT i.interaction_id, i.loop_id, i.user_key, i.variant_id, i.experiment_id, i.model_version_id,
            i.occurred_at, i.source, f.feedback_id, f.kind AS answer, a.first_feedback_at,
            CASE f.kind WHEN 'reject' THEN 0.0 WHEN 'accept' THEN 1.0 WHEN 'edit' THEN 1.0 END AS accepted,
            a.rating, i.latency_ms, i.ttft_ms, i.cost_usd, i.output_tokens::DOUBLE AS output_tokens,
            (i.error IS NOT NULL)::DOUBLE AS error,
            CASE WHEN f.retained_chars IS NOT NULL THEN length(i.output) END AS draft_chars,
            f.retained_chars, f.final_chars,
            f.retained_chars / nullif(length(i.output), 0) AS retained_char_rate,
            CASE WHEN f.final_chars IS NOT NULL THEN f.retained_chars / nullif(f.final_chars, 0) END AS written_share
        FROM interactions i
        LEFT JOIN answer a USING (interaction_id) LEFT JOIN feedback_events f ON f.rowid = a.last
    """)


def m005_signals_are_a_table(cursor: Cursor) -> None:
    """Signals are kept, and brought up to date from new events (see signal_table.py); the first read fills them.

    `signals_seen` says how far each event table was looked at. A named outcome, a named rating and a SQL signal
    each add a column `signal_N`, which `signal_definitions` names.
    """
    cursor.execute("""
        DROP VIEW signals;
        CREATE TABLE signals (
            interaction_id UUID NOT NULL, loop_id VARCHAR NOT NULL, user_key VARCHAR, variant_id VARCHAR,
            experiment_id VARCHAR, model_version_id VARCHAR, region VARCHAR, occurred_at TIMESTAMP NOT NULL,
            source VARCHAR NOT NULL, feedback_id UUID, answer VARCHAR, first_feedback_at TIMESTAMP, accepted DOUBLE,
            rating DOUBLE, latency_ms DOUBLE, ttft_ms DOUBLE, cost_usd DOUBLE, output_tokens DOUBLE, error DOUBLE,
            draft_chars BIGINT, retained_chars INTEGER, final_chars INTEGER, retained_char_rate DOUBLE,
            written_share DOUBLE
        );
        CREATE TABLE signals_seen (
            table_name VARCHAR PRIMARY KEY, next_row BIGINT NOT NULL, n_rows BIGINT NOT NULL, last_id UUID
        );
        CREATE TABLE signal_definitions (
            loop_id VARCHAR NOT NULL, name VARCHAR NOT NULL, kind VARCHAR NOT NULL, column_name VARCHAR NOT NULL,
            expression VARCHAR, note VARCHAR, author VARCHAR, created_at TIMESTAMP NOT NULL, removed_at TIMESTAMP,
            PRIMARY KEY (loop_id, name)
        );
    """)


def m006_choices_pools_and_sets(cursor: Cursor) -> None:
    """What people chose between, drafts sampled for the same prompts, and training sets of three kinds.

    A pool's draft has `stop_at` 1; a beginning of one that stops after that share of its characters has less.
    """
    cursor.execute("""
        CREATE TABLE choices (
            choice_id VARCHAR PRIMARY KEY, loop_id VARCHAR NOT NULL, kind VARCHAR NOT NULL, left_id VARCHAR NOT NULL,
            right_id VARCHAR NOT NULL, chosen VARCHAR NOT NULL, actor VARCHAR NOT NULL, is_synthetic BOOLEAN NOT NULL,
            created_at TIMESTAMP NOT NULL
        );
        CREATE TABLE sampled_drafts (
            loop_id VARCHAR NOT NULL, prompt_key VARCHAR NOT NULL, draft_number INTEGER NOT NULL,
            stop_at DOUBLE NOT NULL, user_key VARCHAR, variant_id VARCHAR, prompt VARCHAR NOT NULL, output VARCHAR,
            accepted DOUBLE, output_tokens DOUBLE, latency_ms DOUBLE, ttft_ms DOUBLE, cost_usd DOUBLE,
            draft_chars INTEGER, retained_chars INTEGER, final_chars INTEGER, n_facts INTEGER, n_facts_right INTEGER,
            is_synthetic BOOLEAN NOT NULL, created_at TIMESTAMP NOT NULL
        );
        ALTER TABLE datasets ADD COLUMN kind VARCHAR DEFAULT 'sft';
        ALTER TABLE datasets ADD COLUMN settings JSON;
        ALTER TABLE datasets ADD COLUMN leakage JSON;
        ALTER TABLE dataset_rows ALTER COLUMN completion DROP NOT NULL;
        ALTER TABLE dataset_rows ALTER COLUMN feedback_id DROP NOT NULL;
        ALTER TABLE dataset_rows ADD COLUMN chosen VARCHAR;
        ALTER TABLE dataset_rows ADD COLUMN rejected VARCHAR;
        ALTER TABLE dataset_rows ADD COLUMN label BOOLEAN;
        ALTER TABLE dataset_rows ADD COLUMN reward DOUBLE;
        ALTER TABLE dataset_rows ADD COLUMN rejected_interaction_id UUID;
        ALTER TABLE dataset_rows ADD COLUMN rejected_feedback_id UUID;
    """)


def m007_rejected_reward(cursor: Cursor) -> None:
    """What the rejected draft of a pair earned: without it nobody sees how far apart the two were."""
    cursor.execute("ALTER TABLE dataset_rows ADD COLUMN rejected_reward DOUBLE")


def m008_recipes_and_tracks(cursor: Cursor) -> None:
    """Runs of several recipes, named, cloned, side by side; versions that write and versions that judge."""
    cursor.execute("""
        ALTER TABLE training_runs ADD COLUMN name VARCHAR;
        ALTER TABLE training_runs ADD COLUMN preset VARCHAR;
        ALTER TABLE training_runs ADD COLUMN eval_dataset_id VARCHAR;
        ALTER TABLE training_runs ADD COLUMN parent_run_id VARCHAR;
        ALTER TABLE training_runs ADD COLUMN sweep_id VARCHAR;
        ALTER TABLE training_runs ADD COLUMN place VARCHAR DEFAULT 'local';
        ALTER TABLE training_runs ADD COLUMN learning_rate DOUBLE;
        ALTER TABLE training_runs ADD COLUMN reward DOUBLE;
        ALTER TABLE training_runs ADD COLUMN memory_mb DOUBLE;
        ALTER TABLE training_runs ADD COLUMN seconds_left DOUBLE;
        ALTER TABLE training_runs ADD COLUMN seconds DOUBLE;
        ALTER TABLE training_runs ADD COLUMN cost_usd DOUBLE;
        ALTER TABLE model_versions ADD COLUMN role VARCHAR DEFAULT 'writer';
        CREATE TABLE sweeps (
            sweep_id VARCHAR PRIMARY KEY, loop_id VARCHAR NOT NULL, name VARCHAR NOT NULL, plan JSON NOT NULL,
            created_at TIMESTAMP NOT NULL, UNIQUE (loop_id, name)
        );
    """)


def m009_evaluations(cursor: Cursor) -> None:
    """Evaluations that can be sliced by where a row came from, and cases that must not get worse."""
    cursor.execute("""
        ALTER TABLE eval_runs ADD COLUMN name VARCHAR;
        ALTER TABLE eval_runs ADD COLUMN settings JSON;
        ALTER TABLE eval_results ADD COLUMN interaction_id VARCHAR;
        CREATE TABLE safety_cases (
            case_id VARCHAR PRIMARY KEY, loop_id VARCHAR NOT NULL, name VARCHAR NOT NULL, prompt VARCHAR NOT NULL,
            must_say JSON NOT NULL, must_not_say JSON NOT NULL, is_synthetic BOOLEAN NOT NULL,
            created_at TIMESTAMP NOT NULL, removed_at TIMESTAMP
        );
    """)


def m010_votes(cursor: Cursor) -> None:
    """Blind votes: a ballot freezes two texts for each of its prompts; each vote is one row, never changed."""
    cursor.execute("""
        CREATE TABLE ballots (
            ballot_id VARCHAR PRIMARY KEY, loop_id VARCHAR NOT NULL, name VARCHAR NOT NULL,
            version_a VARCHAR NOT NULL, version_b VARCHAR NOT NULL, eval_run_id VARCHAR, seed BIGINT NOT NULL,
            created_at TIMESTAMP NOT NULL, closed_at TIMESTAMP
        );
        CREATE TABLE ballot_items (
            ballot_id VARCHAR NOT NULL, item_number INTEGER NOT NULL, interaction_id VARCHAR, user_key VARCHAR,
            prompt VARCHAR NOT NULL, text_a VARCHAR NOT NULL, text_b VARCHAR NOT NULL, final_text VARCHAR,
            PRIMARY KEY (ballot_id, item_number)
        );
        CREATE TABLE votes (
            vote_id VARCHAR PRIMARY KEY, loop_id VARCHAR NOT NULL, ballot_id VARCHAR NOT NULL,
            item_number INTEGER NOT NULL, voter VARCHAR NOT NULL, chosen VARCHAR NOT NULL,
            shown_first VARCHAR NOT NULL, seconds DOUBLE, is_synthetic BOOLEAN NOT NULL, created_at TIMESTAMP NOT NULL
        );
        ALTER TABLE dataset_rows ADD COLUMN origin VARCHAR;
    """)


def m011_variants_plans_and_exposures(cursor: Cursor) -> None:
    """Experiments of several variants (any model system) in layers, plans with versions, exposures, replayable records.

    Assignments name the variant itself; before, they said control or treatment.
    """
    cursor.execute("""
        CREATE TABLE variants (
            experiment_id VARCHAR NOT NULL, position INTEGER NOT NULL, name VARCHAR NOT NULL, share DOUBLE NOT NULL,
            model_version_id VARCHAR, prompt VARCHAR, PRIMARY KEY (experiment_id, name)
        );
        INSERT INTO variants
            SELECT e.experiment_id, 0, v.name, 1 - e.treatment_share, v.model_version_id, NULL
            FROM experiments e JOIN model_versions v ON v.model_version_id = e.control_version_id
            UNION ALL
            SELECT e.experiment_id, 1, v.name, e.treatment_share, v.model_version_id, NULL
            FROM experiments e JOIN model_versions v ON v.model_version_id = e.treatment_version_id;
        UPDATE assignments SET variant_id = v.name FROM variants v
            WHERE v.experiment_id = assignments.experiment_id
            AND v.position = CASE assignments.variant_id WHEN 'treatment' THEN 1 ELSE 0 END;
        CREATE TABLE plans (
            experiment_id VARCHAR NOT NULL, version INTEGER NOT NULL, plan JSON NOT NULL, actor VARCHAR NOT NULL,
            why VARCHAR NOT NULL, created_at TIMESTAMP NOT NULL, PRIMARY KEY (experiment_id, version)
        );
        INSERT INTO plans SELECT experiment_id, 1, plan, '', 'As it was started', started_at FROM experiments;
        ALTER TABLE experiments DROP COLUMN plan;
        ALTER TABLE experiments DROP COLUMN control_version_id;
        ALTER TABLE experiments DROP COLUMN treatment_version_id;
        ALTER TABLE experiments DROP COLUMN treatment_share;
        ALTER TABLE experiments ADD COLUMN policy VARCHAR DEFAULT 'hash';
        ALTER TABLE experiments ADD COLUMN layer VARCHAR;
        ALTER TABLE experiments ADD COLUMN layer_low DOUBLE;
        ALTER TABLE experiments ADD COLUMN layer_high DOUBLE;
        ALTER TABLE experiments ADD COLUMN targeting JSON;
        ALTER TABLE experiments ADD COLUMN created_at TIMESTAMP;
        UPDATE experiments SET created_at = started_at;
        ALTER TABLE experiments ALTER COLUMN started_at DROP NOT NULL;
        CREATE TABLE exposures (
            experiment_id VARCHAR NOT NULL, user_key VARCHAR NOT NULL, variant_id VARCHAR NOT NULL,
            exposed_at TIMESTAMP NOT NULL, source VARCHAR NOT NULL, PRIMARY KEY (experiment_id, user_key, variant_id)
        );
        CREATE TABLE holdouts (
            loop_id VARCHAR PRIMARY KEY, share DOUBLE NOT NULL, salt VARCHAR NOT NULL, actor VARCHAR NOT NULL,
            created_at TIMESTAMP NOT NULL
        );
        ALTER TABLE decisions ADD COLUMN record VARCHAR;
    """)


STEPS = [
    m001_events,
    m002_digest_and_optimize,
    m003_experiments,
    m004_signals,
    m005_signals_are_a_table,
    m006_choices_pools_and_sets,
    m007_rejected_reward,
    m008_recipes_and_tracks,
    m009_evaluations,
    m010_votes,
    m011_variants_plans_and_exposures,
]
