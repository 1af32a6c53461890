"""The weights of a model directory, read and written one tensor at a time.

The layout is safetensors': eight bytes with the length of a JSON header, the header (name ->
dtype, shape, byte offsets), the tensors' bytes.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

WEIGHTS = "model.safetensors"
ALIGNMENT = 8  # bytes; of the header, so that every tensor can be mapped
# safetensors' names of the formats that can be interpolated, with their bytes per value.
FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


@dataclass(frozen=True)
class Layout:
    """A header's entry for one tensor: dtype as safetensors names it, shape, size in bytes."""

    dtype: str
    shape: tuple[int, ...]
    size: int

    @property
    def values(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


def layouts(directory: Path) -> dict[str, Layout]:
    """Every tensor of the directory's model.safetensors, widest dtype first, then by name.

    That is the order in which they are written, so each starts at a multiple of its value's size.
    """
    with (directory / WEIGHTS).open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    by_name = {
        name: Layout(entry["dtype"], tuple(entry["shape"]), end - start)
        for name, entry in header.items()
        for start, end in [entry["data_offsets"]]
    }
    return dict(sorted(by_name.items(), key=lambda item: (-_width(item[1]), item[0])))


def _width(layout: Layout) -> int:
    return layout.size // layout.values if layout.values else 0


def read(directory: Path, name: str) -> Tensor:
    """One tensor, mapped from the file: its memory comes and goes with it.

    The file is opened anew each time, else everything ever read would stay mapped.
    """
    with safe_open(directory / WEIGHTS, "pt") as file:
        tensor: Tensor = file.get_tensor(name)
    return tensor


class Writer:
    """Writes model.safetensors: the header at once, the tensors in any order and by any thread."""

    def __init__(self, directory: Path, expected: Mapping[str, Layout]) -> None:
        self._file = (directory / WEIGHTS).open("wb", buffering=0)
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        self._places: dict[str, int] = {}
        place = 0
        for name, layout in expected.items():
            self._places[name] = place
            header[name] = {
                "dtype": layout.dtype,
                "shape": list(layout.shape),
                "data_offsets": [place, place + layout.size],
            }
            place += layout.size
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % ALIGNMENT)
        start = struct.pack("<Q", len(text)) + text
        _write_all(self._file.fileno(), start, 0)
        self._start = len(start)

    def put(self, name: str) -> Callable[[int, Tensor], None]:
        """A function (first, values) that writes values of the tensor from number `first` on."""
        start = self._start + self._places[name]

        def write(first: int, values: Tensor) -> None:
            data = values.contiguous().view(-1).view(torch.uint8).numpy().data
            _write_all(self._file.fileno(), data, start + first * values.element_size())

        return write

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _write_all(file: int, data: bytes | memoryview, place: int) -> None:
    while data:
        written = os.pwrite(file, data, place)
        data, place = data[written:], place + written
