"""Which dictionary to use: the ceiling over the size of the dictionary and its sparsity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from services.analyzer.report.figures.text import number
from services.analyzer.report.figures.theme import DISAPPEAR, Panel, axis, base_layout

CELL = 62  # pixels
FRAME = {"color": DISAPPEAR, "width": 3}  # of the recommended cell
WORDS = {"k": "k", "l0": "target L0", "l1": "L1 weight"}


def sparsity(cell: Mapping[str, Any]) -> str:
    """What a cell asked of sparsity: "k = 32"."""
    name = WORDS.get(cell["sparsity_by"], "sparsity")
    value = cell["sparsity"]
    return name if value is None else f"{name} = {value:g}"


def grid(
    cells: Sequence[Mapping[str, Any]],
) -> tuple[list[str], list[str], list[list[int | None]]]:
    """Columns (sparsity), rows (size), and the number of the cell at each place."""
    columns = list(dict.fromkeys(sparsity(cell) for cell in cells))
    rows = list(dict.fromkeys(f"{cell['features']:,.0f}" for cell in cells))
    places: list[list[int | None]] = [[None] * len(columns) for _ in rows]
    for place, cell in enumerate(cells):
        row = rows.index(f"{cell['features']:,.0f}")
        places[row][columns.index(sparsity(cell))] = place
    return columns, rows, places


def ceilings(
    cells: Sequence[Mapping[str, Any]], places: Sequence[Sequence[int | None]]
) -> list[list[float | None]]:
    """The ceiling at each place of a grid."""
    return [[None if n is None else cells[n]["ceiling"] for n in row] for row in places]


def figure(values: Mapping[str, Any]) -> go.Figure:
    """The heat map of one grid; the recommended cell has a frame."""
    columns, rows, places = grid(values["cells"])
    heat = ceilings(values["cells"], places)
    shapes = []
    for row, line in enumerate(places):
        for column, place in enumerate(line):
            if place is not None and place == values["recommended"]:
                frame = {"x0": column - 0.47, "x1": column + 0.47, "y0": row - 0.47}
                shapes.append({"type": "rect", **frame, "y1": row + 0.47, "line": FRAME})
    bare = {"showgrid": False, "showline": False, "ticks": "", "type": "category"}
    return go.Figure(
        data=[
            go.Heatmap(
                z=heat,
                x=columns,
                y=rows,
                zmin=0,
                zmax=1,
                colorscale=[[0, "rgba(59,130,196,0.04)"], [1, "rgba(59,130,196,0.85)"]],
                text=[[number(value, 2) for value in row] for row in heat],
                texttemplate="%{text}",
                textfont={"size": 13},
                hovertemplate="%{y} features, %{x}: ceiling %{z:.4f}<extra></extra>",
                showscale=False,
                xgap=3,
                ygap=3,
            )
        ],
        layout=base_layout(
            height=CELL * len(rows) + 70,
            margin={"l": 6, "r": 6, "t": 6, "b": 6},
            xaxis=axis(**bare, side="bottom"),
            yaxis=axis(**bare, autorange="reversed", title={"text": "features", "standoff": 8}),
            shapes=shapes,
            dragmode=False,
        ),
    )


def panel(name: str, values: Mapping[str, Any], place: int) -> Panel:
    """The heat map of one grid in its place."""
    made = figure(values)
    columns = len(grid(values["cells"])[0])
    return Panel(
        id=f"figure-stability-{place}",
        figure=made,
        height=made.layout.height,
        min_width=90 + 78 * columns,
        title="Ceiling",
        alternative=f"heat map of the ceiling of {name} over dictionary size and sparsity; "
        "the table beside it has the numbers",
        max_width=130 + 150 * columns,
    )
