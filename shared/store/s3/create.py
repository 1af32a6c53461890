"""Create-if-absent on S3: a presigned PUT with `If-None-Match: *`.

The client has no conditional write, so it only signs the URL and the request is sent from here. A
try whose answer was lost may have written the object; the next try then meets its own object and
is told that it exists. Only the bytes show whose it is: equal bytes after such a try count as ours,
so content that names its writer (as manifests do) is never claimed by two.
"""

from __future__ import annotations

import base64
import hashlib
import random
import time
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree.ElementTree import ParseError

from minio.error import S3Error
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from shared.store.base import NotFoundError, StoreError, UnfitStoreError
from shared.store.s3.connection import Connection

FIRST_PAUSE = 0.1  # seconds, doubled after every try
LONGEST_PAUSE = 2.0  # seconds
TRIES = 10


def pauses(patience: float) -> Iterator[float]:
    """The pauses before up to TRIES tries, in seconds: 0, then growing with jitter.

    They end `patience` seconds after the first failure.
    """
    yield 0.0
    until = time.monotonic() + patience
    for number in range(TRIES - 1):
        if time.monotonic() > until:
            return
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2**number)
        yield random.uniform(longest / 2, longest)  # noqa: S311


def create_if_absent(
    connection: Connection,
    pool: Any,
    url: str,
    name: str,
    data: bytes,
    read_back: Callable[[], bytes],
    patience: float,
) -> bool:
    """Write an object only if there is none; True if this call wrote it.

    Raises StoreError when it cannot be known whether the object was written, UnfitStoreError when
    the server does not support conditional writes.
    """
    headers = {
        "If-None-Match": "*",
        "Content-Type": "application/octet-stream",
        "Content-MD5": base64.b64encode(_md5(data)).decode(),
    }
    lost = False  # a try without an answer may have written the object
    failure = StoreError(name)
    for pause in pauses(patience):
        time.sleep(pause)
        try:
            answer = pool.request(
                "PUT", url, body=data, headers=headers, retries=False, redirect=False
            )
        except HTTPError as error:
            lost = lost or not isinstance(error, NewConnectionError | ConnectTimeoutError)
            failure = connection.silence(error)
            continue
        if answer.status in (200, 201, 204):
            return True
        if answer.status == 412:
            return lost and _is_ours(name, data, read_back)
        failure = connection.refusal(name, *_reason(answer))
        if answer.status == 501:
            raise UnfitStoreError(f"the server does not know If-None-Match: {failure}")
        if answer.status not in (409, 429) and answer.status < 500:
            raise failure
        lost = lost or answer.status >= 500
    raise failure


def _is_ours(name: str, data: bytes, read_back: Callable[[], bytes]) -> bool:
    try:
        return read_back() == data
    except NotFoundError:
        raise StoreError(f"{name}: somebody removed it while it was written") from None


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _reason(answer: Any) -> tuple[str, str]:
    """Code and message of an error; not every proxy answers in XML."""
    try:
        error = S3Error.fromxml(answer)
    except (ParseError, ValueError):
        return f"HTTP {answer.status}", "no reason given"
    return error.code or f"HTTP {answer.status}", error.message or "no reason given"
