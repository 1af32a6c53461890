"""What a merge inherits: where the live features of each merge come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from services.analyzer.report.figures.drawing import markup
from services.analyzer.report.figures.text import count, percent, short
from services.analyzer.report.figures.theme import EMERGE, PERSIST, Panel, axis, base_layout

ROW = 54  # pixels
COLORS = {"both": PERSIST, "first": "#9a5fc0", "second": "#b98a1c", "new": EMERGE}


def parts(merge: Mapping[str, Any]) -> list[tuple[str, str, int]]:
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
        for key, words, number in parts(merge)
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


def panel(merges: Sequence[Mapping[str, Any]], place: int) -> Panel:
    """The bars of the merges of one tracking in their place."""
    made = figure(merges)
    return Panel(
        id=f"figure-merges-{place}",
        figure=made,
        height=made.layout.height,
        min_width=420,
        title="",
        alternative="where the features of every merge come from; the table below has the numbers",
    )
