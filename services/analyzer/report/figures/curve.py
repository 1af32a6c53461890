"""The share that persists over all thresholds, between what two dictionaries share and chance.

A share at one threshold can be chosen; a curve that stays between its controls cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from services.analyzer.report.figures.text import number
from services.analyzer.report.figures.theme import (
    CEILING,
    NEUTRAL,
    PERSIST,
    Panel,
    axis,
    base_layout,
)

HEIGHT = 210
TICKS = [0, 25, 50, 75, 100]
PERCENT = {"tickvals": TICKS, "ticktext": [f"{tick} %" for tick in TICKS]}
# Which value of a point, its name, colour, and how it is drawn by Plotly and by matplotlib.
LINES = (
    ("share", "one-to-one", PERSIST, "solid", "-"),
    ("ceiling", "ceiling", CEILING, "dash", "--"),
    ("null", "chance", NEUTRAL, "dot", ":"),
    ("unrelated", "unrelated model", NEUTRAL, "dashdot", "-."),
)
# Both other rules are drawn as the edges of a band around the first.
BAND = ("share_any", "share_mutual")


def line(points: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Thresholds, and the per cent of one value there; points where it is unknown are left out."""
    known = [point for point in points if point.get(name) is not None]
    return [point["threshold"] for point in known], [100 * point[name] for point in known]


def figure(edge: Mapping[str, Any]) -> go.Figure:
    """One edge: its share by all three rules, its ceiling and its baseline over the thresholds."""
    traces = []
    points = edge["curve"]
    for place, name in enumerate(BAND):
        x, y = line(points, name)
        rule = name.removeprefix("share_")
        traces.append(
            go.Scatter(
                x=x,
                y=y,
                mode="lines",
                line={"color": PERSIST, "width": 0.6},
                fill="tonexty" if place else None,
                fillcolor="rgba(59,130,196,0.22)",
                hovertemplate=f"{rule}: %{{y:.1f}} % at r ≥ %{{x:.2f}}<extra></extra>",
            )
        )
    for name, words, color, dash, _ in LINES:
        x, y = line(points, name)
        if x:
            hover = f"{words}: %{{y:.1f}} % at r ≥ %{{x:.2f}}<extra></extra>"
            style = {"color": color, "width": 1.8, "dash": dash}
            traces.append(go.Scatter(x=x, y=y, mode="lines", line=style, hovertemplate=hover))
    if edge["interval"] and edge["share"] is not None:
        traces.append(_interval(edge))
    title = {"text": f"r ≥ (threshold {number(edge['threshold'], 2)})", "font": {"size": 11}}
    return go.Figure(
        data=traces,
        layout=base_layout(
            height=HEIGHT,
            margin={"l": 6, "r": 8, "t": 12, "b": 6},
            xaxis=axis(range=[0.49, 0.96], title={**title, "standoff": 4}, dtick=0.1, tick0=0.5),
            yaxis=axis(range=[0, 100], **PERCENT),
            showlegend=False,
            dragmode=False,
        ),
    )


def _interval(edge: Mapping[str, Any]) -> go.Scatter:
    """The share at the threshold with its interval."""
    low, high = edge["interval"]
    share = edge["share"]
    bar = {"type": "data", "symmetric": False, "array": [100 * (high - share)]}
    return go.Scatter(
        x=[edge["threshold"]],
        y=[100 * share],
        mode="markers",
        marker={"color": PERSIST, "size": 6},
        error_y={**bar, "arrayminus": [100 * (share - low)], "thickness": 1.4, "width": 4},
        hoverinfo="skip",
    )


def panels(edges: Sequence[Mapping[str, Any]], tracking: int) -> list[Panel]:
    """One small figure for every edge with a curve."""
    return [
        Panel(
            id=f"figure-curve-{tracking}-{place}",
            figure=figure(edge),
            height=HEIGHT,
            min_width=190,
            title=f"{edge['parent']} → {edge['child']}",
            alternative=f"share of the live features of {edge['parent']} that persist in "
            f"{edge['child']}, its ceiling and chance, over thresholds from 0.5 to 0.95",
        )
        for place, edge in enumerate(edges)
        if edge["curve"]
    ]
