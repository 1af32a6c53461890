"""The Idempotency-Key header: a request that is sent twice is carried out once.

Once the spec has been validated, and before the experiment is stored, a record is created in the
store, unless one exists. It holds everything needed to store the experiment, so the same request,
sent again, finishes what a crash left undone, and two simultaneous requests do the same thing.
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
    """The request made with a key: sha256 of its body, id of its experiment, its resolved spec."""

    model_config = ConfigDict(frozen=True)

    body: str
    experiment: str
    resolved: ResolvedSpec


class ReusedProblem(SpecProblem):
    """The key was used with another body before."""


def _key(
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern=KEY_PATTERN,
            description="1 to 255 printable characters of your choice. The same key with the same "
            "body is the same experiment; with another body it is refused (422).",
        ),
    ] = None,
) -> str | None:
    return idempotency_key


IdempotencyKey = Annotated[str | None, Depends(_key)]


def _name(owner: str, key: str) -> str:
    digest = hashlib.sha256("\0".join((owner, key)).encode()).hexdigest()
    return f"idempotency/{digest}.json"


class IdempotencyRecords:
    """The records of one installation; every owner has keys of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, owner: str, key: str, body: bytes) -> Record | None:
        """The record of a key, None while it is unused; ReusedProblem for another body."""
        try:
            data = self._store.get(_name(owner, key))
        except NotFoundError:
            return None
        record = read_record(Record, data, "what was asked for with this Idempotency-Key")
        if record.body != digest_of(body):
            message = "was used with another body before; use a new key for a new request"
            raise ReusedProblem(
                detail=f"Idempotency-Key: {message}",
                errors=[{"field": "Idempotency-Key", "message": message}],
            )
        return record

    def claim(self, owner: str, key: str, body: bytes, record: Record) -> Record:
        """Claim a key; returns the record that counts, which another request may have made."""
        self._store.create(_name(owner, key), record.model_dump_json().encode())
        stored = self.find(owner, key, body)
        return stored if stored is not None else record  # None: collected in this very moment


def digest_of(body: bytes) -> str:
    """The sha256 of a body, hex."""
    return hashlib.sha256(body).hexdigest()
