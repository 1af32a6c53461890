"""Server-sent events of an experiment: nothing is missed, whoever was restarted in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from redis import Redis

from api.experiments.follow import Follower
from api.experiments.seen import encode_seen
from shared.experiments.states import StageState
from shared.settings import Settings
from tests.support.api.client import local_client
from tests.support.api.rest import World, events_in, events_of, serving, submit


@pytest.fixture
def number(client: TestClient) -> str:
    return submit(client)


def listen(client: TestClient, number: str, **headers: str) -> list[dict[str, Any]]:
    """All events until the stream ends."""
    answer = client.get(f"/v1/experiments/{number}/events", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return events_of(answer)


def states(events: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Of every stage the states it was said to have."""
    found: dict[str, list[str]] = {}
    for one in events:
        if one["event"] == "stage":
            found.setdefault(one["data"]["key"], []).append(one["data"]["state"])
    return found


def meanwhile(action: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=action)
    thread.start()
    return thread


def test_a_client_that_has_seen_nothing_gets_every_stage_and_the_end(
    client: TestClient, world: World, number: str
) -> None:
    world.finish(number)
    events = listen(client, number)

    assert states(events) == {key: ["done"] for key in world.keys(number)}
    assert events[0]["data"]["seconds"] == 2.5
    assert [one["event"] for one in events][-1] == "experiment"
    assert events[-1]["data"] == client.get(f"/v1/experiments/{number}").json()
    assert events[-1]["data"]["state"] == "complete"


def test_what_happens_while_one_listens_is_said_in_order(
    client: TestClient, world: World, number: str
) -> None:
    first, *rest = world.keys(number)

    def work() -> None:
        world.wait(0.8)
        world.start(first, "a1", done=1, total=2)
        world.wait(0.8)
        world.finish(number, first)
        world.backend.leases.release(first, "a1")
        world.wait(0.8)
        world.finish(number, *rest)

    thread = meanwhile(work)
    events = listen(client, number)
    thread.join()

    assert states(events)[first] == ["ready", "running", "done"]
    progress = [one for one in events if one["event"] == "progress"]
    assert progress[0]["data"] == {first: {"done": 1, "total": 2}}
    assert all("id" not in one for one in progress)
    assert events[-1]["data"]["state"] == "complete"


def test_after_a_cut_only_the_difference_is_said(
    client: TestClient, world: World, number: str
) -> None:
    keys = world.keys(number)
    standing = world.backend.experiments.standing(
        world.backend.experiments.get(number), world.backend.leases
    )
    seen = encode_seen([standing.stages[key] for key in keys])
    world.finish(number, keys[0])
    world.fail(keys[1], "a1", "no")
    client.post(f"/v1/experiments/{number}/cancel")

    events = listen(client, number, **{"Last-Event-ID": seen})
    again = listen(client, number, **{"Last-Event-ID": events[-1]["id"]})

    said = states(events)
    assert said[keys[0]] == ["done"]
    assert said[keys[1]] == ["failed"]
    assert [one["event"] for one in again] == ["experiment"]
    assert again[0]["data"]["state"] == "cancelled"


def test_the_first_request_can_say_in_the_url_what_the_page_shows(
    client: TestClient, world: World, number: str
) -> None:
    world.finish(number)
    seen = encode_seen([StageState.DONE] * len(world.keys(number)))
    events = events_of(client.get(f"/v1/experiments/{number}/events", params={"since": seen}))
    assert [one["event"] for one in events] == ["experiment"]


@pytest.mark.parametrize("word", ["nonsense", "!!", "eJwDAAAAAAE", "x" * 3000])
def test_an_id_that_makes_no_sense_counts_as_none(
    client: TestClient, world: World, number: str, word: str
) -> None:
    world.finish(number)
    assert len(states(listen(client, number, **{"Last-Event-ID": word}))) == len(world.keys(number))


def test_events_of_no_experiment_are_a_problem_document(client: TestClient) -> None:
    answer = client.get("/v1/experiments/none/events")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_stream_ends_when_the_experiment_is_deleted(
    client: TestClient, world: World, number: str
) -> None:
    def work() -> None:
        world.wait(0.8)
        world.backend.experiments.delete(
            world.backend.experiments.get(number), world.backend.leases
        )

    thread = meanwhile(work)
    events = listen(client, number)
    thread.join()
    assert events[-1]["data"]["state"] == "running"


def test_nothing_is_missed_over_restarts_of_the_server_and_a_flushed_redis(
    settings: Settings, redis: Redis
) -> None:
    """Each round another server and an empty Redis; the client has only its last id."""
    with local_client(settings) as client:
        number = submit(client)
    known: dict[str, str] = {}
    seen = ""
    for turn in range(4):
        redis.flushall()
        with serving(settings) as (url, app):
            world = World(app.state.backend)
            keys = world.keys(number)
            if turn:
                world.finish(number, *keys[: turn * len(keys) // 3])
            path = f"{url}/v1/experiments/{number}/events"
            with httpx.stream("GET", path, headers={"Last-Event-ID": seen}) as answer:
                for event in events_in(answer.iter_lines()):
                    if event["event"] == "stage":
                        known[event["data"]["key"]] = event["data"]["state"]
                    elif event["event"] == "experiment":
                        seen = event["id"]
                        break
            shown = httpx.get(f"{url}/v1/experiments/{number}/stages").json()
            assert known == {one["key"]: one["state"] for one in shown}
    assert set(known.values()) == {"done"}


def test_nobody_looks_any_more_when_the_client_is_gone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    look = Follower._look

    def counted(self: Follower) -> Any:
        looks.append(time.monotonic())
        return look(self)

    monkeypatch.setattr(Follower, "_look", counted)
    with local_client(settings) as client:
        number = submit(client)
    with serving(settings) as (url, _):
        with httpx.stream("GET", f"{url}/v1/experiments/{number}/events") as answer:
            next(events_in(answer.iter_lines()))
        time.sleep(1.2)
        before = len(looks)
        time.sleep(1.2)
        assert len(looks) == before


def test_a_redis_that_is_away_for_a_while_only_delays_events(
    client: TestClient, world: World, number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from redis.exceptions import ConnectionError as RedisAway

    world.finish(number)
    look = Follower._look
    turns = iter([True, True, False])

    def sometimes(self: Follower) -> Any:
        if next(turns):
            raise RedisAway("gone")
        return look(self)

    monkeypatch.setattr(Follower, "_look", sometimes)
    assert listen(client, number)[-1]["data"]["state"] == "complete"
