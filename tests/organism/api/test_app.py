"""The API as a house: its docs ask no other host, its refusals are JSON, its answers carry safe headers."""

import re
import socket

import httpx
import pytest
from fastapi import APIRouter
from starlette.testclient import TestClient

from organism.api.access import KeyRequired, StoreOf
from organism.api.app import STATIC, create_api
from organism.errors import DesignError, InputError, ModelError, OrganismError, RunError, StoreError
from organism.store.database import Store


def test_an_unknown_path_and_a_wrong_method_are_json(http: httpx.Client) -> None:
    nothing = http.get("/nothing/here")
    assert nothing.status_code == 404
    assert nothing.json() == {"error": "there is nothing at /v1/nothing/here; /v1/docs lists what there is."}
    assert http.get("/static/none.js").status_code == 404
    assert http.delete("/health").json()["error"].startswith("/v1/health does not answer DELETE")


def test_a_wrong_parameter_is_one_sentence(http: httpx.Client) -> None:
    answer = http.get("/quarantine?limit=many")
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("limit: input should be a valid integer")


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 50_000, b'{"text": 1' + b"0" * 5000 + b"}"])
def test_a_body_that_is_no_json_is_one_sentence_and_422(store: Store, body: bytes) -> None:
    taking = APIRouter(dependencies=[KeyRequired])

    @taking.post("/echo")
    def echo(body: dict[str, str]) -> dict[str, str]:
        return body

    headers = {"Authorization": "Bearer k", "content-type": "application/json"}
    with TestClient(create_api(lambda: store, "k", routers=[taking]), headers=headers) as client:
        refused = client.post("/echo", content=body)
    assert (refused.status_code, refused.json()["error"].split(",")[0]) == (422, "the body is no JSON in UTF-8")


def test_the_docs_are_served_from_here_and_ask_no_other_host(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert page.status_code == 200
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert links
    assert not [link for link in links if "//" in link]
    assert all(http.get(f"/{link}").status_code == 200 for link in links)
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "sourceMappingURL" not in (STATIC / "swagger-ui-bundle.js").read_text()


def test_openapi_names_every_event_route_with_the_fields_of_its_rows(http: httpx.Client) -> None:
    spec = http.get("/openapi.json").json()
    for kind, field in (("interactions", "variant_id"), ("feedback", "final_text"), ("outcomes", "business_key")):
        body = spec["paths"][f"/{kind}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        row, several = body["oneOf"]
        assert several["items"] == row
        assert "external_id" in row["required"]
        assert field in row["properties"]
    assert spec["servers"] == [{"url": "/v1"}]


def test_every_answer_carries_safe_headers(http: httpx.Client) -> None:
    for answer in (http.get("/health"), http.get("/nothing"), http.post("/interactions", content=b"x")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"


def test_only_its_own_host_names_are_answered(url: str) -> None:
    assert httpx.get(f"{url}/v1/health", headers={"Host": "elsewhere.example"}).status_code == 400


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError, 422),
        (DesignError, 422),
        (StoreError, 503),
        (ModelError, 409),
        (RunError, 409),
        (OrganismError, 422),
        (ZeroDivisionError, 500),
    ],
)
def test_errors_of_the_house_are_sentences_and_bugs_stay_in_the_log(
    store: Store, error: type[Exception], status: int
) -> None:
    router = APIRouter()

    @router.get("/raise", dependencies=[KeyRequired])
    def fail(store: StoreOf) -> None:
        raise error(f"what was found in {store.path.name}")

    api = create_api(lambda: store, "k", routers=[router])
    with TestClient(api, raise_server_exceptions=False) as client:
        assert client.get("/raise").status_code == 401
        answer = client.get("/raise", headers={"Authorization": "Bearer k"})
    assert answer.status_code == status
    shown = answer.json()["error"]
    assert shown == (
        "this is a bug; the server's log has the details." if status == 500 else "what was found in organism.duckdb"
    )


def test_the_server_of_these_tests_listens_on_this_machine_only(url: str) -> None:
    host = url.removeprefix("http://").split(":")[0]
    assert socket.gethostbyname(host) == "127.0.0.1"
