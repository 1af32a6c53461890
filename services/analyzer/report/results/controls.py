"""The two controls of an edge, and its shares between them.

Which stages they come from depends on how the dictionaries were started:
  seeds  ceiling: two dictionaries of the parent with other seeds; baseline: the null of the edge
  warm   (init: parent) ceiling: the parent's dictionary against one started from it on the same
         model with another order of data; baseline: the larger of the null and the share that
         the parent's dictionary keeps when one started from it is trained on an untrained model,
         because a common start alone makes features agree
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.analyzer.report.inputs.inputs import Material
from shared.arrays import FloatArray
from shared.lineage.roles import Role
from shared.lineage.shares import adjusted, adjusted_interval, interval

Values = dict[str, Any]
RULES = ("share", "share_any", "share_mutual")
DIGITS = 6  # of a threshold, when those of two stages are compared


def suffix(rule: str) -> str:
    """What a rule adds to a name: "" for one-to-one, "_any" and "_mutual" for the others."""
    return rule.removeprefix("share")


@dataclass(frozen=True)
class Controls:
    """Results of the stages that an edge is held against; empty where there is none."""

    kind: str | None
    ceiling: Mapping[str, Any] = field(default_factory=dict)
    ceiling_role: str = ""
    unrelated: Mapping[str, Any] = field(default_factory=dict)


def controls_of(tracking: str, model: str, material: Material) -> Controls:
    """The controls of edges that leave a model."""
    results = material.results
    warm = material.dictionaries_of(tracking).get("init") == "parent"
    role = (Role.warm if warm else Role.ceiling)(tracking, model)
    if role not in results:
        return Controls(None)
    unrelated = results.get(Role.unrelated(tracking, model), {}) if warm else {}
    return Controls("warm" if warm else "seeds", results[role], role, unrelated)


def baseline_of(null: float | None, unrelated: float | None) -> float | None:
    """The larger of the two; None when neither is known."""
    known = [value for value in (null, unrelated) if value is not None]
    return max(known) if known else None


def controlled(
    role: str,
    match: Mapping[str, Any],
    shares: Mapping[str, float | None],
    controls: Controls,
    material: Material,
) -> Values:
    """Ceiling, null, baseline and adjusted share of an edge by each of the three rules.

    `shares` are the edge's own; `baseline` is what adjusted shares are measured from. Names end in
    "_any" and "_mutual" for the other rules than one-to-one.
    """
    null = match.get("null") or {}
    found: Values = {"controls": controls.kind}
    for rule in RULES:
        end = suffix(rule)
        baseline = baseline_of(null.get(rule), controls.unrelated.get(rule))
        ceiling = controls.ceiling.get(rule)
        found[f"interval{end}"] = match.get(f"interval{end}")
        found[f"ceiling{end}"] = ceiling
        found[f"ceiling{end}_interval"] = controls.ceiling.get(f"interval{end}")
        found[f"null{end}"] = null.get(rule)
        found[f"unrelated{end}"] = controls.unrelated.get(rule)
        found[f"baseline{end}"] = baseline
        between = adjusted(shares[rule], baseline, ceiling)
        found[f"adjusted{end}"] = between
        found[f"adjusted{end}_interval"] = (
            None
            if between is None
            else _adjusted_interval(
                material.bootstrap.get(role, {}).get(rule),
                baseline,
                material.bootstrap.get(controls.ceiling_role, {}).get(rule),
            )
        )
    return found


def _adjusted_interval(
    share_B: FloatArray | None, baseline: float | None, ceiling_B: FloatArray | None
) -> list[float] | None:
    if share_B is None or ceiling_B is None:
        return None
    found = adjusted_interval(share_B, baseline, ceiling_B)
    return list(found) if found else None


def resampled_interval(role: str, rule: str, material: Material) -> list[float] | None:
    """The interval of a share from its replicates, where they were drawn."""
    share_B = material.bootstrap.get(role, {}).get(rule)
    found = None if share_B is None else interval(share_B)
    return list(found) if found else None


def curve_of(match: Mapping[str, Any], controls: Controls) -> list[Values]:
    """The shares over thresholds, with those of the null, the ceiling and the adjusted one.

    Empty where the match stage gave none. A control without a point at a threshold is None there.
    """
    ceiling, unrelated = _by_threshold(controls.ceiling), _by_threshold(controls.unrelated)
    return [_point(point, ceiling, unrelated) for point in match.get("curve") or ()]


def _by_threshold(match: Mapping[str, Any]) -> dict[float, Mapping[str, Any]]:
    return {round(point["threshold"], DIGITS): point for point in match.get("curve") or ()}


def _point(
    point: Mapping[str, Any],
    ceiling: Mapping[float, Mapping[str, Any]],
    unrelated: Mapping[float, Mapping[str, Any]],
) -> Values:
    at = round(point["threshold"], DIGITS)
    found: Values = {"threshold": at}
    for rule in RULES:
        end = suffix(rule)
        null, top = point.get(f"null{end}"), ceiling.get(at, {}).get(rule)
        started = unrelated.get(at, {}).get(rule)
        found[rule] = point.get(rule)
        found[f"null{end}"] = null
        found[f"unrelated{end}"] = started
        found[f"ceiling{end}"] = top
        found[f"adjusted{end}"] = adjusted(point.get(rule), baseline_of(null, started), top)
    return found
