"""Grids of dictionaries over size and sparsity, over REST: which one to use."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from api.backend import BackendDependency
from api.http.parameters import Number
from api.lineage.names import open_lineage
from shared.lineage.roles import roles_of
from shared.lineage.stability import Cell, cells_of, recommend

router = APIRouter(prefix="/v1/experiments", tags=["results"])

SETTINGS = ("model", "hook", "layer", "variant", "threshold")
GridName = Annotated[str, Path(description="Name of a grid in the spec's stability section.")]


class CellView(Cell):
    """Dictionaries of one size and sparsity. What is not finished yet is null.

    ceiling is the share of features that the first two seeds have in common, interval its 95 %
    over documents; l0, explained_variance, loss_recovered and dead_share are means over the seeds.
    """

    cell: int


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


@router.get("/{number}/stability/{name}")
def stability(number: Number, name: GridName, backend: BackendDependency) -> GridView:
    """A grid over dictionary size and sparsity, as far as it is finished."""
    lineage = open_lineage(backend, number)
    fields = lineage.named("stability", name, "grid")
    cells = cells_of(name, lineage.parameters.cells[name], lineage)
    return GridView(
        name=name,
        **{key: fields[key] for key in SETTINGS},
        cells=[CellView(**dict(one), cell=place) for place, one in enumerate(cells)],
        recommended=recommend(cells),
        not_finished=lineage.unfinished(roles_of(lineage.roles, "stability", name)),
    )
