"""The S3 client underneath the store: its address, its retries and the meaning of its errors."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self
from xml.etree.ElementTree import ParseError

import certifi
import urllib3
from minio import Minio
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError, MaxRetryError
from urllib3.util import Retry, Timeout

from shared.store.address import Address
from shared.store.base import NotFoundError, StoreError, disk_error

POOLED_CONNECTIONS = 16
RETRY_AFTER_MOST = 3.0  # seconds; a server may ask for more, but callers set their own patience
_STATUSES = (429, 500, 502, 503, 504)
_MISSING = {"NoSuchKey", "NoSuchVersion"}
_FULL = {"XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded"}
_REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"}
_ELSEWHERE = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraint"}


class Patience(Retry):
    """Retries with back-off and jitter that stop `seconds` after the first failure.

    Counting tries alone does not bound the time, since each may take a full time-out.
    """

    def __init__(
        self, *args: Any, seconds: float = 10.0, until: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.seconds = seconds
        self.until = until

    def new(self, **changes: Any) -> Self:
        """A copy with changes; urllib3 makes one after every failure."""
        return super().new(seconds=self.seconds, until=self.until, **changes)

    def increment(self, *args: Any, **kwargs: Any) -> Self:
        """Count another failure; MaxRetryError when the time is over."""
        after = super().increment(*args, **kwargs)
        moment = time.monotonic()
        if after.until is None:
            after.until = moment + after.seconds
        elif moment > after.until:
            after = after.new(total=0)
            return after.increment(*args, **kwargs)
        return after

    def parse_retry_after(self, retry_after: str) -> float:
        """The seconds that the server asks to wait, at most RETRY_AFTER_MOST."""
        return min(super().parse_retry_after(retry_after), RETRY_AFTER_MOST)


def make_pool(*, connect_timeout: float, read_timeout: float, patience: float) -> Any:
    """A connection pool that retries requests.

    Every request may be repeated: objects are written whole, and a repeated POST at worst leaves an
    unfinished upload, which servers clear away. More than POOLED_CONNECTIONS may be open at once:
    behind a hard limit, readers that hold one while they wait for another would block each other
    for ever.
    """
    return urllib3.PoolManager(
        maxsize=POOLED_CONNECTIONS,
        timeout=Timeout(connect=connect_timeout, read=read_timeout),
        cert_reqs="CERT_REQUIRED",
        ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
        retries=Patience(
            total=8,
            redirect=False,
            allowed_methods=("HEAD", "GET", "PUT", "DELETE", "POST"),
            status_forcelist=_STATUSES,
            raise_on_status=False,
            backoff_factor=0.1,
            backoff_max=2.0,
            backoff_jitter=0.3,
            seconds=patience,
        ),
    )


class Connection:
    """Makes MinIO clients for a bucket, and turns their errors into the store's."""

    def __init__(self, address: Address, bucket: str, keys: tuple[str, str], region: str) -> None:
        self.address = address
        self.bucket = bucket
        self._keys = keys
        self._region = region

    def client(self, pool: Any = None, address: Address | None = None) -> Any:
        """A client for the bucket; it is told the region, so presigning needs no network."""
        where = address or self.address
        return Minio(
            where.host,
            access_key=self._keys[0],
            secret_key=self._keys[1],
            region=self._region,
            secure=where.secure,
            http_client=pool,
        )

    @contextmanager
    def speaking(self, name: str) -> Iterator[None]:
        """Turn what the client raises about an object into the store's errors."""
        try:
            yield
        except S3Error as error:
            if error.code in _MISSING:
                raise NotFoundError(name) from None
            raise self.refusal(name, error.code, error.message) from error
        except StoreError:
            raise
        except HTTPError as error:
            raise self.silence(error) from error
        except (MinioException, ParseError, ValueError) as error:
            # The names were checked before, so a ValueError is about the server's answer.
            raise StoreError(f"{name}: not an answer of an object store: {error}") from error
        except OSError as error:
            raise disk_error(error, name) from error

    def silence(self, error: HTTPError) -> StoreError:
        """The error for no answer, without the URL that urllib3 names: it may carry a signature."""
        reason = error.reason if isinstance(error, MaxRetryError) and error.reason else error
        return StoreError(f"the object store at {self.address.host} does not answer: {reason}")

    def refusal(self, name: str, code: str | None, message: str | None) -> StoreError:
        """The error for a refusal; where a setting can put it right, the message names it."""
        if code in _REFUSED:
            return StoreError(
                f"the object store refused the credentials ({code}): check "
                "LINEAMENT_S3_ACCESS_KEY and LINEAMENT_S3_SECRET_KEY, and what they permit"
            )
        if code == "NoSuchBucket":
            return StoreError(
                f"{self.address.host} has no bucket {self.bucket!r}: check LINEAMENT_S3_BUCKET"
            )
        if code in _ELSEWHERE:
            return StoreError(
                f"the bucket {self.bucket!r} is not in {self._region} ({message}): check "
                "LINEAMENT_S3_REGION"
            )
        if code == "RequestTimeTooSkewed":
            return StoreError("this machine's clock is too far from the object store's")
        return StoreError(
            f"{name}: the object store answered {code}: {message}", full=code in _FULL
        )
