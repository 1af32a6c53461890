"""Limits of one caller: rate, open experiments, size of an upload."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from shared.api_keys import ApiKey, key_hash, new_key
from shared.settings import Settings
from tests.support.api.client import local_client

FIRST, SECOND = new_key(), new_key()

MakeSettings = Callable[..., Settings]


@pytest.fixture
def make(redis_url: str, redis: Redis, tmp_path: Path) -> MakeSettings:
    return lambda **values: Settings(**{"data": tmp_path, "redis_url": redis_url, **values})


def keys(**limits: Any) -> tuple[ApiKey, ...]:
    """Two keys that may submit, the first with limits of its own."""
    scopes = frozenset({"submit"})
    return (
        ApiKey(name="first", sha256=key_hash(FIRST), scopes=scopes, **limits),
        ApiKey(name="second", sha256=key_hash(SECOND), scopes=scopes),
    )


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def statuses(client: TestClient, number: int, **options: Any) -> list[int]:
    return [client.get("/v1/schema", **options).status_code for _ in range(number)]


def test_a_client_that_asks_too_often_is_told_when_to_come_back(make: MakeSettings) -> None:
    with local_client(make(rate="3/hour")) as client:
        assert statuses(client, 4) == [200, 200, 200, 429]
        answer = client.get("/v1/schema")
    assert answer.headers["content-type"] == "application/problem+json"
    assert 1 <= int(answer.headers["retry-after"]) <= 3600
    assert answer.headers["retry-after"] in answer.json()["detail"]


def test_health_is_never_limited(make: MakeSettings) -> None:
    with local_client(make(rate="1/hour")) as client:
        for path in ("/healthz", "/readyz", "/metrics") * 3:
            assert client.get(path).status_code == 200


def test_every_key_has_its_own_count_and_may_have_its_own_rate(make: MakeSettings) -> None:
    settings = make(api_keys=keys(rate="2/hour"), rate="4/hour")
    with local_client(settings) as client:
        assert statuses(client, 3, headers=bearer(FIRST)) == [200, 200, 429]
        assert statuses(client, 5, headers=bearer(SECOND)) == [200, 200, 200, 200, 429]


def test_whoever_has_no_key_is_counted_by_address(make: MakeSettings) -> None:
    settings = make(api_keys=keys(), rate="2/hour")
    with local_client(settings, client=("192.0.2.7", 1)) as client:
        assert statuses(client, 3) == [401, 401, 429]
        assert statuses(client, 1, headers=bearer(FIRST)) == [200]
    with local_client(settings, client=("192.0.2.8", 1)) as client:
        assert statuses(client, 1) == [401]


def test_all_processes_count_together(make: MakeSettings) -> None:
    with local_client(make(rate="3/hour")) as one, local_client(make(rate="3/hour")) as other:
        assert statuses(one, 2) + statuses(other, 2) == [200, 200, 200, 429]


def test_a_rate_may_be_off(make: MakeSettings, redis: Redis) -> None:
    with local_client(make(rate="off")) as client:
        assert statuses(client, 5) == [200] * 5
    assert redis.keys("*") == []


def test_without_redis_requests_pass_and_it_is_said_once(
    make: MakeSettings, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = make(rate="1/hour", redis_url="unix:///nonexistent/socket")
    with local_client(settings) as client:
        assert statuses(client, 3) == [200] * 3
    assert capfd.readouterr().err.count("rates are not limited") == 1


def test_a_flushed_redis_only_forgets_the_count(make: MakeSettings, redis: Redis) -> None:
    with local_client(make(rate="1/hour")) as client:
        assert statuses(client, 2) == [200, 429]
        redis.flushall()
        redis.script_flush()
        assert statuses(client, 1) == [200]


SPEC: dict[str, Any] = {
    "version": 1,
    "tokenizer": {"train": {"vocab_size": 512, "corpora": ["stories"]}},
    "corpora": {"stories": {"builtin": "stories", "max_tokens": 20_000}},
    "block": 64,
    "models": {
        "base": {
            "pretrain": {
                "corpora": ["stories"],
                "epochs": 1,
                "batch": 8,
                "architecture": {"hidden": 32, "mlp": 64, "heads": 2, "kv_heads": 1, "layers": 1},
            }
        }
    },
}


def submit(client: TestClient, name: str, key: str) -> Any:
    return client.post("/v1/experiments", json={**SPEC, "name": name}, headers=bearer(key))


def test_a_key_has_only_so_many_open_experiments(make: MakeSettings) -> None:
    with local_client(make(api_keys=keys(open_experiments=2))) as client:
        # given as many running experiments as the key may have
        first, second = submit(client, "one", FIRST), submit(client, "two", FIRST)
        assert first.status_code == second.status_code == 201

        # then there is no third, whatever others have
        refused = submit(client, "three", FIRST)
        assert refused.status_code == 429
        assert "open experiments" in refused.json()["detail"]
        assert int(refused.headers["retry-after"]) > 0
        assert submit(client, "three-of-the-second", SECOND).status_code == 201

        # until one has ended
        number = first.json()["id"]
        client.post(f"/v1/experiments/{number}/cancel", headers=bearer(FIRST))
        assert submit(client, "three", FIRST).status_code == 201


def test_a_key_uploads_only_so_much_at_once(make: MakeSettings) -> None:
    line = b'{"text": "some text"}\n'
    with local_client(make(api_keys=keys(upload_bytes=len(line)))) as client:
        small, large = (
            client.put(
                "/v1/corpora/c",
                content=body,
                headers={**bearer(FIRST), "Content-Type": "application/octet-stream"},
            )
            for body in (line, line * 2)
        )
    assert small.status_code == 201
    assert large.status_code == 413
    assert large.headers["content-type"] == "application/problem+json"
    assert str(len(line)) in large.json()["detail"]
