"""Figures 3 and 4: one feature across models, and one that fails to carry over.

The shaded tokens are text and stand in the page itself; here are the correlations of figure 3 and
the activations of figure 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from services.analyzer.report.figures.drawing import markup
from services.analyzer.report.figures.text import number, short
from services.analyzer.report.figures.theme import DISAPPEAR, NEUTRAL, Panel, axis, base_layout

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


def pairs(example: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """Token, activation in the parent, activation of the closest match, over all contexts."""
    return [
        pair
        for context in example["contexts"]
        for pair in zip(context["tokens"], context["parent"], context["child"], strict=True)
    ]


def scatter(example: Mapping[str, Any]) -> go.Figure:
    """The activation of a parent's feature against that of its closest match, token by token."""
    points = pairs(example)
    x, y = [point[1] for point in points], [point[2] for point in points]
    limit = [1.06 * max([*values, 1e-9]) for values in (x, y)]
    return go.Figure(
        data=[
            go.Scatter(
                x=x,
                y=y,
                mode="markers",
                marker={"size": 8, "color": DISAPPEAR, "opacity": 0.6},
                text=[markup(repr(token)) for token, _, _ in points],
                hovertemplate="%{text}<br>parent %{x:.3f}<br>closest %{y:.3f}<extra></extra>",
                showlegend=False,
            ),
            go.Scatter(
                x=[0, limit[0]],
                y=[0, limit[1]],
                mode="lines",
                line={"color": NEUTRAL, "dash": "dash", "width": 1.2},
                hoverinfo="skip",
                showlegend=False,
            ),
        ],
        layout=base_layout(
            height=320,
            margin={"l": 6, "r": 10, "t": 8, "b": 6},
            xaxis=axis(
                range=[-0.04 * limit[0], limit[0]],
                title={"text": markup(f"{short(example['parent'], 16)} · {example['feature']}")},
            ),
            yaxis=axis(
                range=[-0.04 * limit[1], limit[1]],
                title={"text": markup(f"{short(example['child'], 16)} · {example['closest']}")},
            ),
            dragmode=False,
        ),
    )


def matrix_panel(example: Mapping[str, Any], tracking: int) -> Panel:
    """Figure 3's matrix in its place."""
    figure = matrix(example)
    return Panel(
        id=f"figure-universal-{tracking}",
        figure=figure,
        height=figure.layout.height,
        min_width=CELL * len(example["models"]) + 90,
        title="Correlation of each pair",
        alternative="matrix of correlations of the feature between all pairs of models",
    )


def scatter_panel(example: Mapping[str, Any], tracking: int) -> Panel:
    """Figure 4's activations in their place."""
    return Panel(
        id=f"figure-failing-{tracking}",
        figure=scatter(example),
        height=320,
        min_width=280,
        title="Activations on these tokens",
        alternative="activation in the parent against activation of the closest match",
    )
