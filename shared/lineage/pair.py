"""A parent and a child that a tracking compares, and where what is known of them comes from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from shared.lineage.roles import Role

Results = Mapping[str, Any]
Arrays = Mapping[str, npt.NDArray[Any]]


class Source(Protocol):
    """What stages found, by their roles: REST reads manifests, the report its inputs."""

    @property
    def roles(self) -> Collection[str]:
        """The roles that there are, of stages that are finished or not."""

    def results(self, role: Role) -> Results:
        """The results of a stage at the threshold that is asked for; empty while there are none."""

    def arrays(self, role: Role, file: str) -> Arrays:
        """The arrays of an .npz file of a stage that has results."""


@dataclass(frozen=True)
class Pair:
    """An edge, or an ancestor and a descendant that is not its child.

    `role` is that of their match, `dictionary` the group of dictionaries that the tracking
    compares, `warm` whether these start from their parents'; `min_firings` and `threshold` are
    those of the matches.
    """

    role: Role
    dictionary: str
    warm: bool
    threshold: float
    min_firings: int

    @property
    def tracking(self) -> str:
        """The name of the tracking."""
        return self.role.names[0]

    @property
    def parent(self) -> str:
        """The name of the parent, or of the ancestor."""
        return self.role.names[1]

    @property
    def child(self) -> str:
        """The name of the child, or of the descendant."""
        return self.role.names[2]


def pair_of(role: Role, spec: Mapping[str, Any], threshold: float | None = None) -> Pair:
    """The pair of a match or ancestor role, at another threshold than the planned one if given.

    `spec` is the user's document with its defaults.
    """
    fields = spec["tracking"][role.names[0]]
    group = spec["dictionaries"][fields["dictionary"]]
    return Pair(
        role=role,
        dictionary=fields["dictionary"],
        warm=group["init"] == "parent",
        threshold=fields["threshold"] if threshold is None else threshold,
        min_firings=fields["min_firings"],
    )
