"""Checkpoints in the store: whole or absent, and no larger than what is new."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.records.checkpoints import Checkpoints
from shared.store import LocalStore, StoreError


class Refusing(LocalStore):
    """Takes no file whose name ends with `refused`."""

    refused = "nothing"

    def put_file(self, name: str, path: Path) -> None:
        if name.endswith(self.refused):
            raise StoreError("not now")
        super().put_file(name, path)


@pytest.fixture
def store(tmp_path: Path) -> Refusing:
    return Refusing(tmp_path / "store")


def save(store: LocalStore, step: int, directory: Path, **files: str) -> None:
    directory.mkdir()
    for name, text in files.items():
        (directory / name).write_text(text)
    checkpoints = Checkpoints(store)
    checkpoints.save("k", step, checkpoints.delivery("k", "attempt", step, directory))


def names(store: LocalStore) -> list[str]:
    prefix = "stages/k/checkpoints/"
    return [info.name.removeprefix(prefix) for info in store.list(prefix)]


def fetched(store: LocalStore, directory: Path) -> dict[str, str]:
    newest = Checkpoints(store).newest("k")
    assert newest is not None
    folder = Checkpoints(store).fetch(newest, directory)
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_newer_checkpoint_replaces_the_older(store: Refusing, tmp_path: Path) -> None:
    save(store, 1, tmp_path / "1", weights="a", state="1")
    save(store, 2, tmp_path / "2", weights="b", state="2")
    assert fetched(store, tmp_path / "f") == {"weights": "b", "state": "2"}
    assert names(store) == ["attempt-2/state", "attempt-2/weights"]


def test_what_did_not_change_is_not_stored_again(store: Refusing, tmp_path: Path) -> None:
    save(store, 1, tmp_path / "1", shard="long", state="1")
    save(store, 2, tmp_path / "2", shard="long", state="2")
    save(store, 3, tmp_path / "3", shard="long", state="3")
    assert fetched(store, tmp_path / "f") == {"shard": "long", "state": "3"}
    assert names(store) == ["attempt-1/shard", "attempt-3/state"]


def test_a_checkpoint_that_was_not_taken_leaves_the_older_in_force(
    store: Refusing, tmp_path: Path
) -> None:
    save(store, 1, tmp_path / "1", weights="a", state="1")
    store.refused = "weights"
    with pytest.raises(StoreError):
        save(store, 2, tmp_path / "2", weights="b", state="2")
    assert fetched(store, tmp_path / "f") == {"weights": "a", "state": "1"}

    store.refused = "nothing"
    save(store, 3, tmp_path / "3", weights="c", state="3")
    assert fetched(store, tmp_path / "g") == {"weights": "c", "state": "3"}


def test_a_finished_stage_keeps_none(store: Refusing, tmp_path: Path) -> None:
    save(store, 1, tmp_path / "1", shard="long", state="1")
    save(store, 2, tmp_path / "2", shard="long", state="2")
    Checkpoints(store).delete("k")
    assert names(store) == []
    assert Checkpoints(store).newest("k") is None


def test_a_checkpoint_of_another_version_is_none(store: Refusing) -> None:
    store.put("stages/k/checkpoint.json", b'{"step": 3, "prefix": "x", "files": {}}')
    assert Checkpoints(store).newest("k") is None


def test_a_damaged_file_is_noticed(store: Refusing, tmp_path: Path) -> None:
    save(store, 1, tmp_path / "1", state="1")
    store.put("stages/k/checkpoints/attempt-1/state", b"other")
    with pytest.raises(OSError, match="does not have the content"):
        fetched(store, tmp_path / "f")
