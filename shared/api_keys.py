"""API keys as they are configured: a name, what the key may do, and the hash of the key."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

Scope = Literal["read", "submit", "admin"]
KEY_PREFIX = "lineament_"  # makes keys easy to find where they should not be; logs blot them out
KEY_BYTES = 32


def _like(pattern: str, allowed: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {allowed}")
        return value

    return AfterValidator(check)


Rate = Annotated[
    str,
    _like(
        r"[1-9]\d{0,8}/(second|minute|hour|day)|off",
        "a number for each second, minute, hour or day, like 1200/minute, or off",
    ),
]
Name = Annotated[
    str,
    _like(
        r"[a-z0-9][a-z0-9._-]{0,63}",
        "1 to 64 lower-case letters, digits, dots, dashes and underscores",
    ),
]
Hash = Annotated[str, _like(r"[0-9a-f]{64}", "the 64 digits that `lineament key` prints")]


class ApiKey(BaseModel):
    """One configured key. `rate`, `open_experiments` and `upload_bytes` replace the settings'."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Name = Field(description="Owner of what the key submits.")
    sha256: Hash = Field(description="SHA-256 of the key, hexadecimal.")
    scopes: frozenset[Scope] = Field(
        min_length=1, description="admin includes submit, and submit includes read."
    )
    rate: Rate | None = Field(None, description="Requests per unit of time, like 1200/minute.")
    open_experiments: int | None = Field(None, ge=0, description="0 for no limit.")
    upload_bytes: int | None = Field(None, gt=0, description="Largest upload.")


def new_key() -> str:
    """A fresh key with 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)


def key_hash(key: str) -> str:
    """The hash under which a key is configured: its SHA-256, hexadecimal.

    Slow, salted hashes are for passwords, which can be guessed. A key has 256 random bits, so
    nobody finds it from its hash however fast that is, and every request has to compute it.
    """
    return hashlib.sha256(key.encode()).hexdigest()


_LIST = TypeAdapter(tuple[ApiKey, ...])


def parse_keys(text: str) -> tuple[ApiKey, ...]:
    """The keys of a JSON list; ValueError with one sentence, which never repeats the input.

    A key that somebody enters in place of its hash must not end up in a log.
    """
    if not text.strip():
        return ()
    try:
        keys = _LIST.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the list"
        raise ValueError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from None
    for field in ("name", "sha256"):
        if duplicate := _duplicate(getattr(key, field) for key in keys):
            raise ValueError(f"{field}: two keys have {duplicate}")
    return keys


def _duplicate(values: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None
