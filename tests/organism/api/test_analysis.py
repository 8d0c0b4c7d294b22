"""A file as the body of a request: the same figures as the command, and a sentence for everything else."""

from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from starlette.testclient import TestClient

from organism.api import access, analysis
from organism.api.app import create_api
from organism.store.database import Store

ASKED = {"unit": "user", "control": "A", "metric": "x"}


@pytest.fixture
def api(store: Store) -> Iterator[TestClient]:
    app = create_api(lambda: store, "k", routers=[analysis.router])
    with TestClient(app, headers={"Authorization": "Bearer k"}, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def table() -> pd.DataFrame:
    draw = np.random.default_rng(5)
    variant = ["A", "B"] * 100
    return pd.DataFrame({"user": [f"u{n}" for n in range(200)], "variant": variant, "x": draw.normal(3, 1, 200)})


def body(table: pd.DataFrame, kind: str) -> bytes:
    if kind == "text/csv":
        return table.to_csv(index=False).encode()
    if kind == "application/vnd.apache.parquet":
        file = BytesIO()
        table.to_parquet(file)
        return file.getvalue()
    return table.to_json(orient="records", lines="nd" in kind).encode()


@pytest.mark.parametrize(
    "kind", ["text/csv", "application/vnd.apache.parquet", "application/x-ndjson", "application/json"]
)
def test_each_kind_of_body_gives_welchs_figures(api: TestClient, table: pd.DataFrame, kind: str) -> None:
    answer = api.post("/analyze", params=ASKED, content=body(table, kind), headers={"content-type": kind})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    a, b = (table.x[table.variant == variant] for variant in "AB")
    wanted = stats.ttest_ind(b, a, equal_var=False)
    (metric,) = said["metrics"]
    assert metric["effect"] == pytest.approx(b.mean() - a.mean())
    assert metric["p_value"] == pytest.approx(wanted.pvalue)
    assert metric["ci"] == pytest.approx(list(wanted.confidence_interval()))
    assert said["srm"]["p_value"] == 1.0
    assert said["srm"]["blocked"] is False


def test_lists_of_the_query_are_several_metrics_and_segments(api: TestClient, table: pd.DataFrame) -> None:
    table = table.assign(y=table.x**2, land=["north", "south", "south", "north"] * 50)
    query = {**ASKED, "metric": ["x", "y"], "ratio": "x/y", "segment": "land", "sequential": "true", "alpha": 0.1}
    said = api.post("/analyze", params=query, content=body(table, "text/csv"), headers={"content-type": "text/csv"})
    found = said.json()
    assert [metric["metric"] for metric in found["metrics"]] == ["x", "y", "x/y"]
    assert {metric["alpha"] for metric in found["metrics"]} == {0.1}
    assert found["metrics"][0]["ci"] != found["metrics"][0]["fixed_ci"]
    assert {one["value"] for one in found["segments"]} == {"north", "south"}


@pytest.mark.parametrize(
    ("query", "kind", "content", "status", "words"),
    [
        (ASKED, "text/csv", b"", 422, "the csv body is empty"),
        (ASKED, "text/csv", b"user,variant,x\n1,A,2\n2,B,3\n", 200, "at least 2 are needed"),
        ({**ASKED, "control": "Z"}, "text/csv", b"user,variant,x\n1,A,2\n2,B,3\n", 422, "holds 'A', 'B'"),
        (ASKED, "application/vnd.apache.parquet", b"user,variant\n", 422, "not a Parquet file"),
        ({**ASKED, "path": "/etc/passwd"}, "text/csv", b"a,b\n1,2\n", 422, "path: extra inputs"),
        (ASKED, "text/plain", b"user,variant,x\n", 415, "send text/csv or"),
        (ASKED, "application/x-www-form-urlencoded", b"user=1", 415, "the content type is"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(
    api: TestClient, query: dict[str, str], kind: str, content: bytes, status: int, words: str
) -> None:
    answer = api.post("/analyze", params=query, content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert words in answer.text


def test_nobody_without_the_key_has_a_file_analyzed(api: TestClient) -> None:
    headers = {"content-type": "text/csv", "Authorization": "Bearer wrong"}
    assert api.post("/analyze", params=ASKED, content=b"a,b\n1,2\n", headers=headers).status_code == 401


def test_a_file_may_be_larger_than_other_bodies_but_not_endless(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "MAX_FILE", access.MAX_BODY + 2**20)
    row = b"1,A,2\n"
    large = b"user,variant,x\n" + row * (access.MAX_BODY // len(row) + 1)
    headers = {"content-type": "text/csv"}
    assert api.post("/analyze", params=ASKED, content=large, headers=headers).status_code == 422  # one variant only
    assert api.post("/analyze", params=ASKED, content=large + row * 400_000, headers=headers).status_code == 413
    assert api.post("/interactions", content=large, headers={"content-type": "application/json"}).status_code == 413
