"""The source of Python's standard library."""

from __future__ import annotations

from shared.spec.builtins.base import BuiltinDeclaration

BUILTIN = BuiltinDeclaration(
    name="python-stdlib",
    summary="the source of the standard library of the Python that runs",
    digest=None,
)
