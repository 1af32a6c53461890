"""Artifacts: what a stage leaves in the store, and the manifest that makes it exist.

Every attempt writes its files under a prefix of its own; the manifest, created last and only if
there is none, names the attempt whose files count. What loses the race is never read.
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
PARALLEL_FILES = 4  # files moved at once; more does not help one disk or one link


class StoredFile(BaseModel):
    """Size and content of one file of an artifact."""

    model_config = ConfigDict(frozen=True)

    bytes: int
    sha256: str

    @staticmethod
    def of(path: Path) -> StoredFile:
        """The description of a local file."""
        return StoredFile(bytes=path.stat().st_size, sha256=sha256_of(path))


class Manifest(BaseModel):
    """One finished stage. `files`, `results` and what is above them follow from the key alone;
    the rest tells how this attempt went.
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
    """Where an attempt's files lie."""
    return f"stages/{key}/files/{attempt}"


class Descriptions:
    """Describes local files, each once: a file that was not written to since is not read again."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int, int], StoredFile] = {}

    def of(self, path: Path) -> StoredFile:
        """Size and content of a file; links to one file are one file."""
        status = path.stat()
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if identity not in self._known:
            self._known[identity] = StoredFile.of(path)
        return self._known[identity]


class Delivery:
    """Moves the files of a directory into the store, under a prefix; after a failure it goes on
    with those that are left. `files` describes all of them.
    """

    def __init__(
        self, store: Store, directory: Path, prefix: str, known: Descriptions | None = None
    ) -> None:
        self.prefix = prefix
        self._store = store
        self._directory = directory
        describe = (known or Descriptions()).of
        paths = sorted(path for path in directory.rglob("*") if path.is_file())
        names = [path.relative_to(directory).as_posix() for path in paths]
        with ThreadPoolExecutor(PARALLEL_FILES) as pool:
            self.files = dict(zip(names, pool.map(describe, paths), strict=True))
        self._left = set(names)

    def deliver(self, leave: Collection[str] = ()) -> None:
        """Store what is not stored yet, except the files to `leave`; StoreError when the store
        would not take it.
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
        """True once the stage's manifest is there."""
        return self._store.stat(f"stages/{key}/manifest.json") is not None

    def manifest(self, key: str) -> Manifest | None:
        """The manifest, or None while the stage is not finished; OtherReleaseError when a newer
        release wrote it in a way that this one cannot read.
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
        """Make the artifact exist; False when another attempt already did.

        May be called again after a StoreError: that this attempt's own manifest is there then,
        because only the answer was lost, is success.
        """
        name = f"stages/{manifest.key}/manifest.json"
        if self._store.create(name, manifest.model_dump_json(indent=1).encode()):
            return True
        found = self.manifest(manifest.key)
        return found is not None and found.attempt == manifest.attempt

    def object_name(self, manifest: Manifest, file: str) -> str:
        """The object that holds a file of an artifact; KeyError if it has no such file."""
        if file not in manifest.files:
            raise KeyError(file)
        return f"{files_prefix(manifest.key, manifest.attempt)}/{file}"

    def lay_out(self, manifest: Manifest, cache: Path) -> Path:
        """A local directory with the artifact's files, to be read only.

        It is the store's own when that lies on this disk, otherwise a checked copy in `cache`.
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
            os.utime(target)  # what was used last is thrown away last
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
    """Throw away copies of artifacts, those used longest ago first, beyond `limit` bytes."""
    with contextlib.suppress(FileNotFoundError):
        found = sorted(cache.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        size = 0
        for path in found:
            size += sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            if size > limit:
                shutil.rmtree(path, ignore_errors=True)
