"""An edge with its controls, under the names that results.json uses, at any threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi_pagination.cursor import CursorPage
from pydantic import BaseModel, Field

from api.lineage.matches import COUNTS, check_threshold, stored_floor
from api.lineage.names import Lineage
from api.lineage.rows import MatchRow

Values = dict[str, Any]


class EdgeView(BaseModel):
    """How the features of a parent fare in a child. What is not finished yet is null.

    persist, disappear and emerge are numbers of features; share is persist / alive_parent and
    inherited persist / alive_child. `*_any` counts a feature when any live feature of the other
    model reaches the threshold, however many share it. ceiling is the share between two dictionary
    seeds of the parent (ceiling_child: of the child), null the share after the child's stream was
    shifted. best_r holds histograms of the highest r of each live feature of the parent.
    """

    tracking: str
    dictionary: str
    parent: str
    child: str
    finished: bool
    key: str
    threshold: float
    planned_threshold: float
    floor: float = Field(description="The lowest threshold that can be asked for.")
    min_firings: int
    tokens: int | None
    alive_parent: int | None
    alive_child: int | None
    persist: int | None
    disappear: int | None
    emerge: int | None
    persist_any: int | None
    persist_any_child: int | None
    share: float | None
    share_any: float | None
    inherited: float | None
    ceiling: float | None
    ceiling_any: float | None
    ceiling_child: float | None
    ceiling_child_any: float | None
    null: float | None
    null_any: float | None
    share_of_ceiling: float | None
    share_of_ceiling_any: float | None
    best_r: dict[str, Any]
    not_finished: list[str] = Field(description="Stages of this edge that are still to come.")


class MatchPage(CursorPage[MatchRow]):
    """A page of the features of one side of an edge."""


class EdgeMatches(EdgeView):
    """An edge with a page of one side's features."""

    side: str
    matches: MatchPage


def edge_view(
    lineage: Lineage, tracking: str, parent: str, child: str, threshold: float | None
) -> Values:
    """The values of an EdgeView; a 422 problem when the threshold is below the stored floor."""
    role = f"match/{tracking}/{parent}/{child}"
    key = lineage.roles[role]
    planned = lineage.experiment.plan.stage(key).parameters
    at = planned["threshold"] if threshold is None else threshold
    check_threshold(at, planned)
    controls = {
        "null": f"null/{tracking}/{parent}/{child}",
        "ceiling": f"ceiling/{tracking}/{parent}",
        "ceiling_child": f"ceiling/{tracking}/{child}",
    }
    edge = counts(lineage, role, at)
    found = {name: counts(lineage, control, at) for name, control in controls.items()}
    share, share_any = edge.get("share"), edge.get("share_any")
    return {
        "tracking": tracking,
        "dictionary": lineage.section("tracking")[tracking]["dictionary"],
        "parent": parent,
        "child": child,
        "finished": bool(edge),
        "key": key,
        "threshold": at,
        "planned_threshold": planned["threshold"],
        "floor": stored_floor(planned),
        "min_firings": planned["min_firings"],
        "tokens": edge.get("tokens"),
        **{name: edge.get(name) for name in COUNTS},
        "share": share,
        "share_any": share_any,
        "inherited": _ratio(edge.get("persist"), edge.get("alive_child")),
        **{name: control.get("share") for name, control in found.items()},
        **{f"{name}_any": control.get("share_any") for name, control in found.items()},
        "share_of_ceiling": _ratio(share, found["ceiling"].get("share")),
        "share_of_ceiling_any": _ratio(share_any, found["ceiling"].get("share_any")),
        "best_r": {
            "edge": edge.get("best_r_parent"),
            "ceiling": found["ceiling"].get("best_r_parent"),
            "null": found["null"].get("best_r_parent"),
        },
        "not_finished": lineage.unfinished([role, *controls.values()]),
    }


def counts(lineage: Lineage, role: str, threshold: float) -> Mapping[str, Any]:
    """What a match stage found at a threshold; empty while it is not finished."""
    manifest = lineage.finished(role)
    if manifest is None:
        return {}
    if threshold == manifest.parameters["threshold"]:
        return manifest.results
    moved = lineage.backend.edges.at(manifest.key, threshold).counts()
    return {**manifest.results, **moved}


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
