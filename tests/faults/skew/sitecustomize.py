"""Imported by every Python that starts with this folder on PYTHONPATH: its clock is off.

libfaketime would do the same for any program, but makes time.sleep fail on Python 3.11, which
sleeps until an absolute time of a clock that libfaketime does not know.
"""

from __future__ import annotations

import datetime
import os
import time
from typing import Any

OFFSET = float(os.environ["LINEAMENT_TEST_SKEW"])  # seconds; the wall clock only
_time, _datetime = time.time, datetime.datetime


class _Skewed(_datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _datetime.now(tz) + datetime.timedelta(seconds=OFFSET)

    @classmethod
    def utcnow(cls) -> Any:
        return _datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=OFFSET)


time.time = lambda: _time() + OFFSET
datetime.datetime = _Skewed  # type: ignore[misc]
