"""A store that counts and times the requests it passes on to another store."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from shared.store import NotFoundError, ObjectInfo, Store, StoreError
from shared.telemetry.metrics.process import ProcessMetrics

VERBS = (
    *("put", "put_file", "put_stream", "create", "delete"),
    *("get", "open", "read", "download", "stat", "list"),
)


class MeasuredStore:
    """Passes every verb on to `inner`, counts it by outcome, times it and counts bytes moved."""

    def __init__(self, inner: Store, metrics: ProcessMetrics) -> None:
        self.inner = inner
        self._metrics = metrics
        for verb in VERBS:  # a rate does not see a series that begins at 1
            metrics.store_requests.labels(verb, "error")

    @contextlib.contextmanager
    def _measured(self, verb: str, timed: bool = True) -> Iterator[None]:
        began = time.perf_counter()
        outcome = "ok"  # also for a reader that has enough before the end
        try:
            yield
        except NotFoundError:
            outcome = "absent"
            raise
        except StoreError:
            outcome = "error"
            raise
        except Exception:  # an invalid name, a stream that failed: the caller's own fault
            outcome = "refused"
            raise
        finally:
            self._metrics.store_requests.labels(verb, outcome).inc()
            if timed:
                self._metrics.store_seconds.labels(verb).observe(time.perf_counter() - began)

    def _moved(self, direction: str, count: int) -> None:
        self._metrics.store_bytes.labels(direction).inc(count)

    def put(self, name: str, data: bytes) -> None:
        """See Store."""
        with self._measured("put"):
            self.inner.put(name, data)
        self._moved("written", len(data))

    def put_file(self, name: str, path: Path) -> None:
        """See Store."""
        size = path.stat().st_size  # before: the file may be moved
        with self._measured("put_file"):
            self.inner.put_file(name, path)
        self._moved("written", size)

    def put_stream(self, name: str, stream: BinaryIO) -> None:
        """See Store."""
        counted = _Counted(stream)
        with self._measured("put_stream"):
            self.inner.put_stream(name, cast(BinaryIO, counted))
        self._moved("written", counted.bytes)

    def create(self, name: str, data: bytes) -> bool:
        """See Store."""
        with self._measured("create"):
            first = self.inner.create(name, data)
        self._moved("written", len(data) if first else 0)
        return first

    def get(self, name: str) -> bytes:
        """See Store."""
        with self._measured("get"):
            data = self.inner.get(name)
        self._moved("read", len(data))
        return data

    def open(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See Store."""
        with self._measured("open"):
            pieces = self.inner.open(name, start, end)
        return self._read(pieces)

    def _read(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        # Not timed, as with list: how long it takes is the reader's choice.
        with self._measured("read", timed=False):
            for piece in pieces:
                self._moved("read", len(piece))
                yield piece

    def download(self, name: str, path: Path) -> None:
        """See Store."""
        with self._measured("download"):
            self.inner.download(name, path)
        self._moved("read", path.stat().st_size)

    def stat(self, name: str) -> ObjectInfo | None:
        """See Store."""
        with self._measured("stat"):
            return self.inner.stat(name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See Store."""
        with self._measured("list", timed=False):
            yield from self.inner.list(prefix)

    def delete(self, name: str) -> None:
        """See Store."""
        with self._measured("delete"):
            self.inner.delete(name)

    def local_path(self, name: str) -> Path | None:
        """See Store."""
        return self.inner.local_path(name)

    def presign(self, name: str, seconds: int) -> str | None:
        """See Store."""
        return self.inner.presign(name, seconds)


class _Counted:
    """A stream that counts the bytes read from it; stores only read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.bytes = 0

    def read(self, size: int = -1) -> bytes:
        """Read from the stream."""
        piece = self._stream.read(size)
        self.bytes += len(piece)
        return piece
