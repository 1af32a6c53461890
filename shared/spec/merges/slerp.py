"""SLERP: a point on the arc between two models."""

from __future__ import annotations

from shared.spec.merges.base import MethodDeclaration

METHOD = MethodDeclaration(
    name="slerp",
    summary="on the arc between two models, each tensor by itself",
    direction=True,
    notes={
        "dot": "cosine between the two tensors, taken as vectors; null where undefined",
        "angle_degrees": "angle between them in degrees, or null",
        "linear": "bool: interpolated linearly, as their angle does not allow SLERP",
    },
)
