"""An edge with its controls, under the names that results.json uses, at any threshold."""

from __future__ import annotations

from typing import Any

from fastapi_pagination.cursor import CursorPage
from pydantic import BaseModel, Field

from api.lineage.controls import (
    RULES,
    EdgeControls,
    best_r_of_null,
    counts,
    crossed,
    suffix,
)
from api.lineage.explanations import METHODS, ExplainedEdge, explained_edge
from api.lineage.names import Lineage
from api.lineage.rows import NamedMatchRow
from api.stored.matches import check_threshold, stored_floor
from shared.lineage.roles import Role

Values = dict[str, Any]
Interval = tuple[float, float] | None
FATES = ("persist", "disappear", "split", "merge", "emerge", "split_child", "merge_child")
NUMBERS = ("alive_parent", "alive_child", *FATES)
PERSIST = ("persist_any", "persist_any_child", "persist_mutual")
SCALING = ("disappear", "false_disappear", "emerge", "false_emerge", "same_basis")


class Scaling(BaseModel):
    """Features that disappear or emerge, and how many of them latent scaling finds all the same."""

    disappear: int | None
    false_disappear: int | None
    emerge: int | None
    false_emerge: int | None
    same_basis: bool | None


class Cosine(BaseModel):
    """Cosines between decoder directions: mean of matched pairs, share of mutually closest ones."""

    mean: float | None
    mutual: float | None


class EdgeView(BaseModel):
    """How the features of a parent fare in a child. What is not finished yet is null.

    persist, split, merge and disappear are numbers of the parent's features, emerge, split_child
    and merge_child of the child's. share is persist / alive_parent, inherited persist /
    alive_child. Names without an ending are one-to-one matches; `*_any` counts a feature when any
    live feature of the other model reaches the threshold, `*_mutual` when each is the other's best.

    ceiling is the share between two dictionaries of the parent (ceiling_child: of the child), null
    the share after the child's documents were shifted, unrelated that of a dictionary started from
    the parent's on an untrained model; baseline is the larger of the last two, and adjusted is
    (share - baseline) / (ceiling - baseline). crossed is the share between other seeds. Intervals
    hold 95 % of a bootstrap over documents; they and cosines are null at another than the planned
    threshold, where the null is known at 0.5, 0.55 .. 0.95 only. significant counts live features
    with a false discovery rate of 5 %. best_r holds histograms of the highest r of each live
    feature of the parent.
    """

    tracking: str
    dictionary: str
    parent: str
    child: str
    relation: str = Field(description="edge, or ancestor where the parent is further up.")
    finished: bool
    key: str
    threshold: float
    planned_threshold: float
    floor: float = Field(description="The lowest threshold that can be asked for.")
    min_firings: int
    tokens: int | None
    documents: int | None
    alive_parent: int | None
    alive_child: int | None
    persist: int | None
    disappear: int | None
    emerge: int | None
    split: int | None
    merge: int | None
    split_child: int | None
    merge_child: int | None
    persist_any: int | None
    persist_any_child: int | None
    persist_mutual: int | None
    significant: int | None
    significant_share: float | None
    share: float | None
    share_any: float | None
    share_mutual: float | None
    interval: Interval
    interval_any: Interval
    interval_mutual: Interval
    inherited: float | None
    controls: str | None = Field(
        description="seeds: ceilings compare two seeds; warm: two warm starts; null: none planned."
    )
    ceiling: float | None
    ceiling_any: float | None
    ceiling_mutual: float | None
    ceiling_interval: Interval
    ceiling_any_interval: Interval
    ceiling_mutual_interval: Interval
    ceiling_child: float | None
    ceiling_child_any: float | None
    ceiling_child_mutual: float | None
    null: float | None
    null_any: float | None
    null_mutual: float | None
    unrelated: float | None
    unrelated_any: float | None
    unrelated_mutual: float | None
    baseline: float | None
    baseline_any: float | None
    baseline_mutual: float | None
    adjusted: float | None
    adjusted_any: float | None
    adjusted_mutual: float | None
    adjusted_interval: Interval
    adjusted_any_interval: Interval
    adjusted_mutual_interval: Interval
    crossed: float | None
    crossed_any: float | None
    crossed_mutual: float | None
    crossed_interval: Interval
    adjusted_crossed: float | None
    share_of_ceiling: float | None
    share_of_ceiling_any: float | None
    cosine: Cosine | None
    scaling: Scaling | None
    explained: list[ExplainedEdge] = Field(
        description="By method, at the planned threshold; empty where nothing is explained."
    )
    curve: list[dict[str, float | None]] = Field(
        description="All shares at thresholds from 0.5 to 0.95."
    )
    best_r: dict[str, Any]
    not_finished: list[str] = Field(description="Stages of this edge that are still to come.")


class MatchPage(CursorPage[NamedMatchRow]):
    """A page of the features of one side of an edge."""


class EdgeMatches(EdgeView):
    """An edge with a page of one side's features."""

    side: str
    matches: MatchPage


def relation(lineage: Lineage, tracking: str, parent: str, child: str) -> str | None:
    """What a pair is in a tracking: "edge", "ancestor", or None where it is not matched."""
    pair = (tracking, parent, child)
    for role, word in ((Role.match(*pair), "edge"), (Role.ancestor(*pair), "ancestor")):
        if role in lineage.roles:
            return word
    return None


def match_role(lineage: Lineage, tracking: str, parent: str, child: str) -> Role:
    """The role of the match of an edge or of a pair of an ancestor and a descendant."""
    pair = (tracking, parent, child)
    known = relation(lineage, *pair)
    return Role.ancestor(*pair) if known == "ancestor" else Role.match(*pair)


def edge_view(
    lineage: Lineage, tracking: str, parent: str, child: str, threshold: float | None
) -> Values:
    """The values of an EdgeView; a 422 problem when the threshold is below the stored floor."""
    role = match_role(lineage, tracking, parent, child)
    key = lineage.roles[role]
    planned = lineage.experiment.plan.stage(key).parameters
    at = planned["threshold"] if threshold is None else threshold
    check_threshold(at, planned)
    edge = counts(lineage, role, at)
    controls = EdgeControls(lineage, tracking, parent, at)
    others = (
        controls.role,
        controls.unrelated_role,
        Role.ceiling(tracking, child),
        Role.crossed(tracking, parent, child),
        Role.scaling(tracking, parent, child),
    )
    explained = [Role.explained_edge(tracking, method, parent, child) for method in METHODS]
    planned_here = at == planned["threshold"]
    return {
        "tracking": tracking,
        "dictionary": lineage.section("tracking")[tracking]["dictionary"],
        "parent": parent,
        "child": child,
        "relation": relation(lineage, tracking, parent, child),
        "finished": bool(edge),
        "key": key,
        "threshold": at,
        "planned_threshold": planned["threshold"],
        "floor": stored_floor(planned),
        "min_firings": planned["min_firings"],
        **{name: edge.get(name) for name in ("tokens", "documents", "cosine", "significant")},
        **{name: edge.get(name) for name in (*NUMBERS, *PERSIST, *RULES)},
        "significant_share": _ratio(edge.get("significant"), edge.get("alive_parent")),
        "inherited": _ratio(edge.get("persist"), edge.get("alive_child")),
        **controls.values(role, edge),
        **_child_ceiling(lineage, tracking, child, at),
        **crossed(lineage, others[3], edge, controls, at),
        "share_of_ceiling": _ratio(edge.get("share"), controls.ceiling.get("share")),
        "share_of_ceiling_any": _ratio(edge.get("share_any"), controls.ceiling.get("share_any")),
        "scaling": _scaling(lineage, others[4], planned_here),
        "explained": explained_edge(lineage, tracking, parent, child) if planned_here else [],
        "curve": controls.curve(edge),
        "best_r": {
            "edge": edge.get("best_r_parent"),
            "ceiling": controls.ceiling.get("best_r_parent"),
            "null": best_r_of_null(lineage, role),
        },
        "not_finished": lineage.unfinished([role, *others, *explained]),
    }


def _child_ceiling(lineage: Lineage, tracking: str, child: str, threshold: float) -> Values:
    """What two dictionaries of the child share."""
    ceiling = EdgeControls(lineage, tracking, child, threshold).ceiling
    return {f"ceiling_child{suffix(rule)}": ceiling.get(rule) for rule in RULES}


def _scaling(lineage: Lineage, role: str, planned: bool) -> Values | None:
    """What latent scaling found; it belongs to the planned threshold."""
    manifest = lineage.finished(role)
    if manifest is None or not planned:
        return None
    return {name: manifest.results.get(name) for name in SCALING}


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
