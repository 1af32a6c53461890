"""The self-test finds every way to break a conditional create; retries end in time."""

from __future__ import annotations

from pathlib import Path

import pytest
from urllib3.exceptions import MaxRetryError, ReadTimeoutError

from shared.store import LocalStore, StoreError, UnfitStoreError, prove_conditional_create
from shared.store.s3.connection import RETRY_AFTER_MOST, Patience
from shared.store.s3.create import TRIES, pauses


class Overwrites(LocalStore):
    def create(self, name: str, data: bytes) -> bool:
        self.put(name, data)
        return True


class Refuses(LocalStore):
    def create(self, name: str, data: bytes) -> bool:
        return False


class Forgets(LocalStore):
    """Two at once are kept apart, a later one is not."""

    def create(self, name: str, data: bytes) -> bool:
        if data == b"third":
            self.put(name, data)
            return True
        return super().create(name, data)


class Mixes(LocalStore):
    def create(self, name: str, data: bytes) -> bool:
        won = super().create(name, data)
        if not won:
            self.put(name, data)
        return won


class Loses(LocalStore):
    def create(self, name: str, data: bytes) -> bool:
        won = super().create(name, data)
        if not won:
            self.delete(name)
        return won


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (Overwrites, "both of them succeeded"),
        (Refuses, "neither of them succeeded"),
        (Forgets, "created an object that was already there"),
        (Mixes, "an object changed after it was created"),
    ],
)
def test_a_store_that_breaks_its_promise_is_refused(
    tmp_path: Path, kind: type[LocalStore], sentence: str
) -> None:
    store = kind(tmp_path)
    with pytest.raises(UnfitStoreError, match=sentence):
        prove_conditional_create(store)
    assert list(store.list("probes/")) == []


def test_a_store_that_loses_what_was_created_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnfitStoreError):
        prove_conditional_create(Loses(tmp_path))


def test_a_store_that_is_away_is_not_called_unfit(tmp_path: Path) -> None:
    class Away(LocalStore):
        def create(self, name: str, data: bytes) -> bool:
            raise StoreError("gone")

    with pytest.raises(StoreError, match="gone"):
        prove_conditional_create(Away(tmp_path))


def patience(monkeypatch: pytest.MonkeyPatch, moments: list[float]) -> Patience:
    monkeypatch.setattr("time.monotonic", lambda: moments.pop(0))
    return Patience(total=8, seconds=10.0)


def test_tries_end_when_the_time_since_the_first_failure_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failure = ReadTimeoutError(None, "/", "late")  # type: ignore[arg-type]
    tries = patience(monkeypatch, [100.0, 109.0, 111.0])
    tries = tries.increment("GET", "/", error=failure).increment("GET", "/", error=failure)
    with pytest.raises(MaxRetryError) as given_up:
        tries.increment("GET", "/", error=failure)
    assert given_up.value.reason is failure


def test_tries_end_by_number_too(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = ReadTimeoutError(None, "/", "late")  # type: ignore[arg-type]
    tries = patience(monkeypatch, [100.0] * 20)
    for _ in range(8):
        tries = tries.increment("GET", "/", error=failure)
    with pytest.raises(MaxRetryError):
        tries.increment("GET", "/", error=failure)


def test_a_server_may_ask_to_wait_but_not_for_long() -> None:
    assert Patience().parse_retry_after("2") == 2
    assert Patience().parse_retry_after("3600") == RETRY_AFTER_MOST


def test_pauses_grow_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    waits = list(pauses(10.0))
    assert len(waits) == TRIES
    assert waits[0] == 0
    assert 0.05 <= waits[1] <= 0.1
    assert all(1.0 <= wait <= 2.0 for wait in waits[6:])
