"""Direct model diffing: to which of two models the features of one dictionary belong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import plotly.graph_objects as go
from matplotlib.figure import Figure as Sheet

from services.analyzer.report.figures.drawing import canvas
from services.analyzer.report.figures.drawing.theme import NEUTRAL, PERSIST, axis, base_layout
from services.analyzer.report.figures.registry import Figure, Panel, Results
from services.analyzer.report.histograms import middles
from services.analyzer.report.text import short

HEIGHT = 260
Pair = tuple[int, Mapping[str, Any]]  # its number among all pairs, which makes its id


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


def parts(results: Results) -> dict[str, list[Pair]]:
    """The pairs of models of each group whose norms were measured."""
    numbers = count()
    return {
        group: [
            (number, pair)
            for pair, number in zip(pairs.values(), numbers, strict=False)
            if pair["relative_norm"]
        ]
        for group, pairs in results["crosscoders"].items()
    }


def panels(pairs: Sequence[Pair]) -> list[Panel]:
    """One small histogram for every pair."""
    return [
        Panel(
            id=f"figure-crosscoder-{number}",
            figure=figure(pair),
            height=HEIGHT,
            min_width=260,
            title=f"{pair['parent']} → {pair['child']}",
            alternative=f"histogram of the relative decoder norms of a crosscoder of "
            f"{pair['parent']} and {pair['child']}: 0 is the parent alone, 1 the child alone",
        )
        for number, pair in pairs
    ]


def picture(pairs: Sequence[Pair]) -> Sheet:
    """A small histogram of relative norms for every pair of models."""
    figure, plots = canvas.small_plots(len(pairs))
    for axes, (_, pair) in zip(plots, pairs, strict=True):
        bins = middles(pair["relative_norm"])
        x, widths, heights = zip(*bins, strict=True)
        axes.bar(x, heights, width=widths, color=PERSIST, alpha=0.8, linewidth=0)
        axes.axvline(0.5, color=NEUTRAL, linestyle=":", linewidth=0.9)
        axes.set_xlim(0, 1)
        title = f"{short(pair['parent'], 17)} → {short(pair['child'], 17)}"
        canvas.dress(axes, title, "share of the norm in the child", "features", size=11)
    return figure


FIGURE = Figure(
    parts=parts,
    panels=lambda _, pairs, __: panels(pairs),
    picture=lambda _, pairs: picture(pairs),
)
