"""Files of artifacts, read in parts from a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.stored.files import BATCH_ROWS, StageFiles
from shared.records.artifacts import Manifest, StoredFile
from shared.store import LocalStore

ROWS = 3 * BATCH_ROWS + 17


def stored(tmp_path: Path, name: str, path: Path) -> tuple[StageFiles, Manifest]:
    """A store with one artifact that holds the file."""
    store = LocalStore(tmp_path / "store")
    files = {name: StoredFile.of(path)}
    store.put_file(f"stages/{'a' * 64}/files/1/{name}", path)
    manifest = Manifest.model_construct(key="a" * 64, attempt="1", files=files)
    return StageFiles(store), manifest


@pytest.mark.parametrize("number", [0, 5, 4095, 4096, 9000, ROWS - 1, ROWS, -1])
@pytest.mark.parametrize("copies", [1, 3])
def test_rows_are_those_of_the_number_wherever_they_lie(
    tmp_path: Path, number: int, copies: int
) -> None:
    numbers = np.tile(np.arange(ROWS // copies), copies)
    place = np.arange(len(numbers))
    pq.write_table(pa.table({"feature": numbers, "place": place}), tmp_path / "t")
    files, manifest = stored(tmp_path, "rows.parquet", tmp_path / "t")

    found = files.rows(manifest, "rows.parquet", "feature", number)

    assert [row["place"] for row in found] == np.flatnonzero(numbers == number).tolist()
    assert {row["feature"] for row in found} <= {number}


def test_arrays_of_an_npz_come_back(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", a=np.arange(200_000), b=np.ones(3))
    files, manifest = stored(tmp_path, "c.npz", tmp_path / "t.npz")
    found = files.arrays(manifest, "c.npz")
    assert (found["a"] == np.arange(200_000)).all()
    assert (found["b"] == 1).all()


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", a=np.array([{"x": 1}], dtype=object))
    files, manifest = stored(tmp_path, "c.npz", tmp_path / "t.npz")
    with pytest.raises(ValueError, match="pickle"):
        files.arrays(manifest, "c.npz")


def test_a_file_can_be_read_anywhere(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000
    (tmp_path / "t").write_bytes(content)
    files, manifest = stored(tmp_path, "b.bin", tmp_path / "t")
    with files.open(manifest, "b.bin") as file:
        assert file.read(3) == content[:3]
        file.seek(-5, 2)
        assert file.read() == content[-5:]
        file.seek(1_500_000)
        assert file.read(1_000_000) == content[1_500_000:]
        assert file.read() == b""
    with pytest.raises(KeyError):
        files.open(manifest, "other")
