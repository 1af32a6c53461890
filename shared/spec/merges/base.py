"""What a merge method says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.spec.own_settings import Configurable


@dataclass(frozen=True, kw_only=True)
class MethodDeclaration(Configurable):
    """A way to combine models, as a spec knows it.

    One with a `direction` has exactly two parents, `at_zero` and `at_one`, and `t` says where
    between them the merge is; one without has any number of parents, and no t.
    `notes` describes what its code says of each tensor: keys of the rows of tensors.jsonl.
    """

    direction: bool
    notes: Mapping[str, str] = field(default_factory=dict)
