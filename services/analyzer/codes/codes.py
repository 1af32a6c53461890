"""Feature activations of a token stream ("codes"): sparse, and read without copying.

T: token positions, Z: non-zero activations, F: features, M: firings of one feature.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from shared.arrays import IntArray
from shared.stages.stage import Input

FILE = "codes.safetensors"
DOCUMENTS = "documents.npy"
_DTYPES = {"I64": np.int64, "I32": np.int32, "F32": np.float32}


@dataclass(frozen=True)
class Codes:
    """Activations token by token (CSR): token t owns entries starts_T[t] to starts_T[t + 1].

    starts_T: int64 [T + 1]; features_Z: int32, ascending within a token; values_Z: float32 or
    float64, above zero; width: F.
    """

    starts_T: IntArray
    features_Z: npt.NDArray[np.int32]
    values_Z: npt.NDArray[np.floating[Any]]
    width: int

    @property
    def tokens(self) -> int:
        """T, the number of token positions."""
        return len(self.starts_T) - 1

    @property
    def entries(self) -> int:
        """Z, the number of non-zero activations."""
        return len(self.features_Z)

    @cached_property
    def firings(self) -> IntArray:
        """Number of tokens on which each feature is above zero [F]."""
        return np.bincount(self.features_Z, minlength=self.width)

    def matrix(self, start: int = 0, stop: int | None = None) -> csr_matrix:
        """Token positions start to stop as a sparse [tokens, F] matrix, which shares the memory."""
        starts = self.starts_T[start : (self.tokens if stop is None else stop) + 1]
        part = slice(int(starts[0]), int(starts[-1]))
        shape = (len(starts) - 1, self.width)
        return csr_matrix((self.values_Z[part], self.features_Z[part], starts - starts[0]), shape)

    def rolled(self, shift: int) -> Codes:
        """The same codes with token t at place (t + shift) modulo T."""
        cut = -shift % self.tokens if self.tokens else 0
        return self.rearranged([(cut, self.tokens), (0, cut)])

    def rearranged(self, spans: Sequence[tuple[int, int]]) -> Codes:
        """The token positions of the spans (start, stop), one span after the other."""
        entries = [slice(int(self.starts_T[a]), int(self.starts_T[b])) for a, b in spans]
        counts = [np.diff(self.starts_T[a : b + 1]) for a, b in spans]
        return Codes(
            np.concatenate([[0], *counts]).cumsum(),
            np.concatenate([self.features_Z[part] for part in entries]),
            np.concatenate([self.values_Z[part] for part in entries]),
            self.width,
        )

    def only(self, features: IntArray) -> Codes:
        """The entries of some features; their numbers and the width stay."""
        selected_F = np.zeros(self.width, bool)
        selected_F[features] = True
        entries = np.flatnonzero(selected_F[self.features_Z])
        return Codes(
            np.searchsorted(entries, self.starts_T),
            self.features_Z[entries],
            self.values_Z[entries],
            self.width,
        )

    def by_feature(self) -> FeatureMajor:
        """The same activations, feature by feature."""
        columns = self.matrix().tocsc()
        return FeatureMajor(
            columns.indptr.astype(np.int64), columns.indices, columns.data, self.tokens
        )


@dataclass(frozen=True)
class FeatureMajor:
    """Activations feature by feature (CSC): positions_Z ascend within a feature."""

    starts_F: IntArray
    positions_Z: npt.NDArray[np.int32]
    values_Z: npt.NDArray[np.floating[Any]]
    tokens: int

    @property
    def width(self) -> int:
        """F, the number of features."""
        return len(self.starts_F) - 1

    def of(self, feature: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.floating[Any]]]:
        """The feature's firings: ascending positions [M] and activations [M]."""
        part = slice(int(self.starts_F[feature]), int(self.starts_F[feature + 1]))
        return self.positions_Z[part], self.values_Z[part]

    def at(self, feature: int, positions: IntArray) -> npt.NDArray[np.float32]:
        """The feature's activations, in the shape of `positions`; 0 where it is silent."""
        where, values = self.of(feature)
        activations = np.zeros(positions.shape, np.float32)
        if len(where):
            place = np.minimum(np.searchsorted(where, positions), len(where) - 1)
            hit = where[place] == positions
            activations[hit] = values[place[hit]]
        return activations


def load_codes(source: Input) -> Codes:
    """The codes of an encode artifact, memory-mapped."""
    path = source.path / FILE
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))

    def mapped(name: str) -> npt.NDArray[Any]:
        dtype, shape = _DTYPES[header[name]["dtype"]], tuple(header[name]["shape"])
        if 0 in shape:  # mmap refuses an empty range
            return np.empty(shape, dtype)
        offset = 8 + size + header[name]["data_offsets"][0]
        return np.asarray(np.memmap(path, dtype, "r", offset, shape))

    starts, features, values = (mapped(name) for name in ("indptr", "features", "values"))
    return Codes(starts, features, values, int(source.results["features"]))


def load_documents(source: Input) -> npt.NDArray[np.int32]:
    """The document number of each token of an encode artifact: int32 [T], ascending from 0."""
    documents_T: npt.NDArray[np.int32] = np.load(source.path / DOCUMENTS, mmap_mode="r")
    return documents_T


class CodesWriter:
    """Collects codes token by token in two growing files, then writes codes.safetensors.

    Only the counts per token are held in memory. Safetensors puts the header first, so the growing
    files stay in `scratch` until their sizes are known.
    """

    def __init__(self, scratch: Path) -> None:
        self._parts = {name: scratch / f"{name}.raw" for name in ("features", "values")}
        for path in self._parts.values():
            path.write_bytes(b"")
        self._counts: list[IntArray] = []

    def append(
        self,
        counts_N: IntArray,
        features_Z: npt.NDArray[np.int32],
        values_Z: npt.NDArray[np.float32],
    ) -> None:
        """Add N tokens; counts_N is the number of entries that belong to each of them."""
        self._counts.append(counts_N)
        for name, array in (("features", features_Z), ("values", values_Z)):
            with self._parts[name].open("ab") as file:
                file.write(array.tobytes())

    def finish(self, directory: Path) -> int:
        """Write codes.safetensors into `directory`; returns the number of entries."""
        starts = np.concatenate([[0], np.cumsum(np.concatenate(self._counts))])
        total = int(starts[-1])
        head = _header(len(starts), total)
        with (directory / FILE).open("wb") as file:
            file.write(len(head).to_bytes(8, "little") + head + starts.astype("<i8").tobytes())
            for name in ("features", "values"):
                with self._parts[name].open("rb") as part:
                    shutil.copyfileobj(part, file)
                self._parts[name].unlink()
        return total


def _header(starts: int, entries: int) -> bytes:
    """The safetensors header of codes.safetensors, padded so that the data are aligned."""
    tensors: dict[str, Any] = {}
    end = 0
    for name, dtype, length in (
        ("indptr", "I64", starts),
        ("features", "I32", entries),
        ("values", "F32", entries),
    ):
        begin, end = end, end + length * np.dtype(_DTYPES[dtype]).itemsize
        tensors[name] = {"dtype": dtype, "shape": [length], "data_offsets": [begin, end]}
    head = json.dumps(tensors, separators=(",", ":")).encode()
    return head + b" " * (-len(head) % 8)
