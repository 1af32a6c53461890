"""Every error is a problem document, every answer has its headers, and the document says so."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from openapi_spec_validator import OpenAPIV31SpecValidator
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from api.routes import health
from shared.resolve.hub import HubUnreachable
from shared.settings import Settings
from shared.store import NotFoundError, Store, StoreError
from tests.support.api.client import local_client


@pytest.fixture
def client(redis_url: str, redis: Redis, tmp_path: Path) -> Iterator[TestClient]:
    with local_client(Settings(data=tmp_path, redis_url=redis_url)) as one:
        yield one


def assert_problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["type"]
    assert problem["title"]
    assert problem["detail"]
    return problem


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def store_of(client: TestClient) -> Store:
    store: Store = client.app.state.backend.store  # type: ignore[attr-defined]
    return store


@pytest.mark.parametrize(
    "path",
    ["/no", "/v1", "/v1/experiments/", "/v1/experiments/no", "/static/no", "/experiments/no"],
)
def test_what_is_not_there_is_a_404(client: TestClient, path: str) -> None:
    assert_problem(client.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/v1/experiments", {"GET", "POST"}),
        ("POST", "/v1/experiments/x", {"GET", "DELETE"}),
        ("DELETE", "/v1/corpora", {"GET"}),
        ("POST", "/static/lineament.css", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_is_a_405_with_every_right_one(
    client: TestClient, method: str, path: str, allowed: set[str]
) -> None:
    answer = client.request(method, path)
    assert_problem(answer, 405)
    assert allowed <= set(answer.headers["allow"].split(", "))
    assert method not in answer.headers["allow"].split(", ")


def test_a_method_that_nobody_knows_is_a_501_and_no_label(client: TestClient) -> None:
    assert_problem(client.request("BREW", "/v1/experiments"), 501)
    assert "BREW" not in client.get("/metrics").text


def test_unknown_paths_share_one_label(client: TestClient) -> None:
    for path in ("/nowhere-1", "/nowhere-2", "/v1/experiments/nowhere-3/", "/v1/corpora/nowhere-4"):
        client.get(path)
    metrics = client.get("/metrics").text
    assert "nowhere" not in metrics
    assert 'handler="none"' in metrics
    assert 'handler="/v1/corpora/{name}"' in metrics


def test_an_error_that_nobody_foresaw_shows_an_id_and_no_trace(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(store_of(client), "list", raising(RuntimeError("secret words")))
    answer = client.get("/v1/corpora")

    problem = assert_problem(answer, 500)
    assert problem["id"] in problem["detail"]
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    said = capfd.readouterr().err
    assert problem["id"] in said
    assert "secret words" in said


@pytest.mark.parametrize(
    ("error", "names"),
    [
        (StoreError("bucket.internal: no route"), "object store"),
        (RedisConnectionError("redis.internal: refused"), "queue"),
    ],
)
def test_what_does_not_answer_is_a_503_with_a_time_to_come_back(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, error: Exception, names: str
) -> None:
    monkeypatch.setattr(store_of(client), "list", raising(error))
    answer = client.get("/v1/corpora")

    assert names in assert_problem(answer, 503)["detail"]
    assert int(answer.headers["retry-after"]) > 0
    assert "internal" not in answer.text


def test_a_missing_object_is_a_404(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_of(client), "list", raising(NotFoundError("uploads/x")))
    assert_problem(client.get("/v1/corpora"), 404)


def test_a_hub_that_does_not_answer_is_nobodys_mistake(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = HubUnreachable("corpora.c.hub", "the hub does not answer")
    monkeypatch.setattr(store_of(client), "list", raising(error))
    assert "corpora.c.hub" in assert_problem(client.get("/v1/corpora"), 503)["detail"]


@pytest.mark.parametrize("body", [rb'{"version": 1, "name": "\ud800"}', rb'{"\udfff": 1}'])
def test_half_a_surrogate_pair_is_refused_like_any_other_wrong_input(
    client: TestClient, body: bytes
) -> None:
    headers = {"Content-Type": "application/json"}
    problem = assert_problem(client.post("/v1/experiments", content=body, headers=headers), 422)
    assert problem["errors"]


def test_wrong_parameters_are_named(client: TestClient) -> None:
    problem = assert_problem(client.get("/v1/experiments", params={"size": "many"}), 422)
    assert problem["errors"][0]["field"] == "query.size"
    assert problem["detail"].startswith("query.size: ")


def test_errors_of_the_server_have_their_headers_too(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_of(client), "list", raising(RuntimeError()))
    for answer in (
        client.get("/v1/corpora"),
        client.get("/no"),
        client.get("/", headers={"Host": "evil.example"}),
        client.get("/static/lineament.css"),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_pages_obey_the_policy_that_they_are_sent_with(client: TestClient) -> None:
    page = client.get("/")
    policy = page.headers["content-security-policy"]

    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)", page.text)
    assert not re.search(r"\s(style|on\w+)=", page.text)
    assert not re.search(r"<style|javascript:", page.text)
    for path in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        assert client.get(path).status_code == 200


def test_what_models_and_users_wrote_is_shown_in_a_sandbox(client: TestClient) -> None:
    report = client.get("/experiments/x/report/report.html").headers["content-security-policy"]
    data = client.get("/v1/artifacts/x/files/page.html").headers["content-security-policy"]

    assert "sandbox allow-scripts" in report
    assert "allow-same-origin" not in report
    assert "connect-src" not in report
    assert data.startswith("default-src 'none'")
    assert data.endswith("sandbox")


def test_readiness_names_what_does_not_answer(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_of(client), "stat", raising(StoreError("no route to 10.0.0.7")))
    answer = client.get("/readyz")
    assert assert_problem(answer, 503)["checks"] == {"store": "StoreError", "redis": "ok"}
    assert "10.0.0.7" not in answer.text


def test_readiness_does_not_wait_for_a_store_that_hangs(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a store that never answers, and as many probes as may hang at a time
    released = threading.Event()
    monkeypatch.setattr(store_of(client), "stat", lambda _: released.wait())
    monkeypatch.setattr(health, "PATIENCE", 0.02)
    monkeypatch.setitem(health._open, "store", threading.BoundedSemaphore(2))

    # when more probes than that come
    answers = [client.get("/readyz") for _ in range(4)]

    # then each is answered, and everything else still is
    for answer in answers:
        assert assert_problem(answer, 503)["checks"]["store"] == "does not answer"
    assert client.get("/healthz").status_code == 200
    released.set()


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_the_openapi_document_is_valid(document: dict[str, Any]) -> None:
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_every_reference_of_the_document_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in set(re.findall(r"'\$ref': '#/components/schemas/([^']+)'", str(document))):
        assert reference in document["components"]["schemas"]


def test_every_operation_has_a_name_a_tag_and_words(document: dict[str, Any]) -> None:
    described = {tag["name"] for tag in document["tags"]}
    names = [operation["operationId"] for _, operation in operations(document)]

    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names)
    for name, operation in operations(document):
        assert set(operation["tags"]) <= described, name
        assert operation["description"], name


def test_every_operation_lists_its_problems(document: dict[str, Any]) -> None:
    problem = {"$ref": "#/components/schemas/Problem"}
    for name, operation in operations(document):
        answers = operation["responses"]
        always = {"400", "403", "500"}
        if operation["tags"] != ["health"]:
            always |= {"401", "429", "503"}
            assert operation["security"] == [{"key": []}, {"password": []}]
        assert always <= set(answers), name
        for status, answer in answers.items():
            if status >= "400":
                assert answer["content"] == {"application/problem+json": {"schema": problem}}, (
                    f"{name} {status}"
                )


def test_both_ways_to_send_a_key_are_documented(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    assert {scheme["scheme"] for scheme in schemes.values()} == {"bearer", "basic"}
