"""Artifacts: what a stage leaves in the store, and the manifest that makes it exist.

Every attempt writes its files under a prefix of its own; the manifest, created last and only if
there is none, names the attempt whose files count. What loses the race is never read.
"""

from __future__ import annotations

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from shared.store import NotFoundError, Store

PIECE = 1 << 20  # bytes hashed at once
PARALLEL_FILES = 4  # files moved at once; more does not help one disk or one link


class StoredFile(BaseModel):
    """Size and content of one file of an artifact."""

    model_config = ConfigDict(frozen=True)

    bytes: int
    sha256: str


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


class Artifacts:
    """Reading and committing artifacts."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def exists(self, key: str) -> bool:
        """True once the stage's manifest is there."""
        return self._store.stat(f"stages/{key}/manifest.json") is not None

    def manifest(self, key: str) -> Manifest | None:
        """The manifest, or None while the stage is not finished."""
        try:
            return Manifest.model_validate_json(self._store.get(f"stages/{key}/manifest.json"))
        except NotFoundError:
            return None

    def upload(self, key: str, attempt: str, directory: Path) -> dict[str, StoredFile]:
        """Move the files of a finished attempt into the store."""
        paths = sorted(path for path in directory.rglob("*") if path.is_file())

        def move(path: Path) -> tuple[str, StoredFile]:
            name = path.relative_to(directory).as_posix()
            stored = StoredFile(bytes=path.stat().st_size, sha256=sha256_of(path))
            self._store.put_file(f"{files_prefix(key, attempt)}/{name}", path)
            return name, stored

        with ThreadPoolExecutor(PARALLEL_FILES) as pool:
            return dict(pool.map(move, paths))

    def commit(self, manifest: Manifest) -> bool:
        """Make the artifact exist; False when another attempt already did."""
        return self._store.create(
            f"stages/{manifest.key}/manifest.json", manifest.model_dump_json(indent=1).encode()
        )

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
            return target
        part = target.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)

        def fetch(name: str) -> None:
            path = part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._store.download(f"{prefix}/{name}", path)
            if sha256_of(path) != manifest.files[name].sha256:
                raise OSError(f"{manifest.key}/{name} does not have the content it was stored with")

        with ThreadPoolExecutor(PARALLEL_FILES) as pool:
            list(pool.map(fetch, manifest.files))
        part.rename(target)
        return target
