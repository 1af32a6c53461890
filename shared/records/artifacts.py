"""Artifacts: the files that a stage leaves in the store, and the manifest that makes them exist.

Every attempt writes its files under a prefix of its own. The manifest, created last and only if
there is none, names the attempt whose files count; those of the others are never read.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from shared.records.releases import read_record
from shared.store import NotFoundError, Store

PIECE = 1 << 20  # bytes hashed at once
PARALLEL_FILES = 4  # files moved at once; more do not help a single disk or network link


class StoredFile(BaseModel):
    """Size and content of one file of an artifact."""

    model_config = ConfigDict(frozen=True)

    bytes: int
    sha256: str

    @staticmethod
    def of(path: Path) -> StoredFile:
        """Describe a local file."""
        return StoredFile(bytes=path.stat().st_size, sha256=sha256_of(path))


class Manifest(BaseModel):
    """A finished stage. The fields up to `results` follow from the key alone; the others record
    how this attempt went.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    kind: str
    version: int
    parameters: dict[str, Any]
    inputs: dict[str, str]
    files: dict[str, StoredFile]
    results: dict[str, Any]
    attempt: str
    started: str
    finished: str
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int
    host: str
    hardware: dict[str, Any]
    libraries: dict[str, str]
    log: str


def sha256_of(path: Path) -> str:
    """The sha256 of a file, hex, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while piece := handle.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def files_prefix(key: str, attempt: str) -> str:
    """The prefix of an attempt's files in the store."""
    return f"stages/{key}/files/{attempt}"


class Descriptions:
    """Descriptions of local files; a file is read again only when it has changed."""

    def __init__(self) -> None:
        self._files: dict[tuple[int, int, int, int], StoredFile] = {}

    def of(self, path: Path) -> StoredFile:
        """Describe a file; hard links to one file count as that file."""
        status = path.stat()
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if identity not in self._files:
            self._files[identity] = StoredFile.of(path)
        return self._files[identity]


class Delivery:
    """Moves the files of a directory into the store, under a prefix. `files` describes them all.

    After a failure, the next call continues with the files that are left.
    """

    def __init__(
        self, store: Store, directory: Path, prefix: str, descriptions: Descriptions | None = None
    ) -> None:
        self.prefix = prefix
        self._store = store
        self._directory = directory
        describe = (descriptions or Descriptions()).of
        paths = sorted(path for path in directory.rglob("*") if path.is_file())
        names = [path.relative_to(directory).as_posix() for path in paths]
        with ThreadPoolExecutor(PARALLEL_FILES) as pool:
            self.files = dict(zip(names, pool.map(describe, paths), strict=True))
        self._left = set(names)

    def deliver(self, leave: Collection[str] = ()) -> None:
        """Store the files that are not stored yet, except those to `leave`.

        Raises StoreError when the store does not take one.
        """

        def move(name: str) -> None:
            self._store.put_file(f"{self.prefix}/{name}", self._directory / name)
            self._left.discard(name)

        with ThreadPoolExecutor(PARALLEL_FILES) as pool:
            list(pool.map(move, sorted(self._left.difference(leave))))


class Artifacts:
    """Reading and committing artifacts."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def exists(self, key: str) -> bool:
        """True once the stage has a manifest."""
        return self._store.stat(f"stages/{key}/manifest.json") is not None

    def manifest(self, key: str) -> Manifest | None:
        """The manifest, or None while the stage is not finished.

        Raises OtherReleaseError when a newer release wrote it in a form that this one cannot read.
        """
        try:
            data = self._store.get(f"stages/{key}/manifest.json")
        except NotFoundError:
            return None
        return read_record(Manifest, data, f"the artifact {key[:12]}")

    def delivery(self, key: str, attempt: str, directory: Path) -> Delivery:
        """The files of a finished attempt, to be delivered before the manifest is committed."""
        return Delivery(self._store, directory, files_prefix(key, attempt))

    def commit(self, manifest: Manifest) -> bool:
        """Make the artifact exist; False when another attempt already has.

        May be called again after a StoreError. If only the store's answer was lost, this attempt's
        own manifest is there by then, which is a success.
        """
        name = f"stages/{manifest.key}/manifest.json"
        if self._store.create(name, manifest.model_dump_json(indent=1).encode()):
            return True
        committed = self.manifest(manifest.key)
        return committed is not None and committed.attempt == manifest.attempt

    def object_name(self, manifest: Manifest, file: str) -> str:
        """The name of the object that holds a file; KeyError if the artifact has no such file."""
        if file not in manifest.files:
            raise KeyError(file)
        return f"{files_prefix(manifest.key, manifest.attempt)}/{file}"

    def lay_out(self, manifest: Manifest, cache: Path) -> Path:
        """A local directory with the artifact's files, which must not be changed.

        It is the store's own where the store lies on this disk, else a verified copy in `cache`.
        """
        prefix = files_prefix(manifest.key, manifest.attempt)
        if not manifest.files:
            (cache / "empty").mkdir(parents=True, exist_ok=True)
            return cache / "empty"
        own = self._store.local_path(prefix)
        if own is not None:
            return own
        return self._copy(manifest, prefix, cache / manifest.key)

    def _copy(self, manifest: Manifest, prefix: str, target: Path) -> Path:
        if target.exists():
            os.utime(target)  # `shrink` removes the copies used longest ago
            return target
        part = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")

        def fetch(name: str) -> None:
            path = part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._store.download(f"{prefix}/{name}", path)
            if sha256_of(path) != manifest.files[name].sha256:
                raise OSError(f"{manifest.key}/{name} does not have the content it was stored with")

        try:
            with ThreadPoolExecutor(PARALLEL_FILES) as pool:
                list(pool.map(fetch, manifest.files))
            with contextlib.suppress(OSError):  # another worker of this machine was first
                part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return target


def shrink(cache: Path, limit: int) -> None:
    """Delete copies of artifacts beyond `limit` bytes, those used longest ago first."""
    with contextlib.suppress(FileNotFoundError):
        copies = sorted(cache.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        size = 0
        for path in copies:
            size += sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            if size > limit:
                shutil.rmtree(path, ignore_errors=True)
