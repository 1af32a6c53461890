"""Files of artifacts, read where they lie: only the bytes that are asked for leave the store."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from shared.records.artifacts import Artifacts, Manifest
from shared.store import Store

BATCH_ROWS = 4096  # of a Parquet file, decoded at a time
READ_AHEAD = 1 << 20  # bytes; a Parquet footer and a small column come in one request


class StageFiles:
    """Reading files of committed artifacts from any store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._artifacts = Artifacts(store)

    def open(self, manifest: Manifest, file: str) -> BinaryIO:
        """The file, readable and seekable; KeyError if the artifact has no such file."""
        name = self._artifacts.object_name(manifest, file)
        raw = _Ranged(self._store, name, manifest.files[file].bytes)
        return cast(BinaryIO, io.BufferedReader(raw, READ_AHEAD))

    def table(
        self, manifest: Manifest, file: str, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """A whole Parquet file, or some of its columns."""
        with self.open(manifest, file) as source:
            return pq.read_table(source, columns=None if columns is None else list(columns))

    def rows(self, manifest: Manifest, file: str, column: str, number: int) -> list[dict[str, Any]]:
        """The rows of a Parquet file whose integer column holds the number.

        The column alone is read whole. Of the others only a batch is in memory, and nothing behind
        the last row: a table of all contexts has 100 MB in memory and is sorted by feature.
        """
        found: list[dict[str, Any]] = []
        with self.open(manifest, file) as source, pq.ParquetFile(source) as table:
            numbers = table.read(columns=[column])[column].to_numpy()
            wanted = np.flatnonzero(numbers == number)
            start = 0
            batches = table.iter_batches(BATCH_ROWS) if len(wanted) else ()
            for batch in batches:
                here = wanted[(wanted >= start) & (wanted < start + len(batch))] - start
                found += batch.take(pa.array(here)).to_pylist()
                start += len(batch)
                if start > wanted[-1]:
                    break
        return found

    def arrays(self, manifest: Manifest, file: str) -> dict[str, npt.NDArray[Any]]:
        """All arrays of an .npz file; nothing in it is unpickled."""
        with self.open(manifest, file) as source, np.load(source, allow_pickle=False) as archive:
            return dict(archive)


class _Ranged(io.RawIOBase):
    """An object of the store as a file that can be read anywhere."""

    def __init__(self, store: Store, name: str, size: int) -> None:
        self._store = store
        self._name = name
        self._size = size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        end = min(self._size, self._place + len(buffer))
        done = 0
        if self._place < end:
            for piece in self._store.open(self._name, self._place, end):
                buffer[done : done + len(piece)] = piece
                done += len(piece)
        self._place += done
        return done
