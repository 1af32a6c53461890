"""Along training: when features appear, and how many are there to stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
from matplotlib.figure import Figure as Sheet

from services.analyzer.report.figures.drawing import canvas
from services.analyzer.report.figures.drawing.shapes import markup
from services.analyzer.report.figures.drawing.theme import EMERGE, PERSIST, axis, base_layout
from services.analyzer.report.figures.registry import Figure, Panel
from services.analyzer.report.text import short

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


def _panel(run: Mapping[str, Any], place: int) -> Panel:
    return Panel(
        id=f"figure-training-{place}",
        figure=figure(run),
        height=HEIGHT,
        min_width=max(320, 84 * len(run["points"])),
        title=f"Training of {run['run']}",
        alternative=f"features that are new and features that last, over the checkpoints of "
        f"{run['run']}; the table below has the numbers",
    )


def picture(run: Mapping[str, Any]) -> Sheet:
    """Features that are new and features that last, over the checkpoints of a run."""
    points = run["points"]
    width = max(420, 84 * len(points))
    figure = canvas.sheet(width + 110, 340)
    axes = canvas.region(figure, 80, 60, width, 230)
    for name, words, color in LINES:
        known = [(x, 100 * p[name]) for x, p in enumerate(points) if p[name] is not None]
        x, y = [one[0] for one in known], [one[1] for one in known]
        axes.plot(x, y, color=color, marker="o", markersize=3.5, label=words)
    names = [canvas.drawable(short(point["model"], 14)) for point in points]
    axes.set_xticks(range(len(points)), names)
    axes.set_ylim(0, 104)
    title = f"Training of {short(run['run'], 30)}"
    canvas.dress(axes, title, "checkpoint", "% of the live features")
    axes.legend(fontsize=8, frameon=False)
    return figure


FIGURE = Figure(
    parts=lambda results: {f"{run['tracking']}/{run['run']}": run for run in results["along"]},
    panels=lambda _, run, place: [_panel(run, place)],
    picture=lambda _, run: picture(run),
)
