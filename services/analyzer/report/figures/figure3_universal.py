"""Figure 3, a universal feature: one feature that is found in every model.

The page shows its shaded tokens as text and here only the correlations; the PNG has both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Sheet

from services.analyzer.report.figures.drawing import canvas
from services.analyzer.report.figures.drawing.shapes import markup
from services.analyzer.report.figures.drawing.strips import strip, strips
from services.analyzer.report.figures.drawing.theme import PERSIST, axis, base_layout
from services.analyzer.report.figures.registry import Figure, Panel
from services.analyzer.report.text import number, short

CELL = 58  # pixels


def matrix(example: Mapping[str, Any]) -> go.Figure:
    """Correlation of the feature between each pair of models."""
    names = [markup(short(name, 14)) for name in example["models"]]
    values = example["correlations"]
    size = CELL * len(names) + 90
    return go.Figure(
        data=[
            go.Heatmap(
                z=values,
                x=names,
                y=names,
                zmin=0,
                zmax=1,
                colorscale=[[0, "rgba(59,130,196,0.04)"], [1, "rgba(59,130,196,0.85)"]],
                text=[[number(value, 2) for value in row] for row in values],
                texttemplate="%{text}",
                textfont={"size": 12},
                hovertemplate="%{y} and %{x}: r = %{z:.4f}<extra></extra>",
                showscale=False,
                xgap=2,
                ygap=2,
            )
        ],
        layout=base_layout(
            height=size,
            margin={"l": 6, "r": 6, "t": 6, "b": 6},
            xaxis=axis(showgrid=False, showline=False, ticks="", type="category", side="bottom"),
            yaxis=axis(
                showgrid=False, showline=False, ticks="", type="category", autorange="reversed"
            ),
            dragmode=False,
        ),
    )


def _panel(example: Mapping[str, Any], place: int) -> Panel:
    figure = matrix(example)
    return Panel(
        id=f"figure-universal-{place}",
        figure=figure,
        height=figure.layout.height,
        min_width=CELL * len(example["models"]) + 90,
        title="Correlation of each pair",
        alternative="matrix of correlations of the feature between all pairs of models",
    )


def picture(example: Mapping[str, Any]) -> Sheet:
    """The tokens of each model in two columns, the matrix of correlations below."""
    found = [
        strip(
            f"{model} · feature {example['features'][place]}",
            example,
            [context["activations"][place] for context in example["contexts"]],
        )
        for place, model in enumerate(example["models"])
    ]
    drawing = strips([found[0::2], found[1::2]])
    size = float(CELL * len(example["models"]))
    figure = canvas.sheet(drawing.width, drawing.height + size + 80)
    axes = canvas.region(figure, 0, size + 80, drawing.width, drawing.height)
    canvas.draw(axes, drawing)
    _matrix(figure, example, size)
    return figure


def _matrix(figure: Sheet, example: Mapping[str, Any], size: float) -> None:
    names = [canvas.drawable(short(name, 14)) for name in example["models"]]
    values = example["correlations"]
    axes = canvas.region(figure, 130, 40, size, size)
    colors = LinearSegmentedColormap.from_list("shade", ["#ffffff", PERSIST])
    filled = [[0.0 if value is None else value for value in row] for row in values]
    axes.imshow(filled, vmin=0, vmax=1.15, cmap=colors, aspect="auto")
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            axes.text(column, row, number(value, 2), ha="center", va="center", fontsize=8.5)
    axes.set_xticks(range(len(names)), names, rotation=30 if len(names) > 5 else 0)
    axes.set_yticks(range(len(names)), names)
    canvas.dress(axes, "Correlation of each pair")
    axes.grid(visible=False)


FIGURE = Figure(
    parts=lambda results: {name: one["universal"] for name, one in results["examples"].items()},
    panels=lambda _, example, place: [_panel(example, place)],
    picture=lambda _, example: picture(example),
)
