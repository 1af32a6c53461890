"""What a merge inherits: where the live features of each merge come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from matplotlib.figure import Figure as Sheet

from services.analyzer.report.figures.drawing import canvas
from services.analyzer.report.figures.drawing.shapes import markup
from services.analyzer.report.figures.drawing.theme import EMERGE, PERSIST, axis, base_layout
from services.analyzer.report.figures.registry import Figure, Panel, by_tracking
from services.analyzer.report.text import count, percent, short

ROW = 54  # pixels
COLORS = {"both": PERSIST, "first": "#9a5fc0", "second": "#b98a1c", "new": EMERGE}
WORDS = {
    "both": "in both parents",
    "first": "only at t = 0",
    "second": "only at t = 1",
    "new": "in neither",
}


def origins(merge: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Key of the colour, words and number of features of every part of a merge."""
    first, second = merge["parents"]
    return [
        ("both", "in both parents", merge["both"]),
        ("first", f"only in {first['model']} (t = 0)", first["only"]),
        ("second", f"only in {second['model']} (t = 1)", second["only"]),
        ("new", "in neither", merge["new"]),
    ]


def figure(merges: Sequence[Mapping[str, Any]]) -> go.Figure:
    """One bar a merge, as long as its live features, in four parts."""
    traces = [
        go.Bar(
            x=[number],
            y=[markup(short(merge["child"], 20))],
            orientation="h",
            marker={"color": COLORS[key], "opacity": 0.82, "line": {"width": 0}},
            text=[percent(number / merge["alive"], 0) if merge["alive"] else ""],
            textposition="inside",
            insidetextanchor="middle",
            hovertemplate=f"{markup(words)}: {count(number)}<extra></extra>",
            showlegend=False,
        )
        for merge in merges
        for key, words, number in origins(merge)
    ]
    return go.Figure(
        data=traces,
        layout=base_layout(
            height=ROW * len(merges) + 60,
            margin={"l": 8, "r": 12, "t": 6, "b": 6},
            barmode="stack",
            xaxis=axis(title={"text": "live features of the merge", "standoff": 4}),
            yaxis=axis(showgrid=False, autorange="reversed", type="category"),
            dragmode=False,
        ),
    )


def _panel(merges: Sequence[Mapping[str, Any]], place: int) -> Panel:
    made = figure(merges)
    return Panel(
        id=f"figure-merges-{place}",
        figure=made,
        height=made.layout.height,
        min_width=420,
        title="",
        alternative="where the features of every merge come from; the table below has the numbers",
    )


def picture(merges: Sequence[Mapping[str, Any]]) -> Sheet:
    """Where the live features of every merge come from."""
    height = 44 * len(merges)
    figure = canvas.sheet(760, height + 130)
    axes = canvas.region(figure, 150, 60, 570, height + 4)
    for row, merge in enumerate(merges):
        left = 0
        for key, _, features in origins(merge):
            color = COLORS[key]
            axes.barh(row, features, height=0.7, left=left, color=color, alpha=0.82)
            if merge["alive"] and features / merge["alive"] > 0.05:
                words = percent(features / merge["alive"], 0)
                axes.text(left + features / 2, row, words, ha="center", va="center", fontsize=8)
            left += features
    for color, words in WORDS.items():
        axes.bar([0], [0], color=COLORS[color], label=words)
    names = [canvas.drawable(short(merge["child"], 18)) for merge in merges]
    axes.set_yticks(range(len(merges)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.04 * max(1, *(merge["alive"] for merge in merges)))
    canvas.dress(axes, "", "live features of the merge")
    axes.grid(visible=False, axis="y")
    above = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "ncols": 4}
    axes.legend(fontsize=8, frameon=False, **above)
    return figure


FIGURE = Figure(
    parts=lambda results: by_tracking(results, "merges"),
    panels=lambda _, merges, place: [_panel(merges, place)],
    picture=lambda _, merges: picture(merges),
)
