"""What every object store promises; each implementation is run through the same tests."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.store import LocalStore, NotFoundError, Store
from shared.store.base import checked


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return LocalStore(tmp_path / "store")


def test_what_was_put_is_what_is_got(store: Store) -> None:
    store.put("a/b/c.bin", b"\x00\xff")
    assert store.get("a/b/c.bin") == b"\x00\xff"


def test_putting_again_replaces(store: Store) -> None:
    store.put("a", b"one")
    store.put("a", b"two")
    assert store.get("a") == b"two"


def test_a_missing_object_is_not_found(store: Store, tmp_path: Path) -> None:
    for read in (store.get, lambda name: list(store.open(name))):
        with pytest.raises(NotFoundError):
            read("nothing/here")
    with pytest.raises(NotFoundError):
        store.download("nothing", tmp_path / "x")
    assert store.stat("nothing/here") is None


def test_create_lets_only_the_first_one_win(store: Store) -> None:
    assert store.create("manifest", b"first")
    assert not store.create("manifest", b"second")
    assert store.get("manifest") == b"first"


def test_of_many_threads_that_create_exactly_one_wins_and_its_bytes_stay(store: Store) -> None:
    won: list[int] = []
    barrier = threading.Barrier(8)

    def race(number: int) -> None:
        barrier.wait()
        if store.create("key/manifest", f"{number}".encode()):
            won.append(number)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.get("key/manifest") == f"{won[0]}".encode()


@pytest.mark.parametrize(
    ("start", "end", "want"), [(0, None, b"0123456789"), (3, 7, b"3456"), (8, 99, b"89")]
)
def test_a_range_is_read(store: Store, start: int, end: int | None, want: bytes) -> None:
    store.put("digits", b"0123456789")
    assert b"".join(store.open("digits", start, end)) == want


def test_a_listing_has_everything_under_the_prefix_in_order(store: Store) -> None:
    for name in ("s/b/2", "s/a", "s/b/1", "sx/other"):
        store.put(name, b"12345")
    found = list(store.list("s/"))
    assert [info.name for info in found] == ["s/a", "s/b/1", "s/b/2"]
    assert {info.bytes for info in found} == {5}
    assert list(store.list("none/")) == []


def test_deleting_is_final_and_repeatable(store: Store) -> None:
    store.put("a/b", b"x")
    store.delete("a/b")
    store.delete("a/b")
    assert store.stat("a/b") is None


def test_files_and_streams_arrive_whole(store: Store, tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000
    (tmp_path / "file").write_bytes(data)
    store.put_file("from/file", tmp_path / "file")
    store.put_stream("from/stream", io.BytesIO(data))
    store.download("from/file", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data == store.get("from/stream")


def test_a_stream_that_breaks_leaves_nothing(store: Store) -> None:
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            raise OSError("cable pulled")

    with pytest.raises(OSError, match="cable"):
        store.put_stream("half", Broken())  # type: ignore[arg-type]
    assert store.stat("half") is None


@pytest.mark.parametrize(
    "name", ["", "/abs", "a/../b", "..", ".hidden", "a//b", "a/", "a\0b", "a b"]
)
def test_names_that_could_leave_the_store_are_refused(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="not an object name"):
        store.put(name, b"")
    with pytest.raises(ValueError, match="not an object name"):
        store.stat(name)


@given(st.text(max_size=40))
def test_a_checked_name_never_climbs(name: str) -> None:
    try:
        segments = checked(name).split("/")
    except ValueError:
        return
    assert all(
        segment not in ("", ".", "..") and not segment.startswith(".") for segment in segments
    )
