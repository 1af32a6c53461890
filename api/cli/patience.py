"""Waiting for a server that is away for a moment: it or the network restarts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds between two tries


class Unreachable(Exception):
    """The server does not answer; the sentence is for the user."""


class Patience:
    """Measures how long a server has been away, over consecutive failed tries.

    `say` is called once, with a sentence, when waiting begins.
    """

    def __init__(self, url: str, seconds: float, say: Callable[[str], None]) -> None:
        self._url = url
        self._seconds = seconds
        self._say = say
        self._began: float | None = None
        self._pause = FIRST_PAUSE

    def wait(self, trouble: object) -> None:
        """Sleep before the next try; raises Unreachable when the server was away for too long."""
        moment = time.monotonic()
        if self._began is None:
            self._began = moment
            if self._seconds:
                self._say(f"{self._url} does not answer; trying for {self._seconds:.0f} s")
        if moment + self._pause - self._began > self._seconds:
            self.fail(trouble)
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def fail(self, trouble: object) -> NoReturn:
        """Give up: raise Unreachable."""
        raise Unreachable(f"{self._url} does not answer: {trouble}")
