"""Edges of results.json: the fate of every feature, shares by three rules, and their controls.

Definitions, the same for every edge parent -> child of a tracking:
  share        persist / alive_parent, persist being one-to-one matches at r >= threshold
  *_any, *_mutual  the same when a partner may be used more than once, and when each must be the
               other's best
  interval     95 % of a bootstrap over documents
  ceiling, null, baseline, adjusted  see results_controls
  ceiling_child  the ceiling of the child model, where it has one
  crossed      the parent's first dictionary seed against the child's second: what is left of the
               share when no two dictionaries can have started alike
  inherited    persist / alive_child, the share of the child's features that come from the parent
  share_of_ceiling  share / ceiling
  scaling      features whose fate latent scaling contradicts: see LatentScalingParameters
  best_r       histograms of the highest r that each live feature of the parent reaches
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.analyzer.report.family import section
from services.analyzer.report.inputs.inputs import Material
from services.analyzer.report.results.controls import (
    RULES,
    Controls,
    baseline_of,
    controlled,
    controls_of,
    curve_of,
    resampled_interval,
    suffix,
)
from shared.lineage.roles import Role, roles_of
from shared.lineage.shares import adjusted

Values = dict[str, Any]
PARENT_FATES = ("persist", "disappear", "split", "merge")
CHILD_FATES = ("persist", "emerge", "split_child", "merge_child")
SCALING = ("disappear", "false_disappear", "emerge", "false_emerge", "same_basis")


def edges(material: Material) -> list[Values]:
    """One entry for every edge of every tracking. ValueError when counts do not add up."""
    return [
        edge_of(Role.match(tracking, parent, child), material)
        for tracking in material.trackings
        for parent, child in material.parameters.edges
        if Role.match(tracking, parent, child) in material.results
    ]


def ancestors(material: Material) -> list[Values]:
    """The same for pairs of an ancestor and a descendant that is not its child, in their order."""
    place = {name: number for number, name in enumerate(material.models)}

    def order(role: Role) -> tuple[str, int, int]:
        tracking, ancestor, model = role.names
        return tracking, place[ancestor], place[model]

    roles = roles_of(material.results, "ancestor")
    return [edge_of(role, material) for role in sorted(roles, key=order)]


def ratio(part: float | None, whole: float | None) -> float | None:
    """part / whole, None when one is missing or the whole is 0."""
    return part / whole if part is not None and whole else None


def check(name: str, match: Mapping[str, Any]) -> None:
    """Every live feature has one fate; anything else is a mistake of the match stage."""
    for side, fates in (("alive_parent", PARENT_FATES), ("alive_child", CHILD_FATES)):
        if sum(match.get(fate) or 0 for fate in fates) != match[side]:
            raise ValueError(f"{name}: {' + '.join(fates)} is not {side}")


def edge_of(role: Role, material: Material) -> Values:
    """The entry of one match or ancestor role."""
    tracking, parent, child = role.names
    match = material.results[role]
    check(f"{tracking}: {parent} -> {child}", match)
    controls = controls_of(tracking, parent, material)
    fields = section(material.spec, "tracking").get(tracking, {})
    shares = _shares(match)
    scaling = material.results.get(Role.scaling(tracking, parent, child))
    return {
        "tracking": tracking,
        "dictionary": fields.get("dictionary"),
        "parent": parent,
        "child": child,
        "threshold": fields.get("threshold"),
        "min_firings": fields.get("min_firings"),
        "documents": match.get("documents"),
        **_counts(match),
        **shares,
        "inherited": ratio(match["persist"], match["alive_child"]),
        **controlled(role, match, shares, controls, material),
        **_child_ceiling(tracking, child, material),
        **_crossed(Role.crossed(tracking, parent, child), match, controls, material),
        "share_of_ceiling": ratio(shares["share"], controls.ceiling.get("share")),
        "share_of_ceiling_any": ratio(shares["share_any"], controls.ceiling.get("share_any")),
        "cosine": match.get("cosine"),
        "scaling": {key: scaling.get(key) for key in SCALING} if scaling else None,
        "curve": curve_of(match, controls),
        "best_r": {
            "edge": match.get("best_r_parent"),
            "ceiling": controls.ceiling.get("best_r_parent"),
            "null": material.null_best_r.get(role) or None,
        },
    }


def _counts(match: Mapping[str, Any]) -> Values:
    """Numbers of features; None for those that an old match stage did not tell apart."""
    names = dict.fromkeys(["alive_parent", "alive_child", *PARENT_FATES, *CHILD_FATES])
    return {
        **{name: match.get(name) for name in names},
        **{name: match.get(name) for name in ("persist_any", "persist_mutual", "significant")},
        "significant_share": ratio(match.get("significant"), match["alive_parent"]),
    }


def _shares(match: Mapping[str, Any]) -> dict[str, float | None]:
    names = {"share": "persist", "share_any": "persist_any", "share_mutual": "persist_mutual"}
    return {rule: ratio(match.get(names[rule]), match["alive_parent"]) for rule in RULES}


def _child_ceiling(tracking: str, child: str, material: Material) -> Values:
    """What two dictionaries of the child share."""
    ceiling = controls_of(tracking, child, material).ceiling
    return {f"ceiling_child{suffix(rule)}": ceiling.get(rule) for rule in RULES}


def _crossed(role: str, match: Mapping[str, Any], controls: Controls, material: Material) -> Values:
    """The shares between other seeds, and the one-to-one share of them between the controls."""
    crossed = material.results.get(role, {})
    null = crossed.get("null") or match.get("null") or {}
    baseline = baseline_of(null.get("share"), controls.unrelated.get("share"))
    return {
        **{f"crossed{suffix(rule)}": crossed.get(rule) for rule in RULES},
        "crossed_interval": crossed.get("interval") or resampled_interval(role, "share", material),
        "adjusted_crossed": adjusted(crossed.get("share"), baseline, controls.ceiling.get("share")),
    }
