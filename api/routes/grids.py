"""Grids of dictionaries and crosscoders of an experiment over REST."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from api.backend import BackendDependency
from api.http.parameters import ChildName, Number, ParentName
from api.http.problems import SpecProblem, UnknownProblem
from api.lineage.names import Lineage, listed, open_lineage
from shared.lineage.roles import Role, roles_of
from shared.lineage.stability import recommend

router = APIRouter(prefix="/v1/experiments", tags=["results"])

SPARSITIES = ("k", "l0", "l1")
MEASURED = ("l0", "explained_variance", "loss_recovered", "dead_share")
GridName = Annotated[str, Path(description="Name of a grid in the spec's stability section.")]


class CellView(BaseModel):
    """Dictionaries of one size and sparsity. What is not finished yet is null.

    ceiling is the share of features that the first two seeds have in common, interval its 95 %
    over documents; l0, explained_variance, loss_recovered and dead_share are means over the seeds.
    """

    cell: int
    features: int
    sparsity_by: str | None = Field(description="k, l0 or l1: how sparsity was asked for.")
    sparsity: float | None
    ceiling: float | None
    ceiling_any: float | None
    ceiling_mutual: float | None
    interval: tuple[float, float] | None
    alive: int | None = Field(description="Features of the first seed that fire often enough.")
    l0: float | None
    explained_variance: float | None
    loss_recovered: float | None
    dead_share: float | None
    dictionaries: int = Field(description="How many seeds are evaluated so far.")


class GridView(BaseModel):
    """A grid of dictionaries of one model, and the cell to use."""

    name: str
    model: str
    hook: str
    layer: int
    variant: str
    threshold: float
    cells: list[CellView]
    recommended: int | None = Field(
        description="The cell with the highest ceiling among those that explain enough; null when "
        "none is fit, or none is finished."
    )
    not_finished: list[str] = Field(description="Stages of this grid that are still to come.")


class CrosscoderView(BaseModel):
    """What one dictionary of a parent and its child together found.

    kinds are numbers of features: shared, parent and child (in that one only), false_parent and
    false_child (so by their norms, but not by latent scaling), dead. relative_norm is a histogram
    of child / (parent + child) over decoder norms.
    """

    group: str
    parent: str
    child: str
    key: str
    files: str = Field(description="Where its artifact is.")
    features: int | None
    width: int | None
    l0: float | None
    explained_variance_parent: float | None
    explained_variance_child: float | None
    dead_share: float | None
    kinds: dict[str, int]
    relative_norm: dict[str, Any] | None
    vectors: int | None
    tokens: int | None


@router.get("/{number}/stability/{name}")
def stability(number: Number, name: GridName, backend: BackendDependency) -> GridView:
    """A grid over dictionary size and sparsity, as far as it is finished."""
    lineage = open_lineage(backend, number)
    fields = lineage.named("stability", name, "grid")
    asked = lineage.parameters.cells[name]
    cells = [_cell(lineage, name, place, one) for place, one in enumerate(asked)]
    roles = roles_of(lineage.roles, "stability", name)
    return GridView(
        name=name,
        **{key: fields[key] for key in ("model", "hook", "layer", "variant", "threshold")},
        cells=cells,
        recommended=recommend([one.model_dump(include=_RULED) for one in cells]),
        not_finished=lineage.unfinished(roles),
    )


_RULED = {"ceiling", "explained_variance", "dead_share", "l0", "features"}


def _cell(lineage: Lineage, name: str, place: int, asked: Mapping[str, float]) -> CellView:
    roles = roles_of(lineage.roles, "stability", name, str(place), "quality")
    found = [manifest.results for role in roles if (manifest := lineage.finished(role))]
    matched = lineage.finished(Role.cell_ceiling(name, place))
    ceiling = matched.results if matched else {}
    by = next((name for name in SPARSITIES if name in asked), None)
    return CellView(
        cell=place,
        features=int(asked["features"]),
        sparsity_by=by,
        sparsity=asked.get("sparsity"),
        ceiling=ceiling.get("share"),
        ceiling_any=ceiling.get("share_any"),
        ceiling_mutual=ceiling.get("share_mutual"),
        interval=ceiling.get("interval"),
        alive=ceiling.get("alive_parent"),
        **{key: _mean([one.get(key) for one in found]) for key in MEASURED},
        dictionaries=len(found),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


@router.get("/{number}/crosscoders/{parent}/{child}")
def crosscoder(
    number: Number,
    parent: ParentName,
    child: ChildName,
    backend: BackendDependency,
    group: Annotated[
        str | None,
        Query(description="Which crosscoders; may be left out where one fits.", max_length=64),
    ] = None,
) -> CrosscoderView:
    """What the crosscoder of an edge found, once it is trained."""
    lineage = open_lineage(backend, number)
    name = _group(lineage, parent, child, group)
    manifest = lineage.manifest(Role.crosscoder(name, parent, child))
    shown = CrosscoderView.model_fields.keys() - {"group", "parent", "child", "key", "files"}
    found = {key: manifest.results.get(key) for key in shown}
    return CrosscoderView(
        group=name,
        parent=parent,
        child=child,
        key=manifest.key,
        files=f"/v1/artifacts/{manifest.key}",
        **{**found, "kinds": found["kinds"] or {}},
    )


def _group(lineage: Lineage, parent: str, child: str, wanted: str | None) -> str:
    """The group of crosscoders that is meant; 404 when none fits, 422 when several do."""
    fitting = [
        name
        for name in lineage.section("dictionaries")
        if Role.crosscoder(name, parent, child) in lineage.roles and wanted in (None, name)
    ]
    if not fitting:
        roles = [role.names for role in roles_of(lineage.roles, "crosscoder")]
        known = listed([f"{parent} -> {child} ({group})" for group, parent, child in roles])
        raise UnknownProblem(
            detail=f"{lineage.experiment.id} has no such crosscoder of {parent} -> {child}; "
            f"it has {known}"
        )
    if len(fitting) > 1:
        sentence = f"name one of the groups {listed(fitting)}"
        raise SpecProblem(
            detail=f"group: {sentence}", errors=[{"field": "group", "message": sentence}]
        )
    return fitting[0]
