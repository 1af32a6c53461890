"""How well the features of a parent are found again: the correlation with their best match.

The threshold cuts these curves; beside them stand the same for the ceiling and for chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from services.analyzer.report.figures.curve import PERCENT
from services.analyzer.report.figures.text import number
from services.analyzer.report.figures.theme import (
    CEILING,
    NEUTRAL,
    PERSIST,
    Panel,
    axis,
    base_layout,
)

HEIGHT = 190
NULL = NEUTRAL
# Which curve, its colour, how it is drawn by Plotly and by matplotlib.
CURVES = (
    ("edge", PERSIST, "solid", "-"),
    ("ceiling", CEILING, "dash", "--"),
    ("null", NULL, "dot", ":"),
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


def panels(edges: Sequence[Mapping[str, Any]], tracking: int) -> list[Panel]:
    """One small figure for every edge whose match stage says how r is distributed."""
    return [
        Panel(
            id=f"figure-best-{tracking}-{place}",
            figure=figure(edge),
            height=HEIGHT,
            min_width=190,
            title=f"{edge['parent']} → {edge['child']}",
            alternative=f"share of the live features of {edge['parent']} that have a match in "
            f"{edge['child']}, against the threshold",
        )
        for place, edge in enumerate(edges)
        if edge["best_r"]["edge"]
    ]
