"""Controls of an edge at any threshold, under the names that results.json uses.

Which stages they come from depends on how the dictionaries were started, see the parameters of the
report stage: two seeds of the parent and the null of the edge, or, with init "parent", warm and
unrelated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from api.lineage.names import Lineage
from shared.arrays import FloatArray
from shared.lineage.roles import Role
from shared.lineage.shares import adjusted, adjusted_interval

Values = dict[str, Any]
RULES = ("share", "share_any", "share_mutual")
DIGITS = 6  # of a threshold, when those of two stages are compared
BINS = 50  # of the highest r under the null, as in the results of match


def suffix(rule: str) -> str:
    """What a rule adds to a name: "" for one-to-one, "_any" and "_mutual" for the others."""
    return rule.removeprefix("share")


def counts(lineage: Lineage, role: str, threshold: float) -> Mapping[str, Any]:
    """What a match stage found at a threshold; empty while it is not finished.

    At another threshold than the planned one, intervals and cosines are left out, and the null is
    read off the stored curve where that has the threshold.
    """
    manifest = lineage.finished(role)
    if manifest is None:
        return {}
    results = manifest.results
    if threshold == manifest.parameters["threshold"]:
        return results
    kept = ("tokens", "documents", "significant", "best_r_parent", "best_r_child", "curve")
    moved = lineage.backend.edges.at(manifest.key, threshold).counts()
    return {
        **{name: results.get(name) for name in kept},
        **moved,
        "null": _null_at(results, threshold),
    }


def _null_at(results: Mapping[str, Any], threshold: float) -> Values | None:
    point = _by_threshold(results).get(round(threshold, DIGITS))
    if point is None or not results.get("null"):
        return None
    return {rule: point.get(f"null{suffix(rule)}") for rule in RULES}


class EdgeControls:
    """The stages that an edge is held against, and what they say at a threshold."""

    def __init__(self, lineage: Lineage, tracking: str, model: str, threshold: float) -> None:
        self._lineage = lineage
        group = lineage.section("tracking")[tracking]["dictionary"]
        warm = lineage.section("dictionaries")[group].get("init") == "parent"
        self.role = (Role.warm if warm else Role.ceiling)(tracking, model)
        self.unrelated_role = Role.unrelated(tracking, model) if warm else ""
        self.kind = ("warm" if warm else "seeds") if self.role in lineage.roles else None
        self.ceiling = counts(lineage, self.role, threshold)
        self.unrelated = counts(lineage, self.unrelated_role, threshold)

    def baseline(self, null: Mapping[str, Any], rule: str) -> float | None:
        """The larger of chance and of what a common start alone gives."""
        known = [one for one in (null.get(rule), self.unrelated.get(rule)) if one is not None]
        return max(known) if known else None

    def values(self, role: str, edge: Mapping[str, Any]) -> Values:
        """Ceiling, null, baseline and adjusted share by each rule, with intervals where known."""
        null = edge.get("null") or {}
        found: Values = {"controls": self.kind}
        for rule in RULES:
            end = suffix(rule)
            baseline, ceiling = self.baseline(null, rule), self.ceiling.get(rule)
            found |= {
                f"interval{end}": edge.get(f"interval{end}"),
                f"ceiling{end}": ceiling,
                f"ceiling{end}_interval": self.ceiling.get(f"interval{end}"),
                f"null{end}": null.get(rule),
                f"unrelated{end}": self.unrelated.get(rule),
                f"baseline{end}": baseline,
                f"adjusted{end}": adjusted(edge.get(rule), baseline, ceiling),
                f"adjusted{end}_interval": self._adjusted_interval(role, rule, edge, baseline),
            }
        return found

    def _adjusted_interval(
        self, role: str, rule: str, edge: Mapping[str, Any], baseline: float | None
    ) -> list[float] | None:
        end = suffix(rule)
        if edge.get(f"interval{end}") is None or self.ceiling.get(f"interval{end}") is None:
            return None
        pair = adjusted_interval(self._drawn(role, rule), baseline, self._drawn(self.role, rule))
        return list(pair) if pair else None

    def _drawn(self, role: str, rule: str) -> FloatArray:
        """Replicates of a share; empty where none were drawn."""
        drawn = self._lineage.arrays(role, "bootstrap.npz")
        return drawn.get(rule, np.empty(0)).astype(np.float64)

    def curve(self, edge: Mapping[str, Any]) -> list[Values]:
        """The shares over thresholds, with those of the controls and the adjusted one."""
        ceiling, unrelated = _by_threshold(self.ceiling), _by_threshold(self.unrelated)
        found = []
        for at, point in _by_threshold(edge).items():
            row: Values = {"threshold": at}
            for rule in RULES:
                end = suffix(rule)
                null, top = point.get(f"null{end}"), ceiling.get(at, {}).get(rule)
                started = unrelated.get(at, {}).get(rule)
                known = [one for one in (null, started) if one is not None]
                row |= {
                    rule: point.get(rule),
                    f"null{end}": null,
                    f"unrelated{end}": started,
                    f"ceiling{end}": top,
                    f"adjusted{end}": adjusted(point.get(rule), max(known) if known else None, top),
                }
            found.append(row)
        return found


def _by_threshold(match: Mapping[str, Any]) -> dict[float, Mapping[str, Any]]:
    return {round(point["threshold"], DIGITS): point for point in match.get("curve") or ()}


def crossed(lineage: Lineage, role: str, edge: Mapping[str, Any], controls: EdgeControls,
            threshold: float) -> Values:  # fmt: skip
    """The shares between other seeds, and the one-to-one share of them between the controls."""
    found = counts(lineage, role, threshold)
    null = found.get("null") or edge.get("null") or {}
    baseline = controls.baseline(null, "share")
    return {
        **{f"crossed{suffix(rule)}": found.get(rule) for rule in RULES},
        "crossed_interval": found.get("interval"),
        "adjusted_crossed": adjusted(found.get("share"), baseline, controls.ceiling.get("share")),
    }


def best_r_of_null(lineage: Lineage, role: str) -> Values | None:
    """Histogram of the best r of the parent's live features, mean over the shifts."""
    manifest = lineage.finished(role)
    if manifest is None or not manifest.results.get("null"):
        return None
    best_r_SF = lineage.arrays(role, "null.npz")["best_r_parent"]
    if best_r_SF.size == 0:
        return None
    values = np.clip(np.nan_to_num(best_r_SF, nan=0.0), 0.0, 1.0)
    numbers, edges = np.histogram(values, bins=BINS, range=(0.0, 1.0))
    return {"edges": edges.round(6).tolist(), "counts": (numbers / len(best_r_SF)).tolist()}
