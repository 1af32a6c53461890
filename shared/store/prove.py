"""Check at start that a store keeps the one promise that everything rests on."""

from __future__ import annotations

import contextlib
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

from shared.store.base import NotFoundError, Store, StoreError, UnfitStoreError


def prove_conditional_create(store: Store) -> None:
    """Race two creates of one probe object, then try a third.

    Raises UnfitStoreError with what the server did wrong. Many servers ignore a header that they do
    not support, and manifests would then be replaced without anybody noticing.
    """
    name = f"probes/{uuid.uuid4().hex}"
    words = [b"first", b"second"]
    start = threading.Barrier(len(words))

    def create(data: bytes) -> bool:
        start.wait()
        return store.create(name, data)

    try:
        with ThreadPoolExecutor(len(words)) as pool:
            winners = [
                data for data, won in zip(words, pool.map(create, words), strict=True) if won
            ]
        if len(winners) != 1:
            how = "both of them" if winners else "neither of them"
            raise UnfitStoreError(f"{_UNFIT}: of two creates at once, {how} succeeded")
        if store.create(name, b"third"):
            raise UnfitStoreError(f"{_UNFIT}: it created an object that was already there")
        if store.get(name) != winners[0]:
            raise UnfitStoreError(f"{_UNFIT}: an object changed after it was created")
    except NotFoundError:
        raise UnfitStoreError(f"{_UNFIT}: an object was gone after it was created") from None
    finally:
        with contextlib.suppress(StoreError):
            store.delete(name)


_UNFIT = "the object store does not keep conditional creates (If-None-Match)"
