"""Keep a lease while an attempt lives, in a thread: laying out inputs, running the stage and
storing its result may each take longer than a lease.
"""

from __future__ import annotations

import contextvars
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog
from redis.exceptions import RedisError

from shared.queue.leases import Leases, LiveLog
from shared.records.attempts import Attempt

BEATS = 5  # renewals within the time that a lease lasts
LOG_TAIL = 32 << 10  # bytes of a running stage's log that are shown

log = structlog.get_logger()


class Heartbeat:
    """A context in which a lease is renewed and progress and the end of the log are published.

    `attempt` is the current record of the attempt, which its owner updates and stores.
    `renewed`: when the lease was last renewed (monotonic clock). `lost`: another attempt holds the
    lease. `unwanted`: the stage was asked to stop.
    While Redis is silent neither changes: whether another attempt took the lease shows when Redis
    answers again.
    """

    def __init__(self, leases: Leases, key: str, attempt: Attempt, seconds: float) -> None:
        self._leases = leases
        self._key = key
        self.attempt = attempt
        self._seconds = seconds
        self._began = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(
            target=contextvars.copy_context().run,  # its log lines carry the attempt's ids
            args=(self._run,),
            name=f"lease {key[:8]}",
            daemon=True,
        )
        self._silent = False
        self.renewed = self._began
        self.progress: dict[str, Any] = {}
        self.log: Path | None = None
        self.lost = False  # then `watch` kills the child, and `ending` records it
        self.unwanted = False

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set() and not self.lost:
            try:
                self._beat()
                self._silent = False
            except RedisError as error:
                if not self._silent:
                    log.warning("the lease could not be renewed", stage=self._key, error=str(error))
                self._silent = True
            self._over.wait(self._seconds / BEATS)

    def _beat(self) -> None:
        live = {
            **self.progress,
            "attempt": self.attempt.attempt,
            "host": self.attempt.host,
            "started": self.attempt.started,
            "seconds": round(time.monotonic() - self._began, 1),
        }
        self.lost = not self._leases.renew(self._key, self.attempt.attempt, live)
        if self.lost:
            return
        self.renewed = time.monotonic()
        self.unwanted = self.unwanted or self._leases.asked_to_stop(self._key)
        start, end = tail(self.log, LOG_TAIL)
        if end:
            text = end.decode(errors="replace")
            self._leases.publish_log(self._key, LiveLog(self.attempt.attempt, start, text))


def tail(path: Path | None, most: int) -> tuple[int, bytes]:
    """The last `most` bytes of a file and the offset where they begin; none if there is no file."""
    if path is None:
        return 0, b""
    try:
        with path.open("rb") as handle:
            start = max(0, path.stat().st_size - most)
            handle.seek(start)
            return start, handle.read()
    except FileNotFoundError:
        return 0, b""
