"""The Idempotency-Key header: a request that is sent twice is carried out once.

A record is created in the store, only if there is none, after the spec was found to be right and
before the experiment is stored. It holds all that storing the experiment needs, so whoever sends
the same request again finishes what a crash left undone, and two that come together do the same.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import Depends, Header
from pydantic import BaseModel, ConfigDict

from api.http.problems import SpecProblem
from shared.records.releases import read_record
from shared.resolve.resolved import ResolvedSpec
from shared.store import NotFoundError, Store

KEY_PATTERN = r"^[\x20-\x7e]{1,255}$"


class Record(BaseModel):
    """What was asked for with a key: the sha256 of the body, and what it was understood as."""

    model_config = ConfigDict(frozen=True)

    body: str
    experiment: str
    resolved: ResolvedSpec


class ReusedProblem(SpecProblem):
    """The key came with another body before."""


def _key(
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern=KEY_PATTERN,
            description="1 to 255 printable characters of your choice. The same key with the same "
            "body is the same experiment, with another body it is refused (422).",
        ),
    ] = None,
) -> str | None:
    return idempotency_key


IdempotencyKey = Annotated[str | None, Depends(_key)]


def _name(owner: str, key: str) -> str:
    digest = hashlib.sha256("\0".join((owner, key)).encode()).hexdigest()
    return f"idempotency/{digest}.json"


class IdempotencyRecords:
    """The records of one installation; keys of different owners do not meet."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, owner: str, key: str, body: bytes) -> Record | None:
        """What the key stands for, None while it is free; ReusedProblem for another body."""
        try:
            data = self._store.get(_name(owner, key))
        except NotFoundError:
            return None
        record = read_record(Record, data, "what was asked for with this Idempotency-Key")
        if record.body != digest_of(body):
            message = "was used with another body before; take a new key for a new request"
            raise ReusedProblem(
                detail=f"Idempotency-Key: {message}",
                errors=[{"field": "Idempotency-Key", "message": message}],
            )
        return record

    def claim(self, owner: str, key: str, body: bytes, record: Record) -> Record:
        """Take the key; returns the record that counts, which another request may have made."""
        self._store.create(_name(owner, key), record.model_dump_json().encode())
        found = self.find(owner, key, body)
        return found if found is not None else record  # None: collected in this very moment


def digest_of(body: bytes) -> str:
    """The sha256 of a body, hex."""
    return hashlib.sha256(body).hexdigest()
