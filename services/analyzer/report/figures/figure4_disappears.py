"""Figure 4, a feature that does not carry over: it disappears on an edge.

The page shows the shaded tokens of the feature and of its closest match as text and here only their
activations; the PNG has both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
from matplotlib.figure import Figure as Sheet

from services.analyzer.report.figures.drawing import canvas
from services.analyzer.report.figures.drawing.shapes import markup
from services.analyzer.report.figures.drawing.strips import strip, strips
from services.analyzer.report.figures.drawing.theme import DISAPPEAR, NEUTRAL, axis, base_layout
from services.analyzer.report.figures.registry import Figure, Panel
from services.analyzer.report.text import number, short

HEIGHT = 320


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
            height=HEIGHT,
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


def _panel(example: Mapping[str, Any], place: int) -> Panel:
    return Panel(
        id=f"figure-failing-{place}",
        figure=scatter(example),
        height=HEIGHT,
        min_width=280,
        title="Activations on these tokens",
        alternative="activation in the parent against activation of the closest match",
    )


def picture(example: Mapping[str, Any]) -> Sheet:
    """The parent's feature and its closest match, and their activations below."""
    sides = (("parent", "feature"), ("child", "closest"))
    found = [
        strip(
            f"{example[side]} · feature {example[which]}",
            example,
            [context[side] for context in example["contexts"]],
        )
        for side, which in sides
    ]
    drawing = strips([[strip] for strip in found])
    height = 330.0
    figure = canvas.sheet(drawing.width, drawing.height + height)
    canvas.draw(canvas.region(figure, 0, height, drawing.width, drawing.height), drawing)
    axes = canvas.region(figure, 90, 60, 420, height - 110)
    points = pairs(example)
    x, y = [point[1] for point in points], [point[2] for point in points]
    axes.scatter(x, y, s=18, color=DISAPPEAR, alpha=0.6, linewidths=0)
    limits = max([*x, 1e-9]), max([*y, 1e-9])
    axes.plot([0, limits[0]], [0, limits[1]], color=NEUTRAL, linestyle="--", linewidth=0.9)
    words = f"r = {number(example['r'])} over the whole stream"
    canvas.dress(axes, words, found[0].title, found[1].title)
    return figure


FIGURE = Figure(
    parts=lambda results: {name: one["failing"] for name, one in results["examples"].items()},
    panels=lambda _, example, place: [_panel(example, place)],
    picture=lambda _, example: picture(example),
)
