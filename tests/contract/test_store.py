"""What every object store promises; each implementation is run through the same tests."""

from __future__ import annotations

import hashlib
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.store import LocalStore, NotFoundError, Store, prove_conditional_create
from shared.store.base import checked

SEVERAL_PARTS = 12 << 20  # bytes; more than two parts of the least size that S3 takes


@pytest.fixture(scope="module")
def large() -> bytes:
    block = b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(1 << 12))
    return (block * (SEVERAL_PARTS // len(block) + 1))[: SEVERAL_PARTS + 7]


class Broken(io.RawIOBase):
    """A stream that gives `good` bytes and then fails."""

    def __init__(self, good: int) -> None:
        self._left = good

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._left <= 0:
            raise OSError("cable pulled")
        size = min(size, self._left)
        self._left -= size
        return bytes(size)


@pytest.mark.parametrize("data", [b"\x00\xff", b"", "größer als Ωmega\n".encode()])
def test_what_was_put_is_what_is_got(store: Store, data: bytes) -> None:
    store.put("a/b/c.bin", data)
    assert store.get("a/b/c.bin") == data
    info = store.stat("a/b/c.bin")
    assert info is not None
    assert (info.name, info.bytes) == ("a/b/c.bin", len(data))


def test_every_character_that_names_may_have_survives(store: Store) -> None:
    name = "A_z/0.9/a+b@c=d-e_f"
    store.put(name, b"x")
    assert store.create(f"{name}2", b"y")
    assert [info.name for info in store.list("A_z/0.9/")] == [name, f"{name}2"]
    assert store.get(name) + store.get(f"{name}2") == b"xy"


def test_putting_again_replaces(store: Store) -> None:
    store.put("a", b"one")
    store.put("a", b"two")
    assert store.get("a") == b"two"


def test_a_missing_object_is_not_found(store: Store, tmp_path: Path) -> None:
    for read in (store.get, store.open, lambda name: store.open(name, 5, 5)):
        with pytest.raises(NotFoundError):
            read("nothing/here")
    with pytest.raises(NotFoundError):
        store.download("nothing", tmp_path / "x")
    assert list(tmp_path.glob("*x")) == []
    assert store.stat("nothing/here") is None


def test_a_folder_of_objects_is_no_object(store: Store) -> None:
    store.put("a/b", b"x")
    store.delete("a")
    store.delete("a/b/c")
    assert store.stat("a") is None
    assert store.stat("a/b/c") is None
    for name in ("a", "a/b/c"):
        with pytest.raises(NotFoundError):
            store.get(name)
    assert store.get("a/b") == b"x"


def test_create_lets_only_the_first_one_win(store: Store) -> None:
    assert store.create("manifest", b"first")
    assert not store.create("manifest", b"second")
    assert not store.create("manifest", b"first")
    assert store.get("manifest") == b"first"


def test_after_a_delete_it_can_be_created_again(store: Store) -> None:
    assert store.create("manifest", b"first")
    store.delete("manifest")
    assert store.create("manifest", b"second")
    assert store.get("manifest") == b"second"


@pytest.mark.parametrize("number", range(3))
def test_of_many_threads_that_create_exactly_one_wins_and_its_bytes_stay(
    store: Store, number: int
) -> None:
    name = f"key/manifest-{number}"
    barrier = threading.Barrier(8)

    def race(words: bytes) -> bool:
        barrier.wait()
        return store.create(name, words)

    words = [f"thread {one}".encode() for one in range(8)]
    with ThreadPoolExecutor(8) as pool:
        won = [own for own, first in zip(words, pool.map(race, words), strict=True) if first]
    assert won == [store.get(name)]


def test_the_self_test_accepts_it_and_leaves_nothing(store: Store) -> None:
    prove_conditional_create(store)
    assert list(store.list("probes/")) == []


@pytest.mark.parametrize(
    ("start", "end", "want"),
    [
        (0, None, b"0123456789"),
        (3, 7, b"3456"),
        (8, 99, b"89"),
        (0, 1, b"0"),
        (9, None, b"9"),
        (9, 10, b"9"),
        (10, None, b""),
        (10, 12, b""),
        (50, None, b""),
        (4, 4, b""),
        (6, 2, b""),
        (0, 0, b""),
    ],
)
def test_a_range_is_read(store: Store, start: int, end: int | None, want: bytes) -> None:
    store.put("digits", b"0123456789")
    assert b"".join(store.open("digits", start, end)) == want


def test_a_range_of_an_empty_object_is_empty(store: Store) -> None:
    store.put("empty", b"")
    assert list(store.open("empty")) == list(store.open("empty", 0, 10)) == []


def test_a_range_cannot_start_before_the_object(store: Store) -> None:
    store.put("digits", b"0123456789")
    with pytest.raises(ValueError, match="cannot start at -1"):
        store.open("digits", -1)


def test_a_reader_that_stops_early_harms_nobody(store: Store, large: bytes) -> None:
    store.put("large", large)
    for _ in range(3):
        pieces = store.open("large")
        assert large.startswith(next(pieces))
        del pieces
    assert store.get("large") == large


def test_a_listing_has_everything_under_the_prefix_in_order(store: Store) -> None:
    for name in ("s/b/2", "s/a", "s/b/1", "sx/other", "s/b.txt", "s/b-1"):
        store.put(name, b"12345")
    found = list(store.list("s/"))
    assert [info.name for info in found] == ["s/a", "s/b-1", "s/b.txt", "s/b/1", "s/b/2"]
    assert {info.bytes for info in found} == {5}
    assert list(store.list("none/")) == []
    assert [info.name for info in store.list("s/b/")] == ["s/b/1", "s/b/2"]


def test_a_listing_goes_on_after_a_thousand_objects(store: Store) -> None:
    names = [f"many/{number:04}" for number in range(1003)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: store.put(name, b""), names))
    assert [info.name for info in store.list("many/")] == names


def test_stat_and_list_tell_the_same_time(store: Store) -> None:
    store.put("times/first", b"")
    store.put("times/second", b"")
    listed = [info.modified for info in store.list("times/")]
    told = [info.modified for name in ("first", "second") if (info := store.stat(f"times/{name}"))]
    assert 1.6e9 < told[0] <= told[1]
    assert [int(moment) for moment in listed] == [
        int(moment) for moment in told
    ]  # HEAD has seconds


def test_deleting_is_final_and_repeatable(store: Store) -> None:
    store.put("a/b", b"x")
    store.delete("a/b")
    store.delete("a/b")
    assert store.stat("a/b") is None
    assert list(store.list("a/")) == []


@pytest.mark.parametrize("length", [0, 1, 5 << 20, (5 << 20) + 1, SEVERAL_PARTS + 7])
def test_files_and_streams_arrive_whole(
    store: Store, tmp_path: Path, large: bytes, length: int
) -> None:
    data = large[:length]
    (tmp_path / "file").write_bytes(data)
    store.put_file("from/file", tmp_path / "file")
    store.put_stream("from/stream", io.BytesIO(data))
    store.download("from/file", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    assert store.get("from/stream") == data
    assert sorted(path.name for path in tmp_path.glob("*back*")) == ["back"]


def test_large_data_are_put_and_read_in_ranges_over_the_parts(store: Store, large: bytes) -> None:
    store.put("large", large)
    edge = 5 << 20
    assert b"".join(store.open("large", edge - 3, edge + 3)) == large[edge - 3 : edge + 3]
    info = store.stat("large")
    assert info is not None
    assert info.bytes == len(large)


@pytest.mark.parametrize("good", [0, 100, SEVERAL_PARTS])
def test_a_stream_that_breaks_leaves_what_was_there(store: Store, good: int) -> None:
    with pytest.raises(OSError, match="cable pulled"):
        store.put_stream("half", Broken(good))  # type: ignore[arg-type]
    assert store.stat("half") is None
    store.put("half", b"old")
    with pytest.raises(OSError, match="cable pulled"):
        store.put_stream("half", Broken(good))  # type: ignore[arg-type]
    assert store.get("half") == b"old"


def test_a_download_replaces_the_file_that_was_there(store: Store, tmp_path: Path) -> None:
    store.put("a", b"new")
    (tmp_path / "a").write_bytes(b"something older")
    store.download("a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/abs",
        "a/../b",
        "..",
        ".hidden",
        "a//b",
        "a/",
        "a\0b",
        "a b",
        "ä",
        "x" * 256,
        "x/" * 499,
    ],
)
def test_names_that_could_leave_the_store_are_refused(
    store: Store, name: str, tmp_path: Path
) -> None:
    verbs = [
        lambda: store.put(name, b""),
        lambda: store.create(name, b""),
        lambda: store.put_stream(name, io.BytesIO()),
        lambda: store.get(name),
        lambda: store.open(name),
        lambda: store.stat(name),
        lambda: store.delete(name),
        lambda: store.download(name, tmp_path / "x"),
        lambda: store.local_path(name),
        lambda: store.presign(name, 60),
    ]
    for verb in verbs:
        with pytest.raises(ValueError, match="not an object name"):
            verb()


def test_only_a_directory_says_where_an_object_lies(store: Store) -> None:
    store.put("a/b", b"x")
    path = store.local_path("a/b")
    if isinstance(store, LocalStore):
        assert path is not None
        assert path.read_bytes() == b"x"
    else:
        assert path is None


@given(st.text(max_size=40))
def test_a_checked_name_never_climbs(name: str) -> None:
    try:
        segments = checked(name).split("/")
    except ValueError:
        return
    assert all(
        segment not in ("", ".", "..") and not segment.startswith(".") for segment in segments
    )
