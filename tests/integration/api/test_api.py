"""The REST API over a real Valkey and a real store, without workers: submitting only queues."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from shared.settings import Settings
from tests.support.api.client import local_client
from tests.support.api.rest import SPEC, changed


def nothing_happened(client: TestClient, redis: Redis) -> bool:
    listed = client.get("/v1/experiments").json()["items"]
    return listed == [] and redis.keys("lineament:*") == []


BAD_SPECS = [
    (changed(models__lua__finetune__corpora=["lau"]), "models.lua.finetune.corpora"),
    (changed(models__base={"finetune": {"parent": "lua", "corpora": ["lua"]}}), "ancestor"),
    (changed(models__merged__merge__t=1.5), "models.merged.merge.t"),
    (changed(corpora__lua__max_tokens=-5), "corpora.lua.max_tokens"),
    (changed(models__base__pretrain__architecture__hidden=-32), "hidden"),
    (changed(models__base__pretrain__architecture__vocab_size=999), "vocab_size"),
    (changed(explain={"endpoint": "http://x", "model": "y"}), "is a setting of the server"),
    (changed(models__merged__merge__method="ties"), "must be slerp, not 'ties'"),
    (changed(surprise=1), "surprise"),
    (changed(corpora__lua={"upload": "nowhere"}), "corpora.lua.upload"),
]


@pytest.mark.parametrize(("spec", "names"), BAD_SPECS)
def test_a_wrong_spec_is_refused_in_a_sentence_and_nothing_is_queued(
    client: TestClient, redis: Redis, spec: dict[str, Any], names: str
) -> None:
    answer = client.post("/v1/experiments", json=spec)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert names in answer.json()["detail"]
    assert "Traceback" not in answer.text
    assert nothing_happened(client, redis)


def test_merging_different_shapes_is_refused(client: TestClient, redis: Redis) -> None:
    spec = changed()
    spec["models"]["other"] = json.loads(json.dumps(SPEC["models"]["base"]))
    spec["models"]["other"]["pretrain"]["architecture"]["hidden"] = 64
    spec["models"]["merged"]["merge"]["at_one"] = "other"

    answer = client.post("/v1/experiments", json=spec)

    assert answer.status_code == 422
    assert "models.merged.merge" in answer.json()["detail"]
    assert "hidden" in answer.json()["detail"]
    assert nothing_happened(client, redis)


YAML = {"Content-Type": "application/yaml"}
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b]\n"


@pytest.mark.parametrize(
    "body",
    [BOMB.encode(), b"[" * 50_000, b"\xff\xfe\x00", b"", b"- 1\n", b"a: b: c"],
    ids=["bomb", "deep", "not text", "empty", "a list", "not yaml"],
)
def test_a_body_that_is_no_spec_is_refused(client: TestClient, redis: Redis, body: bytes) -> None:
    answer = client.post("/v1/experiments", content=body, headers=YAML)
    assert answer.status_code == 422
    assert answer.json()["detail"]
    assert nothing_happened(client, redis)


def test_a_spec_of_ten_megabytes_is_too_large(client: TestClient, redis: Redis) -> None:
    answer = client.post("/v1/experiments", content=b"x" * 10_000_000, headers=YAML)
    assert answer.status_code == 413
    assert nothing_happened(client, redis)


@pytest.mark.parametrize(
    "path",
    ["/v1/experiments/none", "/v1/corpora/none", "/v1/artifacts/none", "/experiments/none", "/no"],
)
def test_what_is_not_there_is_a_problem_document(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["status"] == 404


def test_health_readiness_and_metrics_answer(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"store": "ok", "redis": "ok"}
    assert "http_request" in client.get("/metrics").text


def test_a_server_without_redis_says_so(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, redis_url="unix:///nonexistent/socket")
    with local_client(settings) as client:
        assert client.get("/readyz").status_code == 503
        assert client.post("/v1/experiments", json=SPEC).status_code == 503


def test_pages_show_experiments(client: TestClient) -> None:
    number = client.post("/v1/experiments", json=SPEC).json()["id"]
    assert number in client.get("/").text
    page = client.get(f"/experiments/{number}").text
    assert "train base" in page
    assert client.get("/static/experiment.js").status_code == 200
    assert client.get(f"/experiments/{number}/report/report.html").status_code == 404
