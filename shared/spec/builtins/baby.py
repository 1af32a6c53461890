"""Conversations of a parent and a small child."""

from __future__ import annotations

from shared.spec.builtins.base import BuiltinDeclaration

BUILTIN = BuiltinDeclaration(
    name="baby",
    summary="generated conversations of a parent and a small child",
    digest="dfcaea6fec5fd84194a4b1ab87842dba0a0d9a8611466b84ead58dc0923332bb",
)
