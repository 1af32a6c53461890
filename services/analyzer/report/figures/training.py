"""Along training: when features appear, and how many are there to stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from services.analyzer.report.figures.drawing import markup
from services.analyzer.report.figures.text import short
from services.analyzer.report.figures.theme import EMERGE, PERSIST, Panel, axis, base_layout

HEIGHT = 300
LINES = (
    ("unbroken_share", "unbroken from the first model", PERSIST),
    ("new_share", "new since the model before", EMERGE),
)


def figure(run: Mapping[str, Any]) -> go.Figure:
    """Shares of the live features of each checkpoint, evenly spaced: steps may grow by factors."""
    x = list(range(len(run["points"])))
    traces = [
        go.Scatter(
            x=x,
            y=[None if p[name] is None else 100 * p[name] for p in run["points"]],
            name=words,
            mode="lines+markers",
            line={"color": color, "width": 2.2},
            text=[markup(point["model"]) for point in run["points"]],
            hovertemplate=f"%{{text}}<br>{words}: %{{y:.1f}} %<extra></extra>",
        )
        for name, words, color in LINES
    ]
    ticks = [markup(short(point["model"], 14)) for point in run["points"]]
    return go.Figure(
        data=traces,
        layout=base_layout(
            height=HEIGHT,
            margin={"l": 8, "r": 16, "t": 8, "b": 8},
            xaxis=axis(tickvals=x, ticktext=ticks, title={"text": "checkpoint", "standoff": 4}),
            yaxis=axis(
                range=[0, 104],
                ticksuffix=" %",
                title={"text": "of the live features", "standoff": 8},
            ),
            legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            dragmode=False,
        ),
    )


def panel(run: Mapping[str, Any], place: int) -> Panel:
    """The figure of one run in its place."""
    return Panel(
        id=f"figure-training-{place}",
        figure=figure(run),
        height=HEIGHT,
        min_width=max(320, 84 * len(run["points"])),
        title=f"Training of {run['run']}",
        alternative=f"features that are new and features that last, over the checkpoints of "
        f"{run['run']}; the table below has the numbers",
    )
