"""Who asks, and what they may do: API keys and their scopes.

`Keys` finds the caller of a connection; api.security.admission uses it once for every request. A
route declares what it needs by the type of a parameter: `caller: Reader`, `Submitter` or `Admin`.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.exceptions import HTTPException
from fastapi.security import HTTPBasic, HTTPBearer
from fastapi_problem.error import ForbiddenProblem, UnauthorisedProblem
from starlette.requests import HTTPConnection

from shared.api_keys import ApiKey, Scope, key_hash
from shared.settings import Settings

READING = frozenset({"GET", "HEAD", "OPTIONS"})
INCLUDED: dict[Scope, tuple[Scope, ...]] = {
    "read": ("read",),
    "submit": ("submit", "read"),
    "admin": ("admin", "submit", "read"),
}
REALM = "Lineament"
# Sent as two header fields: Chrome reads one challenge a field, and would not ask for a password.
CHALLENGES = (f'Bearer realm="{REALM}"', f'Basic realm="{REALM}", charset="UTF-8"')


class NotAuthenticated(UnauthorisedProblem):
    """No key, or one that is not configured."""

    title = "An API key is needed."


class NotAllowed(ForbiddenProblem):
    """The caller is known and may not do this."""

    title = "Not allowed."


@dataclass(frozen=True)
class Caller:
    """Who asks: the name of the key ("" where none is configured), its scopes and limits.

    `rate` is requests per time ("1200/minute" or "off"), `open_experiments` 0 for no limit,
    `upload_bytes` the largest upload.
    """

    name: str
    scopes: frozenset[Scope]
    rate: str
    open_experiments: int
    upload_bytes: int

    def may(self, scope: Scope) -> bool:
        """True when the caller has the scope."""
        return scope in self.scopes

    def owns(self, owner: str) -> bool:
        """True when the caller may change what belongs to `owner`: its own things, or as admin."""
        return self.name == owner or self.may("admin")


class Keys:
    """The configured keys."""

    def __init__(self, settings: Settings) -> None:
        self._callers = [(key.sha256, _caller(key, settings)) for key in settings.api_keys]
        everything = frozenset(INCLUDED)
        self._anybody = Caller(
            "", everything, settings.rate, settings.open_experiments, settings.upload_limit
        )

    @property
    def configured(self) -> bool:
        """False when nobody needs a key, and so only this machine is answered."""
        return bool(self._callers)

    async def caller(self, connection: HTTPConnection) -> Caller | None:
        """Who asks, or None. Without configured keys it is everybody, by the name ""."""
        if not self._callers:
            return self._anybody
        presented = await _presented(connection)
        return None if presented is None else self._holder(presented)

    def _holder(self, key: str) -> Caller | None:
        """The holder of a key. Every hash is compared, so that the time reveals nothing."""
        presented = key_hash(key)
        holder = None
        for configured, caller in self._callers:
            if hmac.compare_digest(configured, presented):
                holder = caller
        return holder


def _caller(key: ApiKey, settings: Settings) -> Caller:
    scopes = frozenset(each for scope in key.scopes for each in INCLUDED[scope])
    return Caller(
        name=key.name,
        scopes=scopes,
        rate=key.rate or settings.rate,
        open_experiments=settings.open_experiments
        if key.open_experiments is None
        else key.open_experiments,
        upload_bytes=key.upload_bytes or settings.upload_limit,
    )


BEARER = HTTPBearer(description="An API key as bearer token.", auto_error=False)
BASIC = HTTPBasic(
    realm=REALM,
    description="For browsers: any user name, and an API key as password.",
    auto_error=False,
)


async def _presented(connection: HTTPConnection) -> str | None:
    """The key in the Authorization header. A key in a URL is ignored: it would end up in logs."""
    if bearer := await BEARER(connection):
        return bearer.credentials
    try:
        basic = await BASIC(connection)
    except HTTPException:  # not base64, or no colon in it
        return None
    return basic.password if basic else None


def needs(scope: Scope) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency that returns the caller; a 401 or 403 problem without the scope."""

    async def check(request: Request) -> Caller:
        caller = cast("Caller | None", request.state.caller)
        if caller is None:
            raise NotAuthenticated(detail="send a configured API key as bearer token")
        if not caller.may(scope):
            raise NotAllowed(detail=f"the key {caller.name} does not have the scope {scope!r}")
        return caller

    return check


_read, _submit = needs("read"), needs("submit")


async def needs_by_method(request: Request) -> Caller:
    """The least that a request needs, whatever its route declares: `read`, or `submit` to change.

    Declared for whole routers, so that it is checked before anything else and never forgotten.
    """
    return await (_read if request.method in READING else _submit)(request)


Reader = Annotated[Caller, Depends(needs("read"))]
Submitter = Annotated[Caller, Depends(needs("submit"))]
Admin = Annotated[Caller, Depends(needs("admin"))]
