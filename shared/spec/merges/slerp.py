"""SLERP: a point on the arc between two models."""

from __future__ import annotations

from shared.spec.merges.base import MethodDeclaration

METHOD = MethodDeclaration(
    name="slerp",
    summary="on the arc between two models, each tensor by itself",
    direction=True,
)
