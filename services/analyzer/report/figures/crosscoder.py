"""Direct model diffing: to which of two models the features of one dictionary belong."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

from services.analyzer.report.figures.theme import (
    DISAPPEAR,
    EMERGE,
    NEUTRAL,
    PERSIST,
    Panel,
    axis,
    base_layout,
)

HEIGHT = 260
# Kinds of features, from the parent's own to the child's own, their words and colours.
KINDS = (
    ("parent", "only in the parent", DISAPPEAR),
    ("false_parent", "only in the parent by norm, refuted", "#e5a98a"),
    ("shared", "shared", PERSIST),
    ("false_child", "only in the child by norm, refuted", "#8fcab7"),
    ("child", "only in the child", EMERGE),
)


def middles(histogram: Mapping[str, Any]) -> list[tuple[float, float, int]]:
    """Middle, width and count of every bin."""
    bins = pairwise(histogram["edges"])
    return [
        ((low + high) / 2, high - low, number)
        for (low, high), number in zip(bins, histogram["counts"], strict=True)
    ]


def figure(pair: Mapping[str, Any]) -> go.Figure:
    """Histogram of the child's share of the decoder norm."""
    bins = middles(pair["relative_norm"])
    return go.Figure(
        data=[
            go.Bar(
                x=[middle for middle, _, _ in bins],
                y=[number for _, _, number in bins],
                width=[width for _, width, _ in bins],
                marker={"color": PERSIST, "opacity": 0.8, "line": {"width": 0}},
                hovertemplate="%{y} features around %{x:.3f}<extra></extra>",
            )
        ],
        layout=base_layout(
            height=HEIGHT,
            margin={"l": 6, "r": 36, "t": 12, "b": 6},
            xaxis=axis(
                range=[0, 1],
                tickvals=[0, 0.5, 1],
                ticktext=["0<br>parent only", "0.5<br>equal", "1<br>child only"],
            ),
            yaxis=axis(rangemode="tozero", nticks=5, title={"text": "features", "standoff": 6}),
            shapes=[
                {
                    "type": "line",
                    "x0": 0.5,
                    "x1": 0.5,
                    "yref": "paper",
                    "y0": 0,
                    "y1": 1,
                    "line": {"color": NEUTRAL, "width": 1, "dash": "dot"},
                }
            ],
            dragmode=False,
        ),
    )


def panel(pair: Mapping[str, Any], place: int) -> Panel | None:
    """The histogram of one pair in its place; None where it was not measured."""
    if not pair["relative_norm"]:
        return None
    return Panel(
        id=f"figure-crosscoder-{place}",
        figure=figure(pair),
        height=HEIGHT,
        min_width=260,
        title=f"{pair['parent']} → {pair['child']}",
        alternative=f"histogram of the relative decoder norms of a crosscoder of {pair['parent']} "
        f"and {pair['child']}: 0 is the parent alone, 1 the child alone",
    )
