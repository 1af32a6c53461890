"""How well the features of a parent are found again: the correlation with their best match.

The threshold cuts these curves; beside them stand the same for the ceiling and for chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from matplotlib.figure import Figure as Sheet

from services.analyzer.report.figures.drawing import canvas
from services.analyzer.report.figures.drawing.theme import (
    CEILING,
    NEUTRAL,
    PERCENT,
    PERSIST,
    axis,
    base_layout,
)
from services.analyzer.report.figures.registry import Figure, Panel, compared
from services.analyzer.report.text import number, short

HEIGHT = 190
# Which curve, its colour, how it is drawn by Plotly and by matplotlib.
CURVES = (
    ("edge", PERSIST, "solid", "-"),
    ("ceiling", CEILING, "dash", "--"),
    ("null", NEUTRAL, "dot", ":"),
)


def found_again(histogram: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """For each edge of the bins, the per cent of live features whose best r is at least that."""
    counts = histogram["counts"]
    total = sum(counts)
    above = [sum(counts[place:]) for place in range(len(counts) + 1)]
    return list(histogram["edges"]), [100 * value / total if total else 0.0 for value in above]


def figure(edge: Mapping[str, Any]) -> go.Figure:
    """Share of features found again against the threshold: edge, ceiling and null control."""
    traces = []
    for which, color, dash, _ in CURVES:
        histogram = edge["best_r"][which]
        if histogram is None:
            continue
        x, y = found_again(histogram)
        traces.append(
            go.Scatter(
                x=x,
                y=y,
                mode="lines",
                line={"color": color, "width": 1.6, "dash": dash},
                fill="tozeroy" if which == "edge" else None,
                fillcolor="rgba(59,130,196,0.18)",
                hovertemplate=f"{which}: %{{y:.1f}} % at r ≥ %{{x:.2f}}<extra></extra>",
            )
        )
    threshold = {"type": "line", "x0": edge["threshold"], "x1": edge["threshold"], "yref": "paper"}
    line = {**threshold, "y0": 0, "y1": 1, "line": {"color": NEUTRAL, "width": 1.2}}
    title = {"text": f"best r ≥ (threshold {number(edge['threshold'], 2)})", "font": {"size": 11}}
    return go.Figure(
        data=traces,
        layout=base_layout(
            height=HEIGHT,
            margin={"l": 6, "r": 8, "t": 12, "b": 6},
            xaxis=axis(range=[0, 1], title={**title, "standoff": 4}, nticks=6),
            yaxis=axis(range=[0, 100], **PERCENT),
            showlegend=False,
            shapes=[line],
            dragmode=False,
        ),
    )


def panels(edges: Sequence[Mapping[str, Any]], place: int) -> list[Panel]:
    """One small figure for every edge."""
    return [
        Panel(
            id=f"figure-best-{place}-{nth}",
            figure=figure(edge),
            height=HEIGHT,
            min_width=190,
            title=f"{edge['parent']} → {edge['child']}",
            alternative=f"share of the live features of {edge['parent']} that have a match in "
            f"{edge['child']}, against the threshold",
        )
        for nth, edge in enumerate(edges)
    ]


def picture(edges: Sequence[Mapping[str, Any]]) -> Sheet:
    """A small plot of the best correlations for every edge, with ceiling and chance."""
    figure, plots = canvas.small_plots(len(edges))
    for axes, edge in zip(plots, edges, strict=True):
        for which, color, _, style in CURVES:
            if edge["best_r"][which]:
                x, y = found_again(edge["best_r"][which])
                axes.plot(x, y, color=color, linewidth=1, linestyle=style, label=which)
        axes.axvline(edge["threshold"], color=NEUTRAL, linewidth=0.8)
        axes.set_xlim(0, 1)
        title = f"{short(edge['parent'], 17)} → {short(edge['child'], 17)}"
        canvas.dress(axes, title, "best r at least", "% of live features", size=11)
        axes.legend(fontsize=7, frameon=False)
    return figure


FIGURE = Figure(
    parts=lambda results: {
        name: [edge for edge in edges if edge["best_r"]["edge"]]
        for name, edges in compared(results).items()
    },
    panels=lambda _, edges, place: panels(edges, place),
    picture=lambda _, edges: picture(edges),
)
