"""Read text files inside zip and tar archives without writing them to disk.

Every entry is checked before its content is read: a name that leads out of the archive, a link or
a device makes the whole archive unacceptable. Unpacked bytes are metered, so that a small file
cannot expand into a huge one.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from shared.data.readers import Skipped, UploadError, cut_at_blank_lines, text_lines

MAX_UNPACKED = 64 * 2**30  # bytes that may come out of one archive
MAX_RATIO = 100  # unpacked bytes per byte of the archive; source code shrinks 3 to 10 times
RATIO_FREE = 16 * 2**20  # unpacked bytes that are accepted whatever the ratio
MAX_ENTRIES = 500_000  # entries of a zip; its directory takes about 0.7 kB of memory for each
MAX_ZIP_DIRECTORY = 128 * 2**20  # bytes of a zip's directory, which is read whole
MAX_READ = 2**20  # bytes of one read in a tar; only a forged header asks for more
FILE_PIECE = 2**20  # characters after which a file of an archive is cut at the next blank line
SNIFF = 8192  # first bytes of a file, in which a zero byte means binary

DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError,
           NotImplementedError, RuntimeError, struct.error, ValueError)  # fmt: skip


class _Meter:
    """Counts the unpacked bytes of an archive of `packed` bytes; UploadError past the limits."""

    def __init__(self, packed: int) -> None:
        self._limit = min(MAX_UNPACKED, max(RATIO_FREE, MAX_RATIO * packed))
        self._spent = 0

    def spend(self, size: int) -> None:
        self._spent += size
        if self._spent > self._limit:
            raise UploadError(
                f"unpacks to more than {self._limit} bytes (at most {MAX_RATIO} times its size and "
                f"{MAX_UNPACKED // 2**30} GiB are accepted)"
            )


class _Metered(io.RawIOBase):
    """A file in a zip whose bytes are counted as they are read."""

    def __init__(self, source: IO[bytes], meter: _Meter) -> None:
        self._source = source
        self._meter = meter

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        self._meter.spend(len(data))
        buffer[: len(data)] = data
        return len(data)


class _Forward(io.RawIOBase):
    """A decompressed tar as a file for tarfile: metered, read in small pieces, never backwards."""

    def __init__(self, source: io.BufferedIOBase | IO[bytes], meter: _Meter) -> None:
        self._source = source
        self._meter = meter
        self._place = 0
        self.last = b""  # the latest block read: what the reader stopped at

    def tell(self) -> int:
        return self._place

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_READ:
            raise UploadError(f"has a header of {size} bytes")
        parts: list[bytes] = []
        while size > 0 and (data := self._source.read(size)):
            parts.append(data)
            size -= len(data)
        self.last = b"".join(parts)
        self._meter.spend(len(self.last))
        self._place += len(self.last)
        return self.last

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence != os.SEEK_SET or offset < self._place:
            raise UploadError("cannot be read in one pass")
        while self._place < offset and self.read(min(MAX_READ, offset - self._place)):
            pass
        return self._place


def _check_name(name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
        raise UploadError(f"holds the name {name[:200]!r}, which leads out of the archive")


def _texts_of_file(file: IO[bytes], meter: _Meter, skipped: Skipped) -> Iterator[str]:
    """The file as one document, or cut at blank lines when it is long; nothing if it is binary."""
    reader = io.BufferedReader(_Metered(file, meter), SNIFF)
    if b"\0" in reader.peek(SNIFF):
        skipped["binary"] += 1
        return
    try:
        yield from cut_at_blank_lines(text_lines(reader, FILE_PIECE), FILE_PIECE)
    except UnicodeDecodeError:
        skipped["not UTF-8"] += 1


def read_zip(path: Path, column: str, skipped: Skipped) -> Iterator[str]:
    """The text files of a zip, in its order; UploadError for an unsafe or damaged archive."""
    del column
    meter = _Meter(path.stat().st_size)
    try:
        _check_directory_size(path)
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > MAX_ENTRIES:
                raise UploadError(f"has more than {MAX_ENTRIES} entries; use a tar archive")
            for entry in archive.infolist():
                _check_zip_entry(entry)
            for entry in archive.infolist():
                if not entry.is_dir():
                    with archive.open(entry) as file:
                        yield from _texts_of_file(file, meter, skipped)
    except UploadError:
        raise
    except DAMAGED as error:
        raise UploadError(f"is not a whole zip archive: {error or type(error).__name__}") from error


def _check_zip_entry(entry: zipfile.ZipInfo) -> None:
    _check_name(entry.filename)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UploadError(f"holds {entry.filename[:200]!r}, which is a link or a device")
    if entry.flag_bits & 1:
        raise UploadError(f"holds {entry.filename[:200]!r}, which is encrypted")


def _check_directory_size(path: Path) -> None:
    """Refuse a huge directory, which zipfile reads whole (PKWARE APPNOTE 4.3.14, 4.3.16)."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        start = file.seek(max(0, end - 22 - 2**16))
        tail = file.read()
        place = tail.rfind(b"PK\5\6")
        if place < 0 or place + 22 > len(tail):
            raise UploadError("is not a whole zip archive: its end is missing")
        size = struct.unpack_from("<I", tail, place + 12)[0]
        if size == 0xFFFFFFFF:  # the real number is in the zip64 record
            file.seek(start + place - 20)
            file.seek(struct.unpack("<4sIQI", file.read(20))[2])
            size = struct.unpack("<40sQ", file.read(48))[1]
    if size > MAX_ZIP_DIRECTORY:
        raise UploadError(f"has a directory of {size} bytes; use a tar archive")


def _unpacked(path: Path) -> io.BufferedIOBase | IO[bytes]:
    """Open the tar, decompressed as its first bytes indicate."""
    with path.open("rb") as file:
        magic = file.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.open(path, "rb")
    if magic.startswith(b"BZh"):
        return bz2.open(path, "rb")
    if magic.startswith(b"\xfd7zXZ\0"):
        return lzma.open(path, "rb")
    return path.open("rb")


def read_tar(path: Path, column: str, skipped: Skipped) -> Iterator[str]:
    """The text files of a tar (plain, gzip, bzip2, xz), in its order and in one pass.

    Raises UploadError for an unsafe or damaged archive.
    """
    del column
    try:
        with _unpacked(path) as unpacked:
            source = _Forward(unpacked, _Meter(path.stat().st_size))
            with tarfile.TarFile(fileobj=source, mode="r") as archive:
                while (entry := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined]  # else all stay in memory
                    yield from _texts_of_tar_entry(archive, entry, skipped)
            if source.last.strip(b"\0"):  # tarfile takes a bad header for the end
                raise UploadError(f"is damaged near byte {source.tell()}")
            if not source.last:
                raise UploadError("is not a whole tar archive: its end is missing")
    except UploadError:
        raise
    except DAMAGED as error:
        raise UploadError(f"is not a whole tar archive: {error or type(error).__name__}") from error


def _texts_of_tar_entry(
    archive: tarfile.TarFile, entry: tarfile.TarInfo, skipped: Skipped
) -> Iterator[str]:
    _check_name(entry.name)
    if entry.isdir():
        return
    if not entry.isreg() or entry.issparse():
        raise UploadError(f"holds {entry.name[:200]!r}, which is a link, a device or sparse")
    file = archive.extractfile(entry)
    assert file is not None
    with file:
        # The decompressed stream is metered already.
        yield from _texts_of_file(file, _Meter(MAX_UNPACKED), skipped)
