"""How many requests one key, or one client, may send: the `limits` package on the same Redis."""

from __future__ import annotations

import math
import time
from functools import lru_cache

import structlog
from anyio import CapacityLimiter, to_thread
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

PREFIX = "lineament-rate"
PATIENCE = 0.25  # seconds for an answer of Redis; a request must not wait for its own counting
REST = 5.0  # seconds without asking a Redis that did not answer
THREADS = 8  # of the limiter's own: slow reads of the store, which hold the others, do not delay it

log = structlog.get_logger()


class Rates:
    """Counts requests in sliding windows that all API processes share.

    The limits are not worth an outage: when Redis does not answer, every request passes.
    """

    def __init__(self, redis_url: str) -> None:
        storage = RedisStorage(
            redis_url.replace("unix://", "redis+unix://", 1),
            key_prefix=PREFIX,
            wrap_exceptions=True,
            protocol=2,
            socket_timeout=PATIENCE,
            socket_connect_timeout=PATIENCE,
        )
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._threads = CapacityLimiter(THREADS)
        self._resting_until = 0.0
        self._answers = True

    async def wait(self, who: str, rate: str) -> int | None:
        """Count a request; None when it may pass, else the whole seconds until the next may.

        `rate` is a number over a unit of time ("1200/minute"), or "off".
        """
        if rate == "off" or time.monotonic() < self._resting_until:
            return None
        return await to_thread.run_sync(self._count, who, rate, limiter=self._threads)

    def _count(self, who: str, rate: str) -> int | None:
        item = _parsed(rate)
        try:
            passes = self._limiter.hit(item, who)
            reset = 0.0 if passes else self._limiter.get_window_stats(item, who).reset_time
        except StorageError as error:
            self._rest(error)
            return None
        self._answers = True
        return None if passes else max(1, math.ceil(reset - time.time()))

    def _rest(self, error: StorageError) -> None:
        self._resting_until = time.monotonic() + REST
        if self._answers:  # logged once, not at every request
            log.warning("rates are not limited: Redis does not answer", error=str(error))
        self._answers = False


@lru_cache(1024)
def _parsed(rate: str) -> RateLimitItem:
    return parse(rate)
