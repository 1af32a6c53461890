"""Results of an experiment's stages at any threshold, as far as they are finished.

At another threshold than the planned one an edge is matched again from its stored candidates.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from api.lineage.names import Lineage
from shared.lineage.controls import DIGITS, by_threshold
from shared.lineage.pair import Arrays, Results
from shared.lineage.roles import Role
from shared.lineage.shares import RULES, suffix

# Results of a match that do not depend on the threshold.
FIXED = ("tokens", "documents", "significant", "best_r_parent", "best_r_child", "curve")


class AtThreshold:
    """What the stages of a lineage found at a threshold (see shared.lineage.pair.Source).

    At another than the `planned` one intervals, cosines and latent scaling are not known, and the
    null is read off the stored curve where that has the threshold.
    """

    def __init__(self, lineage: Lineage, planned: float, threshold: float) -> None:
        self._lineage = lineage
        self._planned, self._threshold = planned, threshold

    @property
    def roles(self) -> Collection[str]:
        """The roles that are planned."""
        return self._lineage.roles

    def results(self, role: Role) -> Results:
        """Results of a finished stage; empty for others."""
        results = self._lineage.results(role)
        if not results or self._threshold == self._planned:
            return results
        return {} if role.kind == "scaling" else self._matched_again(role, results)

    def arrays(self, role: Role, file: str) -> Arrays:
        """The arrays of a finished stage, which are those of the planned threshold."""
        return self._lineage.arrays(role, file)

    def _matched_again(self, role: Role, results: Results) -> Results:
        edges = self._lineage.backend.edges
        return {
            **{name: results[name] for name in FIXED},
            **edges.at(self._lineage.roles[role], self._threshold).counts(),
            "null": _null_at(self._threshold, results),
        }


def _null_at(threshold: float, results: Results) -> dict[str, Any] | None:
    point = by_threshold(results).get(round(threshold, DIGITS))
    if point is None or not results["null"]:
        return None
    return {rule: point[f"null{suffix(rule)}"] for rule in RULES}
