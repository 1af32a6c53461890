"""Leases against a real Valkey."""

from __future__ import annotations

import time

from redis import Redis

from shared.queue.leases import Leases, rung


def test_a_lease_belongs_to_one_attempt_until_it_is_released(redis: Redis) -> None:
    leases = Leases(redis, 10)
    assert leases.acquire("k", "one")
    assert not leases.acquire("k", "two")
    assert leases.live(["k", "other"]) == {"k": "one"}
    leases.release("k", "two")
    assert leases.live(["k"]) == {"k": "one"}, "only the holder can release"
    leases.release("k", "one")
    assert leases.acquire("k", "two")


def test_a_silent_holder_loses_its_lease(redis: Redis) -> None:
    leases = Leases(redis, 0.2)
    leases.acquire("k", "one")
    time.sleep(0.3)
    assert leases.live(["k"]) == {}
    assert leases.acquire("k", "two")
    assert not leases.renew("k", "one", {})


def test_renewing_keeps_the_lease_and_publishes_progress(redis: Redis) -> None:
    leases = Leases(redis, 0.3)
    leases.acquire("k", "one")
    for step in range(4):
        time.sleep(0.15)
        assert leases.renew("k", "one", {"done": step})
    assert leases.progress(["k"]) == {"k": {"done": 3}}
    leases.release("k", "one")
    assert leases.progress(["k"]) == {}


def test_after_a_flush_the_holder_takes_its_lease_back(redis: Redis) -> None:
    leases = Leases(redis, 10)
    leases.acquire("k", "one")
    redis.flushall()
    assert leases.renew("k", "one", {})
    assert not leases.acquire("k", "two")


def test_taking_the_lease_answers_the_doorbell(redis: Redis) -> None:
    redis.set(rung("k"), "1")
    Leases(redis, 10).acquire("k", "one")
    assert not redis.exists(rung("k"))


def test_the_bell_wakes_who_waits_and_does_not_pile_up(redis: Redis) -> None:
    leases = Leases(redis, 10)
    for _ in range(100):
        leases.ring()
    began = time.monotonic()
    leases.wait_for_bell(5)
    assert time.monotonic() - began < 2
    began = time.monotonic()
    leases.wait_for_bell(0.2)
    assert time.monotonic() - began >= 0.15


def test_a_request_to_stop_is_seen_and_can_be_taken_back(redis: Redis) -> None:
    leases = Leases(redis, 10)
    leases.ask_to_stop("k")
    assert leases.asked_to_stop("k")
    leases.clear_stop("k")
    assert not leases.asked_to_stop("k")
