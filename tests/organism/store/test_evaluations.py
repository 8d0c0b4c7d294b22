"""Evaluations: the latest of a version counts, and its drafts come back as they went in."""

from datetime import datetime, timedelta

from organism.records import new_id
from organism.store.database import Store
from organism.store.evaluations import EvalRun, insert_evaluation, read_eval_results, read_evaluation

NOW = datetime(2026, 9, 7, 8)
MEASURES = {"chars_before": 1, "facts": [{"kind": "age", "any_of": ["41"], "before": False, "after": True}]}


def _row(after: str) -> dict[str, object]:
    texts = {"prompt": "p", "before": "b", "after": after, "final_text": "f"}
    return {"user_key": "u", "interaction_id": "i", "second_final": None, **texts, "measures": MEASURES}


def _add(store: Store, at: datetime, gain: float, rows: list[dict[str, object]]) -> str:
    record = EvalRun(
        eval_run_id=new_id(at),
        loop_id="loop",
        run_id=None,
        model_version_id="v1",
        baseline_version_id="v0",
        dataset_id=None,
        summary={"gain": gain, "n_rows": len(rows), "n_users": 1, "ceiling": None},
        created_at=at,
    )
    store.write(lambda cursor: insert_evaluation(cursor, record, rows), "eval_runs")
    return record.eval_run_id


def test_the_latest_evaluation_of_a_version_counts(store: Store) -> None:
    _add(store, NOW + timedelta(hours=1), 0.2, [_row("later"), _row("last")])
    _add(store, NOW, 0.1, [_row("earlier")])
    evaluation = read_evaluation(store, "v1")
    assert evaluation is not None
    assert (evaluation["gain"], evaluation["ceiling"], evaluation["n_rows"]) == (0.2, None, 2)
    results = read_eval_results(store, "v1")
    assert list(results["after"]) == ["later", "last"]
    assert list(results["row_number"]) == [0, 1]
    assert results["measures"][0] == MEASURES


def test_of_two_at_the_same_time_the_one_written_last_counts(store: Store) -> None:
    _add(store, NOW, 0.1, [_row("first")])
    second = _add(store, NOW, 0.2, [_row("second")])
    assert (read_evaluation(store, "v1") or {})["eval_run_id"] == second
    assert list(read_eval_results(store, "v1")["after"]) == ["second"]


def test_a_later_one_on_a_handful_of_rows_does_not_count(store: Store) -> None:
    large = _add(store, NOW, 0.1, [_row(f"draft {number}") for number in range(5)])
    _add(store, NOW + timedelta(hours=1), 0.9, [_row("one"), _row("two")])
    assert (read_evaluation(store, "v1") or {})["eval_run_id"] == large
    enough = _add(store, NOW + timedelta(hours=2), 0.2, [_row("one"), _row("two"), _row("three")])
    assert (read_evaluation(store, "v1") or {})["eval_run_id"] == enough


def test_a_version_without_an_evaluation_has_none_and_an_empty_table(store: Store) -> None:
    assert read_evaluation(store, "v9") is None
    results = read_eval_results(store, "v9")
    assert results.empty
    assert {"row_number", "before", "after", "final_text", "measures"} <= set(results.columns)
