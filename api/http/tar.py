"""An artifact as a tar archive that is never stored: headers are made, files passed through."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from datetime import datetime

from shared.records.artifacts import Artifacts, Manifest
from shared.store import Store


def tar_size(manifest: Manifest) -> int:
    """The size of the archive that `tar_pieces` yields, in bytes."""
    size = 2 * tarfile.BLOCKSIZE
    for name, stored in manifest.files.items():
        size += len(_header(manifest, name)) + stored.bytes + _padding(stored.bytes)
    return size


def tar_pieces(store: Store, artifacts: Artifacts, manifest: Manifest) -> Iterator[bytes]:
    """The archive in pieces; its files are in the order of their names."""
    for name, stored in sorted(manifest.files.items()):
        yield _header(manifest, name)
        if stored.bytes:
            yield from store.open(artifacts.object_name(manifest, name))
        yield b"\0" * _padding(stored.bytes)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _header(manifest: Manifest, name: str) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = manifest.files[name].bytes
    entry.mtime = int(datetime.fromisoformat(manifest.finished).timestamp())
    return entry.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> int:
    return -size % tarfile.BLOCKSIZE
