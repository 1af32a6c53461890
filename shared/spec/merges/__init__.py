"""Merge methods, one file each: what a spec may ask of them.

Their code is in services/merger/methods, under the same names.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.spec.merges.base import MethodDeclaration
from shared.spec.registry import declared

DEFAULT = "slerp"
METHODS: Mapping[str, MethodDeclaration] = declared(
    __name__, __path__, MethodDeclaration, first=DEFAULT
)
DIRECTED = {name: method for name, method in METHODS.items() if method.direction}
