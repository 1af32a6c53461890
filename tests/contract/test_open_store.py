"""The store that settings open, proved against real servers."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.settings import Settings
from shared.store import UnfitStoreError
from shared.store.s3.s3 import S3Store
from tests.support.proxy import FaultyProxy

BIG = 64 << 20  # bytes


def configured(port: int, bucket: str) -> Settings:
    return Settings(
        s3_endpoint=f"http://127.0.0.1:{port}",
        s3_bucket=bucket,
        s3_access_key="test",
        s3_secret_key="test",
    )


@pytest.mark.parametrize("server", ["ministack_port", "moto_port"])
def test_opening_makes_the_bucket_and_opening_again_finds_what_is_there(
    request: pytest.FixtureRequest, server: str, bucket: str
) -> None:
    settings = configured(request.getfixturevalue(server), bucket)
    settings.open_store().put("a", b"words")
    assert settings.open_store().get("a") == b"words"
    assert settings.open_store(prove=False).get("a") == b"words"


def test_opening_refuses_a_server_that_ignores_conditions(ministack_port: int, bucket: str) -> None:
    with FaultyProxy(0, ministack_port, strip=("If-None-Match",)) as deaf:
        with pytest.raises(UnfitStoreError, match="If-None-Match"):
            configured(deaf.port, bucket).open_store()
        configured(deaf.port, bucket).open_store(prove=False).put("a", b"")


def test_large_transfers_hold_a_few_parts_in_memory(
    ministack_port: int, another: Callable[..., S3Store], tmp_path: Path
) -> None:
    store = another(ministack_port)
    store.ensure_bucket()
    with (tmp_path / "big").open("wb") as handle:
        handle.truncate(BIG)
    part = 5 << 20
    limits: list[tuple[Callable[[], object], int]] = [
        (lambda: store.put_file("big", tmp_path / "big"), 8 * part + (1 << 20)),
        (lambda: store.put_stream("big", (tmp_path / "big").open("rb")), 4 * part + (1 << 20)),
        (lambda: store.download("big", tmp_path / "back"), 8 << 20),
        (lambda: sum(map(len, store.open("big"))), 4 << 20),
    ]
    tracemalloc.start()
    try:
        for transfer, limit in limits:
            tracemalloc.reset_peak()
            transfer()
            assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()
    assert (tmp_path / "back").stat().st_size == BIG
