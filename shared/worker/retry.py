"""Retry while the store does not answer, as long as the result may still be wanted."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from shared.store import StoreError

FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0  # seconds between tries; doubled each time, with jitter

T = TypeVar("T")
log = structlog.get_logger()


def patiently(action: Callable[[], T], give_up: Callable[[], bool]) -> T:
    """The result of `action`, tried again after a StoreError until `give_up` returns True.

    Then raises the last StoreError. The waits are jittered, so that the workers of a cluster do not
    all return at once to a store that has just recovered.
    """
    wait = FIRST_WAIT
    while True:
        try:
            return action()
        except StoreError as error:
            if give_up():
                raise
            log.warning("the store did not answer; trying again", error=str(error))
        time.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311
        wait = min(2 * wait, LONGEST_WAIT)
