"""Unpack a model or a dictionary from an uploaded archive, and nothing else.

Only *.json and *.safetensors files are written, all directly into one directory, so that no path
in the archive becomes a path on disk. Links and escaping names are refused, pickles stay behind.
"""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from shared.stages.stage import StageError

MAX_JSON = 64 * 2**20  # bytes of one JSON file; the largest tokenizer.json in use are around 30 MB
MAX_ENTRIES = 100_000
DISK_SHARE = 0.5  # of the free disk that an archive may fill
SUFFIXES = (".json", ".safetensors")


class Refused(Exception):
    """An archive holds something unacceptable; the message continues "the uploaded model .."."""


@dataclass(frozen=True)
class Entry:
    """A regular file of an archive: its path, its size in bytes, and how to read it."""

    path: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path, form: str, target: Path, what: str = "model", config: str = "config.json"
) -> None:
    """Write the *.json and *.safetensors files beside the archive's `config` into `target`.

    Raises StageError for a damaged archive, a link or a name that leads out, files too large, or
    an archive without exactly one such directory; `what` names the upload in its message.
    """
    try:
        with _entries(archive, form) as entries:
            chosen = _files(entries, config)
            _check_sizes(chosen, target)
            for entry in chosen:
                _write(entry, target / entry.path.name)
    except Refused as error:
        raise StageError(f"the uploaded {what} {error}") from error
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, OSError,
            RuntimeError, NotImplementedError, ValueError) as error:  # fmt: skip
        raise StageError(f"the uploaded {what} is not a whole {form} archive: {error}") from error


@contextmanager
def _entries(archive: Path, form: str) -> Iterator[list[Entry]]:
    if form == "zip":
        with zipfile.ZipFile(archive) as opened:
            yield [_zip_entry(opened, item) for item in opened.infolist() if not item.is_dir()]
    else:
        with tarfile.open(archive, "r:*") as opened_tar:
            yield [_tar_entry(opened_tar, item) for item in opened_tar if not item.isdir()]


def _zip_entry(archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> Entry:
    kind = stat.S_IFMT(item.external_attr >> 16)
    path = _safe(item.filename, kind in (0, stat.S_IFREG))
    return Entry(path, item.file_size, lambda: archive.open(item))


def _tar_entry(archive: tarfile.TarFile, item: tarfile.TarInfo) -> Entry:
    path = _safe(item.name, item.isreg() and not item.issparse())

    def open_file() -> IO[bytes]:
        file = archive.extractfile(item)
        assert file is not None, "a regular file has content"
        return file

    return Entry(path, item.size, open_file)


def _safe(name: str, regular: bool) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise Refused(f"holds the name {name[:200]!r}, which leads out of the archive")
    if not regular:
        raise Refused(f"holds {name[:200]!r}, which is a link or a device")
    return path


def _files(entries: list[Entry], config: str) -> list[Entry]:
    if len(entries) > MAX_ENTRIES:
        raise Refused(f"has more than {MAX_ENTRIES} files")
    folders = {entry.path.parent for entry in entries if entry.path.name == config}
    if len(folders) != 1:
        number = f"no {config}" if not folders else f"{len(folders)} files {config}"
        raise Refused(f"has {number}: it must hold one directory with it")
    (folder,) = folders
    return [
        entry for entry in entries if entry.path.parent == folder and entry.path.suffix in SUFFIXES
    ]


def _check_sizes(entries: list[Entry], target: Path) -> None:
    for entry in entries:
        if entry.path.suffix == ".json" and entry.size > MAX_JSON:
            raise Refused(f"holds {entry.path.name} with {entry.size} bytes, more than {MAX_JSON}")
    total = sum(entry.size for entry in entries)
    if total > DISK_SHARE * shutil.disk_usage(target).free:
        raise Refused(f"unpacks to {total} bytes: the disk is too small")


def _write(entry: Entry, path: Path) -> None:
    """Copy the entry's bytes, at most as many as were announced."""
    left = entry.size
    with entry.open() as source, path.open("wb") as target:
        while left > 0 and (data := source.read(min(left, 2**20))):
            target.write(data)
            left -= len(data)
    if left:
        raise Refused(f"holds {entry.path.name}, which ends {left} bytes too early")
