"""Stages over REST: what is known of one, and its log while it grows."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from api.experiments.stage_log import Piece, Sent, last_lines
from shared.queue.leases import LiveLog
from tests.support.api.rest import World, submit


def stage(client: TestClient, number: str, key: str) -> dict[str, Any]:
    answer = client.get(f"/v1/experiments/{number}/stages/{key}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def publish(world: World, key: str, attempt: str, start: int, text: str) -> None:
    world.backend.leases.publish_log(key, LiveLog(attempt, start, text))


@pytest.fixture
def number(client: TestClient) -> str:
    return submit(client)


@pytest.fixture
def key(world: World, number: str) -> str:
    return world.keys(number)[0]


# ---------------------------------------------------------------------------------------- listing


def test_stages_are_listed_with_their_state(client: TestClient, number: str) -> None:
    stages = client.get(f"/v1/experiments/{number}/stages").json()
    assert {one["state"] for one in stages if one["kind"] == "corpus"} == {"ready"}
    assert {one["state"] for one in stages if one["kind"] == "report"} == {"waiting"}


def test_stages_are_found_by_state_and_kind(
    client: TestClient, world: World, number: str, key: str
) -> None:
    world.start(key, "a1")
    path = f"/v1/experiments/{number}/stages"

    running = client.get(path, params={"state": "running"}).json()
    trained = client.get(path, params={"kind": ["train", "merge"], "state": "waiting"}).json()

    assert [one["key"] for one in running] == [key]
    assert sorted(one["kind"] for one in trained) == ["merge", "train", "train", "train"]
    assert client.get(path, params={"state": "asleep"}).status_code == 422


# ------------------------------------------------------------------------------------------ detail


def test_a_stage_that_waits_shows_what_it_will_do(client: TestClient, number: str) -> None:
    stages = client.get(f"/v1/experiments/{number}/stages", params={"kind": "train"}).json()
    found = stage(client, number, stages[0]["key"])

    assert found["state"] == "waiting"
    assert found["parameters"]["batch"] == 8
    assert set(found["inputs"]) >= {"tokens"} or found["inputs"]
    assert found["attempts"] == []
    assert found["results"] is None
    assert found["failure"] is None


def test_a_running_stage_shows_its_attempts_and_its_progress(
    client: TestClient, world: World, number: str, key: str
) -> None:
    world.note(key, "a1", from_step=0, reached_step=40)  # its worker was killed
    world.start(key, "a2", done=5, total=10, loss=3.2)

    found = stage(client, number, key)

    assert found["state"] == "running"
    assert found["progress"]["loss"] == 3.2
    about = [(one["attempt"], one["running"], one["reached_step"]) for one in found["attempts"]]
    assert sorted(about) == [("a1", False, 40), ("a2", True, 0)]
    assert {one["host"] for one in found["attempts"]} == {"box"}


def test_a_failed_stage_shows_why(client: TestClient, world: World, number: str, key: str) -> None:
    world.end(key, "a1", "failed", b"log", reason="the loss is NaN")
    world.fail(key, "a1", "the loss is NaN")

    found = stage(client, number, key)

    assert found["state"] == "failed"
    assert found["reason"] == "the loss is NaN"
    assert (found["failure"]["attempt"], found["failure"]["reason"]) == ("a1", "the loss is NaN")
    assert found["attempts"][0]["ending"] == "failed"
    after = client.get(f"/v1/experiments/{number}/stages", params={"state": "blocked"}).json()
    assert key in {value for one in after for value in one["inputs"].values()}


def test_a_done_stage_shows_results_and_timings(
    client: TestClient, world: World, number: str, key: str
) -> None:
    world.finish(number, key)
    found = stage(client, number, key)

    assert (found["state"], found["seconds"], found["results"]) == ("done", 2.5, {"loss": 1.5})
    assert found["timings"]["host"] == "box"
    assert found["timings"]["cpu_seconds"] == 2.0


@pytest.mark.parametrize("path", ["", "/log"])
def test_a_stage_of_another_plan_is_not_there(client: TestClient, number: str, path: str) -> None:
    answer = client.get(f"/v1/experiments/{number}/stages/{'0' * 64}{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


# -------------------------------------------------------------------------------------------- logs


def test_there_is_no_log_before_the_first_attempt(
    client: TestClient, number: str, key: str
) -> None:
    answer = client.get(f"/v1/experiments/{number}/stages/{key}/log")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "no attempt has begun yet"


def test_the_log_is_the_last_attempts_unless_one_is_named(
    client: TestClient, world: World, number: str, key: str
) -> None:
    world.start(key, "a1")
    world.end(key, "a1", "crashed", b"first\n")
    world.start(key, "a2")
    world.end(key, "a2", "crashed", b"one\ntwo\nthree\n")
    path = f"/v1/experiments/{number}/stages/{key}/log"

    assert client.get(path).text == "one\ntwo\nthree\n"
    assert client.get(path).headers["content-type"] == "text/plain; charset=utf-8"
    assert client.get(path, params={"tail": 2}).text == "two\nthree\n"
    assert client.get(path, params={"tail": 0}).text == ""
    assert client.get(path, params={"attempt": "a1", "follow": True}).text == "first\n"
    assert client.get(path, params={"attempt": "a9"}).status_code == 404
    assert client.get(path, params={"tail": -1}).status_code == 422


def test_the_log_of_a_running_attempt_is_the_published_end(
    client: TestClient, world: World, number: str, key: str
) -> None:
    world.start(key, "a1")
    path = f"/v1/experiments/{number}/stages/{key}/log"
    assert client.get(path).text == ""

    publish(world, key, "a1", 100, "step 7\nstep 8\n")

    assert client.get(path).text == "[100 bytes are missing here]\nstep 7\nstep 8\n"
    assert client.get(path, params={"tail": 1}).text == "step 8\n"


def test_an_attempt_that_was_killed_leaves_no_log(
    client: TestClient, world: World, number: str, key: str
) -> None:
    world.note(key, "a1")
    answer = client.get(f"/v1/experiments/{number}/stages/{key}/log", params={"attempt": "a1"})
    assert answer.status_code == 404
    assert answer.json()["detail"] == "no attempt has left a log"


def followed(client: TestClient, number: str, key: str, meanwhile: Any) -> str:
    """The text of a log that is followed to its end while something happens to it."""
    path = f"/v1/experiments/{number}/stages/{key}/log"
    found: list[str] = []
    reader = threading.Thread(
        target=lambda: found.append(client.get(path, params={"follow": True}).text)
    )
    reader.start()
    meanwhile()
    reader.join()
    return found[0]


def test_following_a_log_ends_with_the_attempt_and_shows_every_byte_once(
    client: TestClient, world: World, number: str, key: str
) -> None:
    whole = "".join(f"step {step} of 9: caf\u00e9\n" for step in range(10))
    world.start(key, "a1")
    publish(world, key, "a1", 0, whole[:30])

    def meanwhile() -> None:
        for size in (70, 110):
            world.wait(0.6)
            world.backend.leases.renew(key, "a1", {})
            data = whole[:size].encode()[-60:]
            publish(world, key, "a1", len(whole[:size].encode()) - 60, data.decode())
        world.wait(0.6)
        world.end(key, "a1", "committed", whole.encode())

    assert followed(client, number, key, meanwhile) == whole


def test_following_says_how_many_bytes_went_by_unseen(
    client: TestClient, world: World, number: str, key: str
) -> None:
    world.start(key, "a1")
    publish(world, key, "a1", 0, "begin\n")

    def meanwhile() -> None:
        world.wait(0.6)
        publish(world, key, "a1", 1006, "later\n")
        world.wait(0.8)
        world.end(key, "a1", "committed", b"begin\n" + b"x" * 999 + b"\nlater\nend\n")

    text = followed(client, number, key, meanwhile)
    assert text == "begin\n[1000 bytes are missing here]\nlater\nend\n"


def test_following_an_attempt_whose_worker_was_killed_ends(
    client: TestClient, world: World, number: str, key: str
) -> None:
    world.start(key, "a1")
    publish(world, key, "a1", 0, "begin\n")

    text = followed(client, number, key, lambda: None)

    assert text == "begin\n[the attempt ended and left no log]\n"


# ------------------------------------------------------------------------------ where to go on


def test_a_log_whose_beginning_is_gone_goes_on_after_what_was_sent() -> None:
    lines = [f"line {number}\n".encode() for number in range(1000)]
    whole = b"".join(lines)
    sent = Sent()
    sent.first(Piece(0, b"".join(lines[:700]), ended=False), None)

    shortened = Piece(0, whole[3000:], ended=True)

    assert sent.more(shortened) == b"".join(lines[700:])


def test_a_log_that_went_on_for_too_long_says_that_something_is_missing() -> None:
    sent = Sent()
    sent.first(Piece(0, b"begin\n" * 100, ended=False), None)
    assert sent.more(Piece(0, b"end\n", ended=True)) == b"[some bytes are missing here]\nend\n"


@given(
    st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 60)), max_size=8),
)
def test_whatever_windows_are_published_what_is_sent_is_the_log(
    lines: list[bytes], windows: list[tuple[int, int]]
) -> None:
    """Windows over a growing log, the last of them the whole: everything but gaps arrives."""
    whole = b"".join(lines)
    ends = sorted(min(end, len(whole)) for end, _ in windows)
    sent, received = Sent(), b""
    missed = 0
    for turn, (end, (_, width)) in enumerate(zip(ends, windows, strict=True)):
        start = max(0, end - width)
        piece = Piece(start, whole[start:end], ended=False)
        missed += max(0, start - sent.place) if turn else start
        received += sent.more(piece) if turn else sent.first(piece, None)
    received += sent.more(Piece(0, whole, ended=True)) if windows else whole

    if not missed:
        assert received == whole
    else:
        assert b"bytes are missing here" in received


@given(st.lists(st.sampled_from([b"a", b"bb", b""])), st.integers(0, 8))
def test_the_last_lines_are_the_end_of_the_text(lines: list[bytes], wanted: int) -> None:
    text = b"".join(line + b"\n" for line in lines)
    assert last_lines(text, wanted) == b"".join(line + b"\n" for line in lines[-wanted:][:wanted])
