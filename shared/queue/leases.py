"""Leases in Redis: which attempt computes a stage right now, and how far it has got.

A lease is a key with a time to live that its holder renews. Losing it costs nothing but repeated
work: only the manifest's conditional create decides whose result counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, cast

from redis import Redis

BELL = "lineament:bell"  # a Redis list of hints: what has changed and may need a doorbell
HINTS = 1000  # hints that the bell holds at most; losing one costs a little time

# Renew the lease, or take it back when it vanished (Redis was flushed) and nobody else has it.
_RENEW = """
local holder = redis.call('GET', KEYS[1])
if holder == false or holder == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[2])
  return 1
end
return 0
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1], KEYS[2])
end
return 0
"""


def _lease(key: str) -> str:
    return f"lineament:lease:{key}"


def _progress(key: str) -> str:
    return f"lineament:progress:{key}"


def rung(key: str) -> str:
    """The Redis key that exists for a while after a stage's doorbell was rung."""
    return f"lineament:rung:{key}"


def _hindered(key: str) -> str:
    return f"lineament:hindered:{key}"


def _stop(key: str) -> str:
    return f"lineament:stop:{key}"


def _log(key: str) -> str:
    return f"lineament:log:{key}"


@dataclass(frozen=True)
class LiveLog:
    """The end of a running attempt's log; `start` is its byte offset in the whole log."""

    attempt: str
    start: int
    text: str


class Leases:
    """All leases of one installation."""

    def __init__(self, redis: Redis, seconds: float) -> None:
        self._redis = redis
        self._milliseconds = int(seconds * 1000)
        self._renew_script = redis.register_script(_RENEW)
        self._release_script = redis.register_script(_RELEASE)

    def acquire(self, key: str, attempt: str) -> bool:
        """Take the lease of a stage; False when another attempt holds it.

        Either way the doorbell counts as answered: it may be rung again once the lease is free.
        """
        taken = bool(self._redis.set(_lease(key), attempt, nx=True, px=self._milliseconds))
        self._redis.delete(rung(key))
        if taken:
            self.ring(f"stage:{key}")  # there is room in the queue
        return taken

    def renew(self, key: str, attempt: str, progress: dict[str, Any]) -> bool:
        """Renew the lease and publish progress; False when another attempt holds it now."""
        arguments: list[str | int] = [attempt, self._milliseconds, json.dumps(progress)]
        return bool(self._renew_script(keys=[_lease(key), _progress(key)], args=arguments))

    def release(self, key: str, attempt: str) -> None:
        """Give the lease back, if it is still ours, and ring the bell."""
        self._release_script(keys=[_lease(key), _progress(key)], args=[attempt])
        self.ring(f"stage:{key}")

    def live(self, keys: Iterable[str]) -> dict[str, str]:
        """The attempt that holds the lease, for each of these stages that is leased."""
        names = list(keys)
        values = self._mget([_lease(key) for key in names])
        return {key: value for key, value in zip(names, values, strict=True) if value}

    def progress(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The latest progress, for each of these stages that is running."""
        names = list(keys)
        values = self._mget([_progress(key) for key in names])
        return {key: json.loads(value) for key, value in zip(names, values, strict=True) if value}

    def _mget(self, names: list[str]) -> list[str | None]:
        return cast("list[str | None]", self._redis.mget(names)) if names else []

    def publish_log(self, key: str, log: LiveLog) -> None:
        """Publish the end of a running attempt's log; it expires unless it is published again."""
        self._redis.set(_log(key), json.dumps(asdict(log)), px=5 * self._milliseconds)

    def live_log(self, key: str) -> LiveLog | None:
        """The end of the running attempt's log; None when none runs or it has written nothing."""
        value = cast("str | None", self._redis.get(_log(key)))
        if not value:
            return None
        log = json.loads(value)  # a worker of a newer release may publish more fields
        return LiveLog(log["attempt"], log["start"], log["text"])

    def ask_to_stop(self, key: str) -> None:
        """Ask the stage's running attempt to leave; the request expires after five lease times."""
        self._redis.set(_stop(key), "1", px=5 * self._milliseconds)

    def asked_to_stop(self, key: str) -> bool:
        """True when the stage was asked to stop: nobody wants it any more."""
        return bool(self._redis.exists(_stop(key)))

    def clear_stop(self, key: str) -> None:
        """Withdraw a request to stop (the experiment was taken up again)."""
        self._redis.delete(_stop(key))

    def recently_rung(self, keys: Iterable[str]) -> set[str]:
        """Those of these stages whose doorbell was rung a moment ago or that are put off."""
        names = list(keys)
        values = self._mget([rung(key) for key in names])
        return {key for key, value in zip(names, values, strict=True) if value}

    def put_off(self, key: str, most: float) -> float:
        """Silence a stage's doorbell for a while; returns for how many seconds.

        The time doubles with every call within an hour, up to `most` seconds.
        """
        times = self._redis.incr(_hindered(key))
        self._redis.expire(_hindered(key), 3600)
        seconds = min(most, 2.0 ** min(times, 30))
        self._redis.set(rung(key), "later", px=int(seconds * 1000))
        return seconds

    def put_aside(self, key: str, seconds: float) -> None:
        """Silence a stage's doorbell for `seconds`: the wrong worker took its message."""
        self._redis.set(rung(key), "later", px=int(seconds * 1000))
        self.ring(f"stage:{key}")  # there is room in the queue

    def ring(self, hint: str = "experiments") -> None:
        """Wake the reconciler with a hint where to look (see shared.experiments.reconciler)."""
        with self._redis.pipeline() as pipe:
            pipe.lpush(BELL, hint)
            pipe.ltrim(BELL, 0, HINTS - 1)
            pipe.execute()

    def wait_for_bell(self, seconds: float) -> list[str]:
        """Sleep until the bell rings, at most `seconds`; returns the hints that were pushed."""
        first = cast("tuple[str, str] | None", self._redis.brpop([BELL], timeout=seconds))
        if first is None:
            return []
        with self._redis.pipeline() as pipe:
            pipe.lrange(BELL, 0, -1)
            pipe.delete(BELL)
            more = cast("list[str]", pipe.execute()[0])
        return [first[1], *more]
