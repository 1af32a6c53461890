"""Stories in simple English."""

from __future__ import annotations

from shared.spec.builtins.base import BuiltinDeclaration

BUILTIN = BuiltinDeclaration(
    name="stories",
    summary="generated stories in simple English",
    digest="b425988427ad0541dbe613ac703f19a73460198912dfdfb0d2e859f609ce7f4d",
)
