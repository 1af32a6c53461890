"""The REST API over a real Valkey and a real store, without workers: submitting only queues."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from fastapi.testclient import TestClient
from redis import Redis

from api.app import create_app
from shared.settings import Settings

SPEC: dict[str, Any] = {
    "version": 1,
    "name": "small",
    "tokenizer": {"train": {"vocab_size": 512, "corpora": ["stories"]}},
    "corpora": {
        "stories": {"builtin": "stories", "max_tokens": 20_000},
        "lua": {"builtin": "lua", "max_tokens": 20_000},
    },
    "block": 64,
    "models": {
        "base": {
            "pretrain": {
                "corpora": ["stories"],
                "epochs": 1,
                "batch": 8,
                "architecture": {"hidden": 32, "mlp": 64, "heads": 2, "kv_heads": 1, "layers": 1},
            }
        },
        "lua": {"finetune": {"parent": "base", "corpora": ["lua"]}},
        "more": {"finetune": {"parent": "base", "corpora": ["stories"]}},
        "merged": {"merge": {"method": "slerp", "at_zero": "more", "at_one": "lua", "t": 0.5}},
    },
}


def changed(**paths: Any) -> dict[str, Any]:
    """SPEC with values replaced; a path is written a__b__c."""
    spec = json.loads(json.dumps(SPEC))
    for path, value in paths.items():
        *parents, last = path.split("__")
        place = spec
        for name in parents:
            place = place[name]
        place[last] = value
    return spec


@pytest.fixture
def client(redis_url: str, redis: Redis, tmp_path: Path) -> Iterator[TestClient]:
    app = create_app(Settings(data=tmp_path, redis_url=redis_url))
    with TestClient(app, raise_server_exceptions=False) as one:
        yield one


def nothing_happened(client: TestClient, redis: Redis) -> bool:
    return client.get("/v1/experiments").json() == [] and redis.keys("*") == []


def test_a_spec_is_submitted_once_however_often_it_is_sent(client: TestClient) -> None:
    first = client.post("/v1/experiments", json=SPEC)
    again = client.post("/v1/experiments", content=yaml.safe_dump(SPEC))

    assert first.status_code == again.status_code == 201
    assert first.json()["id"] == again.json()["id"]
    assert first.json()["state"] == "running"
    assert [one["id"] for one in client.get("/v1/experiments").json()] == [first.json()["id"]]


def test_submitting_wakes_the_reconciler(client: TestClient, redis: Redis) -> None:
    client.post("/v1/experiments", json=SPEC)
    assert redis.llen("lineament:bell") == 1


def test_a_dry_run_shows_the_plan_and_stores_nothing(client: TestClient, redis: Redis) -> None:
    plan = client.post("/v1/experiments/plan", json=SPEC).json()

    kinds = [stage["kind"] for stage in plan["stages"]]
    assert kinds.count("train") == 3
    assert kinds.count("merge") == 1
    assert not any(stage["done"] for stage in plan["stages"])
    assert nothing_happened(client, redis)


def test_stages_are_listed_with_their_state(client: TestClient) -> None:
    number = client.post("/v1/experiments", json=SPEC).json()["id"]
    stages = client.get(f"/v1/experiments/{number}/stages").json()
    assert {one["state"] for one in stages if one["kind"] == "corpus"} == {"ready"}
    assert {one["state"] for one in stages if one["kind"] == "report"} == {"waiting"}


def test_cancel_and_retry_change_the_state(client: TestClient) -> None:
    number = client.post("/v1/experiments", json=SPEC).json()["id"]
    assert client.post(f"/v1/experiments/{number}/cancel").json()["state"] == "cancelled"
    assert client.post(f"/v1/experiments/{number}/retry").json()["state"] == "running"


BAD_SPECS = [
    (changed(models__lua__finetune__corpora=["lau"]), "models.lua.finetune.corpora"),
    (changed(models__base={"finetune": {"parent": "lua", "corpora": ["lua"]}}), "ancestor"),
    (changed(models__merged__merge__t=1.5), "models.merged.merge.t"),
    (changed(corpora__lua__max_tokens=-5), "corpora.lua.max_tokens"),
    (changed(models__base__pretrain__architecture__hidden=-32), "hidden"),
    (changed(models__base__pretrain__architecture__vocab_size=999), "vocab_size"),
    (changed(explain={"endpoint": "http://x", "model": "y"}), "not available yet"),
    (changed(models__merged__merge__method="ties"), "not available yet"),
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


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b]\n"


@pytest.mark.parametrize(
    "body",
    [b"x" * 10_000_000, BOMB.encode(), b"[" * 50_000, b"\xff\xfe\x00", b"", b"- 1\n", b"a: b: c"],
    ids=["10 MB", "bomb", "deep", "not text", "empty", "a list", "not yaml"],
)
def test_a_body_that_is_no_spec_is_refused(client: TestClient, redis: Redis, body: bytes) -> None:
    answer = client.post("/v1/experiments", content=body)
    assert answer.status_code == 422
    assert answer.json()["detail"]
    assert nothing_happened(client, redis)


def jsonl(*lines: object) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_an_upload_is_kept_under_its_name_and_its_digest(client: TestClient) -> None:
    data = jsonl({"text": "one"}, {"text": "two"})
    info = client.put("/v1/corpora/my-lua", content=data)

    assert info.status_code == 201
    assert info.json()["format"] == "jsonl"
    assert info.json()["rows"] == 2
    assert client.get("/v1/corpora/my-lua").json() == info.json()
    assert client.get("/v1/corpora").json() == [info.json()]


def _truncated_parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": ["some text"] * 1000}), buffer)
    return buffer.getvalue()[:-20]


def _traversal() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../etc/x.lua", "x = 1")
    return buffer.getvalue()


BAD_UPLOADS = [
    (jsonl({"text": "fine"}) + b"not json\n", "line 2"),
    (jsonl({"words": "no text column"}), "text"),
    (b"", "empty"),
    (_truncated_parquet(), "Parquet"),
    (_traversal(), ".."),
    (b"\xff\xfe\xfa broken", "UTF-8"),
]


@pytest.mark.parametrize(
    ("data", "says"), BAD_UPLOADS, ids=["line", "column", "empty", "parquet", "traversal", "utf-8"]
)
def test_a_bad_upload_is_refused_in_a_sentence_and_keeps_nothing(
    client: TestClient, data: bytes, says: str, tmp_path: Path
) -> None:
    answer = client.put("/v1/corpora/bad", content=data)

    assert answer.status_code == 422
    assert says.lower() in answer.json()["detail"].lower()
    assert answer.json()["detail"].startswith("bad: ")
    assert client.get("/v1/corpora").json() == []
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_bad_upload_leaves_the_good_one_of_that_name(client: TestClient) -> None:
    client.put("/v1/corpora/c", content=jsonl({"text": "one"}))
    before = client.get("/v1/corpora/c").json()
    client.put("/v1/corpora/c", content=b"\xff")
    assert client.get("/v1/corpora/c").json() == before


def test_an_upload_over_the_limit_is_refused(redis_url: str, redis: Redis, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, redis_url=redis_url, upload_limit=10)
    with TestClient(create_app(settings)) as client:
        assert client.put("/v1/corpora/c", content=b"x" * 11).status_code == 413


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
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        assert client.get("/readyz").status_code == 503
        assert client.post("/v1/experiments", json=SPEC).status_code == 503


def test_pages_show_experiments(client: TestClient) -> None:
    number = client.post("/v1/experiments", json=SPEC).json()["id"]
    assert number in client.get("/").text
    page = client.get(f"/experiments/{number}").text
    assert "train base" in page
    assert client.get("/static/experiment.js").status_code == 200
    assert client.get(f"/experiments/{number}/report/report.html").status_code == 404
