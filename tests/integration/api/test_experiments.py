"""Experiments over REST: submitting once, pages, and the verbs."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from httpx import Response
from redis import Redis

from api.experiments.idempotency import IdempotencyRecords, Record, digest_of
from api.experiments.planning import resolve_text
from api.security.auth import key_hash
from shared.experiments.experiments import experiment_id
from shared.settings import Settings
from tests.support.api.client import local_client
from tests.support.api.rest import SPEC, World, changed, submit

JSON = {"Content-Type": "application/json"}
BODY = json.dumps(SPEC).encode()
OTHER = json.dumps(changed(name="other")).encode()


def named(number: int) -> dict[str, Any]:
    return changed(name=f"number-{number:02}")


def ids(answer: Response) -> list[str]:
    return [one["id"] for one in answer.json()["items"]]


# ------------------------------------------------------------------------------------ submitting


def test_a_spec_is_submitted_once_however_often_it_is_sent(client: TestClient) -> None:
    first = client.post("/v1/experiments", json=SPEC)
    text = yaml.safe_dump(SPEC)
    again = client.post("/v1/experiments", content=text, headers={"Content-Type": "text/yaml"})

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert first.json()["state"] == "running"
    assert ids(client.get("/v1/experiments")) == [first.json()["id"]]
    assert client.get(first.headers["location"]).json() == first.json()
    assert again.headers["location"] == first.headers["location"]


def test_submitting_wakes_the_reconciler(client: TestClient, redis: Redis) -> None:
    submit(client)
    assert redis.llen("lineament:bell") == 1


@pytest.mark.parametrize(
    "kind", ["application/json", "application/yaml; charset=UTF-8", "application/x-yaml"]
)
def test_a_spec_is_read_from_every_documented_type(client: TestClient, kind: str) -> None:
    answer = client.post("/v1/experiments", content=BODY, headers={"Content-Type": kind})
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "kind", [None, "", "text/plain", "multipart/form-data; boundary=x", "text/yaml; charset=utf-16"]
)
@pytest.mark.parametrize("path", ["/v1/experiments", "/v1/experiments/plan"])
def test_a_body_of_another_type_is_refused(client: TestClient, kind: str | None, path: str) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = client.post(path, content=BODY, headers=headers)

    assert answer.status_code == 415
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith("Content-Type: ")


# -------------------------------------------------------------------------------- idempotency key


def send(client: TestClient, body: bytes, key: str) -> Response:
    return client.post("/v1/experiments", content=body, headers=JSON | {"Idempotency-Key": key})


def test_the_same_key_and_body_are_the_same_experiment(client: TestClient) -> None:
    first, again = send(client, BODY, "k1"), send(client, BODY, "k1")

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]


def test_the_same_key_with_another_body_is_refused(client: TestClient) -> None:
    first = send(client, BODY, "k1")
    answer = send(client, OTHER, "k1")

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("Idempotency-Key: ")
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert ids(client.get("/v1/experiments")) == [first.json()["id"]]


def test_a_wrong_spec_leaves_its_key_free(client: TestClient) -> None:
    wrong = json.dumps(changed(surprise=1)).encode()
    assert send(client, wrong, "k1").status_code == 422
    assert send(client, BODY, "k1").status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "caf\u00e9".encode().decode("latin1")])
def test_a_key_that_is_none_is_refused(client: TestClient, key: str) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": key.encode("latin1")}
    answer = client.post("/v1/experiments", content=BODY, headers=headers)

    assert answer.status_code == 422
    assert "idempotency-key" in answer.json()["detail"].lower()
    assert ids(client.get("/v1/experiments")) == []


def test_a_key_holds_its_experiment_when_an_upload_changed(client: TestClient) -> None:
    spec = json.dumps(changed(corpora__lua={"upload": "code", "max_tokens": 1000})).encode()
    lines = [json.dumps({"text": f"local x = {i}" * 50}) for i in range(200)]
    client.put("/v1/corpora/code", content="\n".join(lines))
    first = send(client, spec, "k1")
    client.put("/v1/corpora/code", content="\n".join(reversed(lines)))

    assert first.status_code == 201, first.text
    assert send(client, spec, "k1").json()["id"] == first.json()["id"]
    assert send(client, spec, "k2").json()["id"] != first.json()["id"]


def test_what_a_crash_left_undone_is_done_by_the_same_request(
    client: TestClient, world: World
) -> None:
    backend = client.app.state.backend  # type: ignore[attr-defined]
    resolved = resolve_text(BODY, backend.uploads, backend.settings)
    number = experiment_id("small", resolved.model_dump(mode="json"))
    record = Record(body=digest_of(BODY), experiment=number, resolved=resolved)
    IdempotencyRecords(backend.store).claim("", "k1", BODY, record)
    assert client.get(f"/v1/experiments/{number}").status_code == 404

    assert send(client, OTHER, "k1").status_code == 422
    assert send(client, BODY, "k1").json()["id"] == number
    assert ids(client.get("/v1/experiments")) == [number]


def test_of_two_bodies_with_one_key_at_once_one_wins(client: TestClient) -> None:
    for turn in range(5):
        pairs = [
            (json.dumps(changed(name=f"{name}{turn}")).encode(), f"k{turn}")
            for name in ("left", "right")
            for _ in range(3)
        ]
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda pair: send(client, *pair), pairs))

        won = {one.json()["id"] for one in answers if one.is_success}
        lost = [one for one in answers if not one.is_success]
        assert len(won) == 1
        assert {one.status_code for one in lost} == {422}
        assert len(lost) == 3
        listed = client.get("/v1/experiments", params={"name": f"t{turn}"})
        assert set(ids(listed)) == won


def test_the_same_request_many_times_at_once_is_one_experiment(client: TestClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: send(client, BODY, "k1"), range(8)))

    assert all(one.is_success for one in answers)
    assert len({one.json()["id"] for one in answers}) == 1


# ---------------------------------------------------------------------------------------- dry run


def test_a_dry_run_shows_the_plan_and_stores_nothing(client: TestClient, redis: Redis) -> None:
    plan = client.post("/v1/experiments/plan", json=SPEC).json()

    kinds = [stage["kind"] for stage in plan["stages"]]
    assert kinds.count("train") == 3
    assert kinds.count("merge") == 1
    assert not any(stage["done"] for stage in plan["stages"])
    assert ids(client.get("/v1/experiments")) == []
    assert redis.keys("lineament:*") == []


def test_a_dry_run_adds_up_what_is_known_and_counts_what_is_not(
    client: TestClient, world: World
) -> None:
    number = submit(client)
    first = world.keys(number)[0]
    world.finish(number, first)

    plan = client.post("/v1/experiments/plan", json=SPEC).json()

    totals, stages = plan["totals"], plan["stages"]
    assert (totals["stages"], totals["done"]) == (len(stages), 1)
    for name in ("tokens", "flops", "bytes"):
        known = [one[name] for one in stages if one[name] is not None]
        done = next(one[name] for one in stages if one["key"] == first) or 0
        assert totals[name]["known"] == pytest.approx(sum(known))
        assert totals[name]["to_do"] == pytest.approx(sum(known) - done)
        assert totals[name]["unknown"] == len(stages) - len(known)
    assert totals["flops"]["known"] > 0
    assert client.get(f"/v1/experiments/{number}/plan").json() == plan


# ------------------------------------------------------------------------------------------ pages


def walk(client: TestClient, **params: Any) -> list[list[str]]:
    """All pages from the first on, by next_page."""
    pages = []
    while True:
        answer = client.get("/v1/experiments", params=params)
        assert answer.status_code == 200, answer.text
        pages.append(ids(answer))
        params["cursor"] = answer.json()["next_page"]
        if params["cursor"] is None:
            return pages


def test_pages_hold_every_experiment_once_newest_first(client: TestClient) -> None:
    numbers = [submit(client, named(i)) for i in range(7)]
    pages = walk(client, size=3)

    assert [len(page) for page in pages] == [3, 3, 1]
    assert [one for page in pages for one in page] == numbers[::-1]


def test_the_second_page_stays_when_new_experiments_arrive(client: TestClient) -> None:
    numbers = [submit(client, named(i)) for i in range(4)]
    first = client.get("/v1/experiments", params={"size": 2}).json()
    submit(client, named(8))
    second = client.get("/v1/experiments", params={"size": 2, "cursor": first["next_page"]})

    assert ids(second) == [numbers[1], numbers[0]]


def test_one_can_go_back_to_the_page_before(client: TestClient) -> None:
    numbers = [submit(client, named(i)) for i in range(5)][::-1]
    first = client.get("/v1/experiments", params={"size": 2}).json()
    second = client.get("/v1/experiments", params={"size": 2, "cursor": first["next_page"]}).json()
    third = client.get("/v1/experiments", params={"size": 2, "cursor": second["next_page"]}).json()
    back = client.get("/v1/experiments", params={"size": 2, "cursor": third["previous_page"]})
    front = client.get(
        "/v1/experiments", params={"size": 2, "cursor": back.json()["previous_page"]}
    )

    assert first["previous_page"] is None
    assert third["next_page"] is None
    assert ids(back) == numbers[2:4]
    assert ids(front) == numbers[:2]
    assert front.json()["previous_page"] is None
    assert front.json()["next_page"] is not None


def test_a_page_that_begins_at_a_deleted_experiment_goes_on_where_that_was(
    client: TestClient, world: World
) -> None:
    numbers = [submit(client, named(i)) for i in range(4)]
    first = client.get("/v1/experiments", params={"size": 2}).json()
    client.post(f"/v1/experiments/{numbers[2]}/cancel")
    client.delete(f"/v1/experiments/{numbers[2]}")

    second = client.get("/v1/experiments", params={"size": 2, "cursor": first["next_page"]})
    assert ids(second) == [numbers[1], numbers[0]]


def test_experiments_are_found_by_state(client: TestClient, world: World) -> None:
    numbers = [submit(client, named(i)) for i in range(5)]
    client.post(f"/v1/experiments/{numbers[1]}/cancel")
    client.post(f"/v1/experiments/{numbers[3]}/cancel")

    assert walk(client, state="cancelled", size=1) == [[numbers[3]], [numbers[1]]]
    both = client.get("/v1/experiments", params={"state": ["cancelled", "running"]})
    assert ids(both) == numbers[::-1]
    assert ids(client.get("/v1/experiments", params={"state": "complete"})) == []


def test_experiments_are_found_by_a_part_of_their_name(client: TestClient) -> None:
    first, second = submit(client, changed(name="alpha")), submit(client, changed(name="beta"))
    assert ids(client.get("/v1/experiments", params={"name": "lph"})) == [first]
    assert ids(client.get("/v1/experiments", params={"name": "a"})) == [second, first]
    digest = first.rpartition("-")[2]
    assert ids(client.get("/v1/experiments", params={"name": digest})) == []


@pytest.mark.parametrize(
    "params",
    [
        {"cursor": "x"},
        {"cursor": "b2xkZXIgbmFuIHg="},
        {"cursor": "//79"},
        {"cursor": "caf\u00e9"},
        {"size": 0},
        {"size": 101},
        {"state": "sleeping"},
    ],
)
def test_a_wrong_page_is_refused_in_a_sentence(client: TestClient, params: dict[str, Any]) -> None:
    answer = client.get("/v1/experiments", params=params)
    assert answer.status_code == 422
    assert next(iter(params)) in answer.json()["detail"]


# ------------------------------------------------------------------------------------ one of them


def test_the_spec_comes_back_as_json_or_yaml_and_is_the_same_experiment(client: TestClient) -> None:
    number = submit(client)
    path = f"/v1/experiments/{number}/spec"
    as_json = client.get(path)
    as_yaml = client.get(path, headers={"Accept": "text/html, application/yaml;q=0.9, */*;q=0.1"})

    assert as_json.headers["content-type"] == "application/json"
    assert as_yaml.headers["content-type"].startswith("application/yaml")
    assert as_json.json() == yaml.safe_load(as_yaml.text)
    for answer in (as_json, as_yaml):
        headers = {"Content-Type": answer.headers["content-type"]}
        again = client.post("/v1/experiments", content=answer.content, headers=headers)
        assert (again.status_code, again.json()["id"]) == (200, number)
    pinned = client.get(path, params={"resolved": True}).json()
    assert set(pinned["builtins"]) == {"stories", "lua"}


def test_cancel_and_retry_change_the_state(client: TestClient) -> None:
    number = submit(client)
    assert client.post(f"/v1/experiments/{number}/cancel").json()["state"] == "cancelled"
    assert client.post(f"/v1/experiments/{number}/retry").json()["state"] == "running"


def test_a_running_experiment_is_not_deleted(client: TestClient) -> None:
    number = submit(client)
    answer = client.delete(f"/v1/experiments/{number}")

    assert answer.status_code == 409
    assert "cancel" in answer.json()["detail"]
    assert client.get(f"/v1/experiments/{number}").status_code == 200


def test_a_cancelled_experiment_can_be_deleted_and_submitted_again(
    client: TestClient, world: World
) -> None:
    number = submit(client)
    world.finish(number, world.keys(number)[0])
    client.post(f"/v1/experiments/{number}/cancel")
    answer = client.delete(f"/v1/experiments/{number}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert client.get(f"/v1/experiments/{number}").status_code == 404
    assert client.delete(f"/v1/experiments/{number}").status_code == 404
    assert submit(client) == number
    assert client.get(f"/v1/experiments/{number}").json()["counts"]["done"] == 1


def test_only_the_owner_and_an_admin_change_an_experiment_and_keys_do_not_share_idempotency(
    settings: Settings,
) -> None:
    keys = [
        {"name": name, "sha256": key_hash(name), "scopes": [scope]}
        for name, scope in (("anna", "submit"), ("ben", "submit"), ("root", "admin"))
    ]
    guarded = Settings(**settings.model_dump() | {"api_keys": keys})
    with local_client(guarded) as client:
        anna, ben, root = ({"Authorization": f"Bearer {name}"} for name in ("anna", "ben", "root"))
        one = submit(client, named(1), **anna | {"Idempotency-Key": "k"})
        two = submit(client, named(2), **ben | {"Idempotency-Key": "k"})
        mine = client.get("/v1/experiments", params={"owner": "anna"}, headers=ben)
        cancel, retry = (f"/v1/experiments/{one}/{verb}" for verb in ("cancel", "retry"))

        assert one != two
        assert client.post(cancel, headers=ben).status_code == 403
        assert client.post(cancel, headers=anna).json()["state"] == "cancelled"
        assert client.post(retry, headers=ben).status_code == 403
        assert client.post(retry, headers=root).json()["state"] == "running"
        for number in (one, two):
            client.post(f"/v1/experiments/{number}/cancel", headers=root)
        assert [(each["id"], each["owner"]) for each in mine.json()["items"]] == [(one, "anna")]
        assert client.delete(f"/v1/experiments/{one}", headers=ben).status_code == 403
        assert client.delete(f"/v1/experiments/{one}", headers=anna).status_code == 204
        assert client.delete(f"/v1/experiments/{two}", headers=root).status_code == 204


# ------------------------------------------------------------------------------------------ pages


def test_the_first_page_leads_to_older_experiments(client: TestClient) -> None:
    numbers = [submit(client, named(i)) for i in range(3)]
    first = client.get("/", params={"size": 2, "name": "number", "state": ""}).text
    link = first.split('rel="next" href="?')[1].split('"')[0].replace("&amp;", "&")
    second = client.get(f"/?{link}").text

    assert numbers[2] in first
    assert numbers[0] not in first
    assert numbers[0] in second
    assert 'rel="prev"' in second
    assert "No experiments match this filter" in client.get("/?name=nothing&state=failed").text


def test_an_experiments_page_shows_stages_and_where_its_events_go_on(
    client: TestClient, world: World
) -> None:
    number = submit(client)
    key = world.keys(number)[0]
    world.fail(key, "a1", "the <corpus> is empty")
    page = client.get(f"/experiments/{number}").text

    assert "train base" in page
    assert "the &lt;corpus&gt; is empty" in page
    assert 'data-seen="' in page
    assert "<script>" not in page
    for script in ("experiment.js", "elements.js", "attempts.js", "submit.js"):
        assert client.get(f"/static/{script}").status_code == 200
