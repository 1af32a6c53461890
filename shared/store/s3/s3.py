"""The object store on an S3 server, through the public methods of the MinIO client.

Three files repeat what fails: `connection` small requests (in its pool), `create` a conditional
create, and `read` continues a broken read where it stopped.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

from minio.error import S3Error

from shared.store.address import Address
from shared.store.base import NotFoundError, ObjectInfo, StoreError, beside, checked
from shared.store.s3.connection import Connection, make_pool
from shared.store.s3.create import create_if_absent
from shared.store.s3.read import Reader

PART_SIZE = 8 << 20  # bytes; 10 000 parts make 80 GB, files above that get larger parts
LEAST_PART = 5 << 20  # bytes; S3's rule
MOST_PARTS = 9_999
PARALLEL = 3
CREATE_EXPIRES = timedelta(minutes=10)  # of the URL that a create is sent to
LONGEST_PRESIGN = 7 * 24 * 3600  # seconds; S3's own limit


class S3Store:
    """Objects in a bucket. Use one instance per process: connections do not survive a fork.

    An upload holds (parallel + 2) x part_size in memory, 40 MiB by default: the parts under way,
    one waiting, one being read. The client's threads keep a part until they get the next, so it
    may be (2 x parallel + 2) x part_size for a moment. A download holds about `parallel` MiB. An
    upload that dies with its process leaves parts without an object: servers drop them after a day
    (MinIO) or by a life-cycle rule (AbortIncompleteMultipartUpload).
    """

    def __init__(
        self,
        *,
        endpoint: str,
        bucket: str,
        access_key: str,
        secret_key: str,
        region: str = "us-east-1",
        secure: bool = True,
        public_endpoint: str = "",
        prefix: str = "",
        part_size: int = PART_SIZE,
        parallel: int = PARALLEL,
        connect_timeout: float = 3.0,
        read_timeout: float = 30.0,
        patience: float = 10.0,
    ) -> None:
        """Configure the client; nothing is sent yet.

        Endpoints are host:port or URLs; `secure` applies to those without a scheme.
        `public_endpoint` is the server's address in presigned URLs. Times are in seconds:
        `read_timeout` between two bytes, `patience` from the first failure to the last try.
        """
        if part_size < LEAST_PART:
            raise ValueError(f"a part has at least {LEAST_PART} bytes, not {part_size}")
        address = Address.parse(endpoint, secure)
        public = Address.parse(public_endpoint or endpoint, secure)
        self._connection = Connection(address, bucket, (access_key, secret_key), region)
        self._pool = make_pool(
            connect_timeout=connect_timeout, read_timeout=read_timeout, patience=patience
        )
        self._client = self._connection.client(self._pool)
        self._public = self._connection.client(address=public)
        self._bucket = bucket
        self._prefix = f"{checked(prefix.strip('/'))}/" if prefix.strip("/") else ""
        self._part_size = part_size
        self._parallel = parallel
        self._patience = patience
        self._reader = Reader(self._connection, self._client, self._key, patience)

    def ensure_bucket(self) -> None:
        """Create the bucket if it is missing; StoreError names the setting that is wrong."""
        with self._connection.speaking(self._bucket):
            if self._client.bucket_exists(self._bucket):
                return
            try:
                self._client.make_bucket(self._bucket)
            except S3Error as error:  # another process was faster, or our answer was lost
                if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise

    def _key(self, name: str) -> str:
        return self._prefix + checked(name)

    # ------------------------------------------------------------------------------------ writing

    def put(self, name: str, data: bytes) -> None:
        """See Store."""
        self._twice(lambda: self._upload(name, io.BytesIO(data), len(data)))

    def put_file(self, name: str, path: Path) -> None:
        """See Store. The file stays where it is."""

        def upload() -> None:
            with path.open("rb") as handle:
                self._upload(name, handle, path.stat().st_size)

        self._twice(upload)

    def put_stream(self, name: str, stream: BinaryIO) -> None:
        """See Store. Parts are sent one after the other: with several under way, a stream that
        fails would leave the client's threads waiting for ever.
        """
        source = _Source(stream)
        try:
            self._upload(name, source, -1)
        except Exception:
            if source.error is not None:
                raise source.error from None
            raise

    def _upload(self, name: str, stream: Any, size: int) -> None:
        """Write one object from a stream of `size` bytes, -1 if unknown."""
        key = self._key(name)
        with self._connection.speaking(name):
            result = self._client.put_object(
                self._bucket,
                key,
                stream,
                size,
                part_size=max(self._part_size, size // MOST_PARTS + 1),
                num_parallel_uploads=self._parallel if size >= 0 else 1,
            )
        if not result.etag:  # the end of an upload may be answered by 200 with an error inside
            raise StoreError(f"{name}: the object store did not say that it was written")

    @staticmethod
    def _twice(upload: Callable[[], None]) -> None:
        """Upload, and repeat it if the answer to the end of an upload in parts was lost.

        The repeated last request then finds no such upload, and what became of it is unknown.
        """
        try:
            upload()
        except StoreError as error:
            if getattr(error.__cause__, "code", None) != "NoSuchUpload":
                raise
            upload()

    def create(self, name: str, data: bytes) -> bool:
        """See Store."""
        key = self._key(name)
        url = self._client.presigned_put_object(self._bucket, key, CREATE_EXPIRES)
        return create_if_absent(
            self._connection, self._pool, url, name, data, lambda: self.get(name), self._patience
        )

    def delete(self, name: str) -> None:
        """See Store."""
        key = self._key(name)
        try:
            with self._connection.speaking(name):
                self._client.remove_object(self._bucket, key)
        except NotFoundError:
            pass

    # ------------------------------------------------------------------------------------ reading

    def get(self, name: str) -> bytes:
        """See Store. The content is checked against the server's MD5, if it gives one."""
        return b"".join(self.open(name))

    def open(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See Store. If the object is replaced meanwhile, StoreError is raised: never a mix."""
        checked(name)
        if start < 0:
            raise ValueError(f"a range cannot start at {start}")
        return self._reader.pieces(name, start, end)

    def download(self, name: str, path: Path) -> None:
        """See Store."""
        checked(name)
        with self._connection.speaking(name), beside(path) as part:
            self._reader.download(name, part, self._part_size, self._parallel)

    def stat(self, name: str) -> ObjectInfo | None:
        """See Store."""
        key = self._key(name)
        try:
            with self._connection.speaking(name):
                stat = self._client.stat_object(self._bucket, key)
        except NotFoundError:
            return None
        return ObjectInfo(name, stat.size, _modified(stat))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See Store."""
        start = f"{self._key(prefix.rstrip('/'))}/"
        with self._connection.speaking(prefix):
            # Names are plain ASCII, so they need no encoding, which servers do in several ways.
            objects = self._client.list_objects(
                self._bucket, start, recursive=True, use_url_encoding_type=False
            )
            for entry in objects:
                name = entry.object_name.removeprefix(self._prefix)
                yield ObjectInfo(name, entry.size, _modified(entry))

    def local_path(self, name: str) -> Path | None:
        """See Store. Always None: a bucket lies on no local disk."""
        checked(name)
        return None

    def presign(self, name: str, seconds: int) -> str | None:
        """See Store. Valid for at most seven days."""
        key = self._key(name)
        if not 1 <= seconds <= LONGEST_PRESIGN:
            raise ValueError(f"a URL can be valid for 1 to {LONGEST_PRESIGN} seconds")
        url: str = self._public.presigned_get_object(self._bucket, key, timedelta(seconds=seconds))
        return url


class _Source:
    """A stream that records its own error, so that it is not taken for the store's."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """Read from the stream."""
        try:
            return self._stream.read(size)
        except Exception as error:
            self.error = error
            raise


def _modified(entry: Any) -> float:
    """Time of the last change, seconds since the epoch; 0 where the server does not give it."""
    return float(entry.last_modified.timestamp()) if entry.last_modified else 0.0
