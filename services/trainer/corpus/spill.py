"""Documents sorted by key and deduplicated on disk, in memory that does not grow with the corpus.

Keys are hashes, so each nibble of a key divides the documents into sixteen equal buckets. Buckets
are files; one that is too big for memory is divided again by the next nibble. Read back bucket by
bucket, each sorted in memory, the documents come in the order of their keys: a shuffle of the whole
corpus and not of a window of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MEMORY = 16 * 2**20  # bytes of documents, with their overhead, that are sorted at a time
OVERHEAD = 300  # bytes that a document takes in memory besides its text and spans
BUFFER = 32 * 2**10  # bytes that may wait to be written to each of the sixteen files
HEAD = struct.Struct("<16sII")


class Record(NamedTuple):
    """A document: 16 bytes of key, text in UTF-8, spans as int32 triples (start, end, label)."""

    key: bytes
    text: bytes
    spans: bytes


def _read(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        while head := file.read(HEAD.size):
            key, text, spans = HEAD.unpack(head)
            yield Record(key, file.read(text), file.read(spans))


class Spill:
    """Sixteen buckets in a directory, chosen by nibble number `level` of the key."""

    def __init__(self, directory: Path, level: int = 0) -> None:
        directory.mkdir()
        self._directory = directory
        self._level = level
        self._paths = [directory / f"{number:x}" for number in range(16)]
        self._files = [path.open("wb", buffering=BUFFER) for path in self._paths]

    def add(self, record: Record) -> None:
        """Put a document into its bucket."""
        byte = record.key[self._level // 2]
        file = self._files[byte & 15 if self._level % 2 else byte >> 4]
        file.write(HEAD.pack(record.key, len(record.text), len(record.spans)))
        file.write(record.text)
        file.write(record.spans)

    def in_order(self) -> Iterator[Record]:
        """Every document once, in the order of the keys; each file is deleted once it is read."""
        for file in self._files:
            file.close()
        for path in self._paths:
            yield from self._bucket(path)
            path.unlink()

    def _bucket(self, path: Path) -> Iterator[Record]:
        records: dict[bytes, Record] = {}
        size = 0
        for record in _read(path):
            if record.key in records:
                continue
            records[record.key] = record
            size += len(record.text) + len(record.spans) + OVERHEAD
            if size > MEMORY and len(records) > 1:
                records.clear()
                yield from self._divided(path)
                return
        for key in sorted(records):
            yield records[key]

    def _divided(self, path: Path) -> Iterator[Record]:
        finer = Spill(self._directory / f"{path.name}-finer", self._level + 1)
        for record in _read(path):
            finer.add(record)
        yield from finer.in_order()
