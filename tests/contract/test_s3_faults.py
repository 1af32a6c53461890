"""What the S3 store does when the server, or the way to it, fails: all through a faulty proxy."""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.store import NotFoundError, StoreError, UnfitStoreError, prove_conditional_create
from shared.store.s3.s3 import S3Store
from tests.support.proxy import FaultyProxy, Mode
from tests.support.s3_servers import free_port, start_ministack, stop

LARGE = os.urandom(12 << 20)


def puts(proxy: FaultyProxy) -> int:
    return sum(line.startswith("PUT") for line in proxy.seen)


@pytest.mark.parametrize("mode", ["refuse", "error", "lose-answers", "cut"])
def test_a_fault_that_passes_is_not_noticed(
    faulty: S3Store, proxy: FaultyProxy, mode: Mode, tmp_path: Path
) -> None:
    verbs: list[tuple[Callable[[], object], object]] = [
        (lambda: faulty.put("a", b"words"), None),
        (lambda: faulty.get("a"), b"words"),
        (lambda: [info.name for info in faulty.list("f/")], []),
        (lambda: faulty.create("b", b"words"), True),
        (lambda: faulty.create("b", b"others"), False),
        (lambda: faulty.download("a", tmp_path / "a"), None),
        (lambda: faulty.delete("b"), None),
        (lambda: faulty.stat("b"), None),
    ]
    for verb, want in verbs:
        proxy.fail_next(mode)
        assert verb() == want
    assert (tmp_path / "a").read_bytes() == b"words"


@pytest.mark.parametrize("mode", ["refuse", "error"])
def test_a_server_that_stays_away_is_a_store_error(
    faulty: S3Store,
    proxy: FaultyProxy,
    another: Callable[..., S3Store],
    mode: Mode,
    tmp_path: Path,
    bucket: str,
) -> None:
    store = another(proxy.port, bucket=bucket, patience=0.2)
    (tmp_path / "file").write_bytes(b"x")
    proxy.mode = mode
    verbs: list[Callable[[], object]] = [
        lambda: store.put("a", b""),
        lambda: store.put_file("a", tmp_path / "file"),
        lambda: store.create("a", b""),
        lambda: store.get("a"),
        lambda: store.stat("a"),
        lambda: list(store.list("a/")),
        lambda: store.download("a", tmp_path / "target"),
    ]
    for verb in verbs:
        with pytest.raises(StoreError):
            verb()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    proxy.mode = "pass"
    assert store.stat("a") is None


def test_a_create_whose_answer_was_lost_is_still_ours(faulty: S3Store, proxy: FaultyProxy) -> None:
    proxy.fail_next("lose-answers", like="PUT")
    assert faulty.create("manifest", b"mine")
    assert puts(proxy) == 2
    assert faulty.get("manifest") == b"mine"


def test_a_create_that_failed_on_the_way_is_not_ours_if_another_came_first(
    faulty: S3Store,
    proxy: FaultyProxy,
    another: Callable[..., S3Store],
    ministack_port: int,
    bucket: str,
) -> None:
    proxy.delay = 1.0
    hasty = another(proxy.port, bucket=bucket, read_timeout=0.3, patience=5.0)
    other = another(ministack_port, bucket=bucket)
    assert other.create("manifest", b"theirs")
    proxy.fail_next("error", like="PUT")  # looks as if it might have been written
    assert not hasty.create("manifest", b"mine")
    assert other.get("manifest") == b"theirs"


def test_a_create_that_is_too_slow_is_repeated_and_still_ours(
    faulty: S3Store, proxy: FaultyProxy, another: Callable[..., S3Store], bucket: str
) -> None:
    proxy.delay = 1.0
    hasty = another(proxy.port, bucket=bucket, read_timeout=0.3, patience=5.0)
    proxy.fail_next("slow", like="PUT")
    assert hasty.create("manifest", b"mine")
    assert faulty.get("manifest") == b"mine"


def test_a_create_that_never_hears_an_answer_says_that_it_does_not_know(
    faulty: S3Store, proxy: FaultyProxy
) -> None:
    proxy.mode = "lose-answers"
    with pytest.raises(StoreError, match="does not answer"):
        faulty.create("manifest", b"mine")
    proxy.mode = "pass"
    assert faulty.get("manifest") == b"mine"


BEGINS, PART, ENDS = r"^POST .*uploads", r"^PUT .*partNumber", r"^POST .*uploadId="


@pytest.mark.parametrize("request_line", [BEGINS, PART, ENDS])
@pytest.mark.parametrize("server", ["ministack_port", "moto_port"])
def test_an_upload_in_parts_whose_answers_are_lost_is_repeated(
    request: pytest.FixtureRequest,
    another: Callable[..., S3Store],
    tmp_path: Path,
    server: str,
    request_line: str,
) -> None:
    with FaultyProxy(0, request.getfixturevalue(server)) as proxy:
        store = another(proxy.port)
        store.ensure_bucket()
        (tmp_path / "large").write_bytes(LARGE)
        proxy.fail_next("lose-answers", 1, request_line)
        store.put_file("large", tmp_path / "large")
        assert sum(re.search(request_line, line) is not None for line in proxy.seen) > 1
        assert store.get("large") == LARGE


def test_a_stream_in_parts_survives_lost_answers(faulty: S3Store, proxy: FaultyProxy) -> None:
    proxy.fail_next("lose-answers", 3, "^P")
    faulty.put_stream("large", io.BytesIO(LARGE))
    assert faulty.get("large") == LARGE


def test_a_stream_that_breaks_starts_no_threads_that_stay(faulty: S3Store) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            if not data:
                raise OSError("cable pulled")
            return data

    before = {thread.ident for thread in threading.enumerate()}
    with pytest.raises(OSError, match="cable pulled"):
        faulty.put_stream("half", Broken(LARGE))
    left = [one for one in threading.enumerate() if one.ident not in before]
    assert [one.name for one in left if "Worker" in type(one).__name__] == []


def test_a_reading_that_breaks_goes_on_where_it_stopped(
    faulty: S3Store, proxy: FaultyProxy, tmp_path: Path
) -> None:
    faulty.put("large", LARGE)
    proxy.seen.clear()
    proxy.fail_next("cut", 2, "GET")
    assert faulty.get("large") == LARGE
    assert sum(line.startswith("GET") for line in proxy.seen) == 3
    proxy.fail_next("cut", 4, "GET")
    faulty.download("large", tmp_path / "large")
    assert (tmp_path / "large").read_bytes() == LARGE


def test_an_answer_that_never_ends_is_a_store_error_and_leaves_no_file(
    faulty: S3Store,
    proxy: FaultyProxy,
    another: Callable[..., S3Store],
    tmp_path: Path,
    bucket: str,
) -> None:
    faulty.put("small", b"x")
    store = another(proxy.port, bucket=bucket, patience=0.2)
    proxy.mode = "cut"
    with pytest.raises(StoreError, match="its bytes stop at 0 of 1"):
        store.get("small")
    with pytest.raises(StoreError, match="its bytes stop"):
        store.download("small", tmp_path / "small")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [1, 3 << 20])
def test_bytes_that_changed_on_the_way_are_noticed(
    faulty: S3Store, proxy: FaultyProxy, tmp_path: Path, size: int
) -> None:
    faulty.put("data", LARGE[:size])
    proxy.mode = "corrupt"
    with pytest.raises(StoreError, match="arrived damaged"):
        faulty.get("data")
    with pytest.raises(StoreError, match="arrived damaged"):
        faulty.download("data", tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_an_object_that_is_replaced_while_it_is_read_is_never_a_mix(
    faulty: S3Store, proxy: FaultyProxy
) -> None:
    faulty.put("large", LARGE)
    proxy.fail_next("cut", like="GET")
    pieces = faulty.open("large")
    next(pieces)
    faulty.put("large", LARGE[::-1])
    with pytest.raises(StoreError, match="was replaced while it was read"):
        list(pieces)


def test_a_server_that_comes_back_has_what_it_had(
    tmp_path: Path, another: Callable[..., S3Store]
) -> None:
    port = free_port()
    server = start_ministack(tmp_path, port)
    store = another(port, patience=30.0)
    try:
        store.ensure_bucket()
        store.create("manifest", b"first")
        stop(server)
        answers: list[bytes] = []
        waiting = threading.Thread(target=lambda: answers.append(store.get("manifest")))
        waiting.start()
        server = start_ministack(tmp_path, port)
        waiting.join()
        assert answers == [b"first"]
        assert not store.create("manifest", b"second")
    finally:
        stop(server)


def test_a_server_that_ignores_the_condition_is_refused(
    ministack_port: int, another: Callable[..., S3Store]
) -> None:
    with FaultyProxy(0, ministack_port, strip=("If-None-Match",)) as deaf:
        store = another(deaf.port)
        store.ensure_bucket()
        with pytest.raises(UnfitStoreError, match="of two creates at once, both of them succeeded"):
            prove_conditional_create(store)
        assert list(store.list("probes/")) == []


def test_a_bucket_that_is_not_there_is_named(
    ministack_port: int, another: Callable[..., S3Store]
) -> None:
    store = another(ministack_port)
    for verb in (lambda: store.put("a", b""), lambda: store.create("a", b"")):
        with pytest.raises(StoreError, match=r"has no bucket 'test-.*check LINEAMENT_S3_BUCKET"):
            verb()
    with pytest.raises((StoreError, NotFoundError)):
        store.get("a")


def test_of_many_that_make_the_bucket_at_once_none_fails(
    ministack_port: int, another: Callable[..., S3Store], bucket: str
) -> None:
    failures: list[Exception] = []

    def make() -> None:
        try:
            another(ministack_port, bucket=bucket).ensure_bucket()
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_names_lie_under_the_prefix(
    ministack_port: int, another: Callable[..., S3Store], bucket: str
) -> None:
    whole = another(ministack_port, bucket=bucket)
    whole.ensure_bucket()
    part = another(ministack_port, bucket=bucket, prefix="team/one/")
    part.put("a/b", b"x")
    assert part.create("a/c", b"y")
    assert [info.name for info in part.list("a/")] == ["a/b", "a/c"]
    assert [info.name for info in whole.list("team/")] == ["team/one/a/b", "team/one/a/c"]
