"""Reading from S3: ranges that continue after a broken connection, and parallel downloads."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from minio.error import S3Error
from urllib3.exceptions import HTTPError

from shared.store.base import StoreError
from shared.store.s3.connection import Connection
from shared.store.s3.create import pauses

PIECE = 1 << 20  # bytes read at once
_MD5 = re.compile(r"[0-9a-f]{32}")
_REPLACED = "it was replaced while it was read"


class _EmptyRange(StoreError):
    """The range begins at or after the object's end."""


class Reader:
    """Reads objects of one bucket; `key_of` turns a name into the object's key."""

    def __init__(
        self,
        connection: Connection,
        client: Any,
        key_of: Callable[[str], str],
        patience: float,
    ) -> None:
        self._connection = connection
        self._client = client
        self._key_of = key_of
        self._patience = patience

    def pieces(
        self, name: str, start: int = 0, end: int | None = None, etag: str = ""
    ) -> Iterator[bytes]:
        """The bytes of a range, in pieces.

        A missing object is noticed at once and, with an etag, so is one that was replaced.
        """
        if end is not None and end <= start:
            self._size(name)
            return iter(())
        try:
            answer = self._request(name, start, end, etag)
        except _EmptyRange:
            return iter(())
        return self._go_on(name, answer, start, whole=start == 0 and end is None)

    def _request(self, name: str, start: int, end: int | None, etag: str) -> Any:
        """The response to a ranged GET, its body not yet read."""
        with self._connection.speaking(name):
            try:
                answer = self._client.get_object(
                    self._connection.bucket,
                    self._key_of(name),
                    offset=start,
                    length=0 if end is None else end - start,
                    request_headers={"If-Match": etag} if etag else None,
                )
            except S3Error as error:
                if error.code == "InvalidRange":
                    raise _EmptyRange(f"{name}: it ends before {start}") from error
                if error.code == "PreconditionFailed":
                    raise StoreError(f"{name}: {_REPLACED}") from error
                raise
        ranged = start > 0 or end is not None
        problem = None
        if etag and answer.headers.get("ETag") != etag:  # not every server looks at If-Match
            problem = _REPLACED
        elif ranged and answer.status != 206:
            problem = "the object store does not know ranges"
        elif not answer.headers.get("Content-Length", "").isdigit():
            problem = "the object store does not say how long it is"
        if problem:
            _give_back(answer)
            raise StoreError(f"{name}: {problem}")
        return answer

    def _go_on(self, name: str, answer: Any, start: int, *, whole: bool) -> Iterator[bytes]:
        """The body of the answer; when the connection breaks, another one fetches the rest."""
        position, end = start, start + int(answer.headers["Content-Length"])
        etag = answer.headers.get("ETag", "")
        expected = _md5_of(answer) if whole else None
        digest = hashlib.md5(usedforsecurity=False)
        waits = self._waits()
        while True:
            broken, before = None, position
            try:
                for piece in answer.stream(PIECE, decode_content=False):
                    position += len(piece)
                    if expected:
                        digest.update(piece)
                    yield piece
            except HTTPError as error:
                broken = error
            finally:
                _give_back(answer)
            if position == end:
                break
            if position > before:  # only a server that sends nothing at all uses up the patience
                waits = self._waits()
            pause = next(waits, None)
            if pause is None:
                raise StoreError(f"{name}: its bytes stop at {position} of {end}") from broken
            time.sleep(pause)
            answer = self._request(name, position, end, etag)
        if expected and digest.hexdigest() != expected:
            raise StoreError(f"{name}: its bytes arrived damaged")

    def _waits(self) -> Iterator[float]:
        """The pauses between tries, in seconds."""
        waits = pauses(self._patience)
        next(waits)
        return waits

    def download(self, name: str, part: Path, part_size: int, parallel: int) -> None:
        """Write an object to a file, large ones by several ranges at once.

        Holds at most `parallel` pieces of 1 MiB in memory.
        """
        size, etag = self._size(name)
        if size <= part_size:
            with part.open("wb") as handle:
                handle.writelines(self.pieces(name))
            return
        with part.open("wb") as handle:
            handle.truncate(size)

        def fetch(start: int) -> None:
            end = min(start + part_size, size)
            with part.open("r+b") as handle:
                handle.seek(start)
                handle.writelines(self.pieces(name, start, end, etag))
                if handle.tell() != end:
                    raise StoreError(f"{name}: its bytes stop at {handle.tell()} of {size}")

        pool = ThreadPoolExecutor(parallel)
        try:
            list(pool.map(fetch, range(0, size, part_size)))
        finally:
            pool.shutdown(cancel_futures=True)

    def _size(self, name: str) -> tuple[int, str]:
        with self._connection.speaking(name):
            stat = self._client.stat_object(self._connection.bucket, self._key_of(name))
        return stat.size, stat.metadata.get("ETag", "")


def _md5_of(answer: Any) -> str | None:
    """The MD5 of the object, where its ETag is one.

    It is for an object that was written in one request; not for one written in parts (a dash
    follows), nor for one encrypted with a key of KMS or of the customer.
    """
    etag = answer.headers.get("ETag", "").strip('"')
    encryption = answer.headers.get("x-amz-server-side-encryption", "AES256")
    by_customer = "x-amz-server-side-encryption-customer-algorithm" in answer.headers
    if encryption != "AES256" or by_customer or not _MD5.fullmatch(etag):
        return None
    return str(etag)


def _give_back(answer: Any) -> None:
    """Return the connection; one whose body was not read to its end is closed."""
    answer.close()
    answer.release_conn()
