"""Documents sorted by key and freed of duplicates, on disk, in memory that does not grow.

Keys are hashes, so each nibble of a key divides the documents into sixteen equal heaps. Heaps are
files; one that is too big for memory is divided again by the next nibble. Read back heap by heap,
each sorted in memory, the documents come in the order of their keys: a shuffle of the whole corpus
and not of a window of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MEMORY = 16 * 2**20  # bytes of documents, with their overhead, that are sorted at a time
OVERHEAD = 300  # bytes that a document takes in memory besides its text and spans
BUFFER = 32 * 2**10  # bytes of each of the sixteen files that wait to be written
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
    """Sixteen heaps in a directory, chosen by nibble number `level` of the key."""

    def __init__(self, directory: Path, level: int = 0) -> None:
        directory.mkdir()
        self._directory = directory
        self._level = level
        self._paths = [directory / f"{number:x}" for number in range(16)]
        self._files = [path.open("wb", buffering=BUFFER) for path in self._paths]

    def add(self, record: Record) -> None:
        """Put a document on its heap."""
        byte = record.key[self._level // 2]
        file = self._files[byte & 15 if self._level % 2 else byte >> 4]
        file.write(HEAD.pack(record.key, len(record.text), len(record.spans)))
        file.write(record.text)
        file.write(record.spans)

    def in_order(self) -> Iterator[Record]:
        """Every document once, in the order of the keys; files go as they are read."""
        for file in self._files:
            file.close()
        for path in self._paths:
            yield from self._heap(path)
            path.unlink()

    def _heap(self, path: Path) -> Iterator[Record]:
        kept: dict[bytes, Record] = {}
        size = 0
        for record in _read(path):
            if record.key in kept:
                continue
            kept[record.key] = record
            size += len(record.text) + len(record.spans) + OVERHEAD
            if size > MEMORY and len(kept) > 1:
                kept.clear()
                yield from self._divided(path)
                return
        for key in sorted(kept):
            yield kept[key]

    def _divided(self, path: Path) -> Iterator[Record]:
        finer = Spill(self._directory / f"{path.name}-finer", self._level + 1)
        for record in _read(path):
            finer.add(record)
        yield from finer.in_order()
