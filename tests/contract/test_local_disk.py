"""What the local store does when its disk does not."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.store import LocalStore, NotFoundError, StoreError


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def incoming(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "store" / ".incoming").iterdir())


def failing(number: int) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("number", "full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)]
)
def test_a_disk_that_fails_is_a_store_error_and_nothing_is_left(
    local: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, full: bool
) -> None:
    local.put("a", b"old")
    (tmp_path / "file").write_bytes(b"new")
    with monkeypatch.context() as broken:
        broken.setattr("os.fsync", failing(number))
        verbs: list[Callable[[], object]] = [
            lambda: local.put("a", b"new"),
            lambda: local.create("b", b"new"),
            lambda: local.put_stream("a", io.BytesIO(b"new")),
            lambda: local.put_file("a", tmp_path / "file"),
        ]
        for verb in verbs:
            with pytest.raises(StoreError, match="no space left" if full else "error") as failure:
                verb()
            assert failure.value.full is full
            assert isinstance(failure.value.__cause__, OSError)
            assert failure.value.__cause__.errno == number
    assert incoming(tmp_path) == []
    assert local.get("a") == b"old"
    local.put_file("a", tmp_path / "file")
    assert local.get("a") == b"new"


def test_a_write_into_a_store_that_was_removed_is_no_missing_object(
    local: LocalStore, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "store")
    for verb in (lambda: local.put("a", b""), lambda: local.create("a", b"")):
        with pytest.raises(StoreError, match="No such file"):
            verb()
    with pytest.raises(NotFoundError):
        local.get("a")


def test_a_file_on_another_file_system_is_copied(
    local: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "elsewhere"
    source.write_bytes(bytes(range(256)) * 9000)
    real = os.replace

    def replace(start: Any, end: Any, **more: Any) -> None:
        if Path(start) == source:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        real(start, end, **more)

    monkeypatch.setattr("os.replace", replace)
    local.put_file("a", source)
    assert local.get("a") == bytes(range(256)) * 9000
    assert incoming(tmp_path) == []


def test_a_file_that_is_not_there_is_the_callers_mistake(local: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        local.put_file("a", tmp_path / "nothing")


def test_an_object_and_objects_below_it_do_not_go_together(local: LocalStore) -> None:
    local.put("a/b", b"x")
    verbs: list[Callable[[str], object]] = [
        lambda name: local.put(name, b""),
        lambda name: local.create(name, b""),
        lambda name: local.put_stream(name, io.BytesIO()),
    ]
    for verb in verbs:
        with pytest.raises(ValueError, match="other objects below"):
            verb("a")
        with pytest.raises(ValueError, match="below another object"):
            verb("a/b/c")


def test_files_that_vanish_while_they_are_listed_are_left_out(
    local: LocalStore, tmp_path: Path
) -> None:
    for name in ("a/1", "a/2", "a/3"):
        local.put(name, b"")
    found = local.list("a/")
    assert next(found).name == "a/1"
    (tmp_path / "store" / "a" / "2").unlink()
    assert [info.name for info in found] == ["a/3"]


def test_a_folder_that_cannot_be_read_does_not_seem_empty(
    local: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.put("a/1", b"")
    monkeypatch.setattr("os.scandir", failing(errno.EIO))
    with pytest.raises(StoreError):
        list(local.list("a/"))


def test_a_download_that_fails_leaves_no_file(
    local: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.put("a", b"x")
    monkeypatch.setattr("os.replace", failing(errno.ENOSPC))
    with pytest.raises(StoreError) as failure:
        local.download("a", tmp_path / "target")
    assert failure.value.full
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
