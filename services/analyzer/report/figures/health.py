"""Health of the dictionaries: how often their features fire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from services.analyzer.report.figures.drawing import markup
from services.analyzer.report.figures.theme import Panel, axis, base_layout, series

HEIGHT = 190


def stairs(histogram: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """The outline of a histogram: x and y of its steps, from zero to zero."""
    edges, counts = histogram["edges"], histogram["counts"]
    x = [edge for edge in edges for _ in range(2)]
    y = [0.0, *(float(value) for value in counts for _ in range(2)), 0.0]
    return x, y


def axis_range(dictionaries: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[float]:
    """One range of log10 density for all models, so that the panels can be compared."""
    edges = [
        edge
        for entries in dictionaries.values()
        for entry in entries
        if entry["density_histogram"]
        for edge in (
            entry["density_histogram"]["edges"][0],
            entry["density_histogram"]["edges"][-1],
        )
    ]
    return [min(edges), max(edges)] if edges else [-6.0, 0.0]


def figure(entries: Sequence[Mapping[str, Any]], span: Sequence[float]) -> go.Figure:
    """Firing density of one model's dictionaries of one group, a line for each seed."""
    traces = []
    for place, entry in enumerate(entries):
        if not entry["density_histogram"]:
            continue
        x, y = stairs(entry["density_histogram"])
        traces.append(
            go.Scatter(
                x=x,
                y=y,
                name=markup(f"seed {entry['seed']}"),
                mode="lines",
                line={
                    "color": series(place),
                    "width": 1.6,
                    "dash": "solid" if not place else "dot",
                },
                fill="tozeroy" if not place else None,
                fillcolor="rgba(59,130,196,0.18)",
                hovertemplate="10<sup>%{x:.2f}</sup> of tokens: %{y:.0f} features<extra></extra>",
            )
        )
    return go.Figure(
        data=traces,
        layout=base_layout(
            height=HEIGHT,
            margin={"l": 6, "r": 8, "t": 6, "b": 6},
            xaxis=axis(
                range=list(span),
                title={"text": "log₁₀ share of tokens", "font": {"size": 11}, "standoff": 4},
                nticks=6,
            ),
            yaxis=axis(rangemode="tozero", nticks=4),
            showlegend=False,
            dragmode=False,
        ),
    )


def panels(dictionaries: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Panel]:
    """One small figure for every model and group of dictionaries."""
    span = axis_range(dictionaries)
    found: list[Panel] = []
    for model, entries in dictionaries.items():
        for group in dict.fromkeys(entry["group"] for entry in entries):
            mine = [entry for entry in entries if entry["group"] == group]
            found.append(
                Panel(
                    id=f"figure-density-{len(found)}",
                    figure=figure(mine, span),
                    height=HEIGHT,
                    min_width=190,
                    title=f"{model} ({group})",
                    alternative=f"histogram of the firing density of the features of {model}",
                )
            )
    return found
