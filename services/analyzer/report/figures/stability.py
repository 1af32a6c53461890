"""Which dictionary to use: the ceiling over the size of the dictionary and its sparsity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Sheet
from matplotlib.patches import Rectangle

from services.analyzer.report.figures.drawing import canvas
from services.analyzer.report.figures.drawing.theme import DISAPPEAR, PERSIST, axis, base_layout
from services.analyzer.report.figures.registry import Figure, Panel
from services.analyzer.report.text import number, short, sparsity

CELL = 62  # pixels
FRAME = {"color": DISAPPEAR, "width": 3}  # of the recommended cell


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


def _panel(name: str, values: Mapping[str, Any], place: int) -> Panel:
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


def picture(name: str, values: Mapping[str, Any]) -> Sheet:
    """The heat map of a grid, the recommended cell framed."""
    columns, rows, places = grid(values["cells"])
    heat = ceilings(values["cells"], places)
    width, height = 110 * len(columns), 62 * len(rows)
    figure = canvas.sheet(width + 130, height + 110)
    axes = canvas.region(figure, 100, 60, width, height)
    colors = LinearSegmentedColormap.from_list("shade", ["#ffffff", PERSIST])
    filled = [[0.0 if value is None else value for value in row] for row in heat]
    axes.imshow(filled, vmin=0, vmax=1.15, cmap=colors, aspect="auto")
    for row, line in enumerate(places):
        for column, place in enumerate(line):
            words = number(heat[row][column], 2)
            axes.text(column, row, words, ha="center", va="center", fontsize=9)
            if place is not None and place == values["recommended"]:
                frame = Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False)
                frame.set(edgecolor=DISAPPEAR, linewidth=2)
                axes.add_patch(frame)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    title = f"Ceiling of {short(str(values['model'] or name), 24)}"
    canvas.dress(axes, title, "sparsity", "features", size=11)
    axes.grid(visible=False)
    return figure


FIGURE = Figure(
    parts=lambda results: results["stability"],
    panels=lambda name, values, place: [_panel(name, values, place)],
    picture=picture,
)
