"""The share that persists over all thresholds, between what two dictionaries share and chance.

A share at one threshold can be chosen; a curve that stays between its controls cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from matplotlib.axes import Axes
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

HEIGHT = 210
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


def panels(edges: Sequence[Mapping[str, Any]], place: int) -> list[Panel]:
    """One small figure for every edge."""
    return [
        Panel(
            id=f"figure-curve-{place}-{nth}",
            figure=figure(edge),
            height=HEIGHT,
            min_width=190,
            title=f"{edge['parent']} → {edge['child']}",
            alternative=f"share of the live features of {edge['parent']} that persist in "
            f"{edge['child']}, its ceiling and chance, over thresholds from 0.5 to 0.95",
        )
        for nth, edge in enumerate(edges)
    ]


def picture(edges: Sequence[Mapping[str, Any]]) -> Sheet:
    """A small plot for every edge: its share over the thresholds, with ceiling and chance."""
    figure, plots = canvas.small_plots(len(edges))
    for axes, edge in zip(plots, edges, strict=True):
        low, high = (line(edge["curve"], name) for name in reversed(BAND))
        if low[0] == high[0]:
            axes.fill_between(low[0], low[1], high[1], color=PERSIST, alpha=0.22, linewidth=0)
        for name, words, color, _, style in LINES:
            x, y = line(edge["curve"], name)
            if x:
                axes.plot(x, y, color=color, linewidth=1.2, linestyle=style, label=words)
        _error_bar(axes, edge)
        axes.set_xlim(0.49, 0.96)
        axes.set_ylim(0, 100)
        title = f"{short(edge['parent'], 17)} → {short(edge['child'], 17)}"
        canvas.dress(axes, title, "r at least", "% of live features", size=11)
        axes.legend(fontsize=6.5, frameon=False)
    return figure


def _error_bar(axes: Axes, edge: Mapping[str, Any]) -> None:
    """The share at the threshold with its interval."""
    if not edge["interval"] or edge["share"] is None:
        return
    low, high = (100 * end for end in edge["interval"])
    share = 100 * edge["share"]
    error = [[max(0.0, share - low)], [max(0.0, high - share)]]
    axes.errorbar([edge["threshold"]], [share], yerr=error, color=PERSIST, capsize=2, markersize=3)


FIGURE = Figure(
    parts=lambda results: {
        name: [edge for edge in edges if edge["curve"]] for name, edges in compared(results).items()
    },
    panels=lambda _, edges, place: panels(edges, place),
    picture=lambda _, edges: picture(edges),
)
