"""Lua code."""

from __future__ import annotations

from shared.spec.builtins.base import BuiltinDeclaration

BUILTIN = BuiltinDeclaration(
    name="lua",
    summary="generated Lua code",
    digest="488806ef5857d43f2587a06b08a5a8e76a857130d6115c41babe330e15726014",
)
