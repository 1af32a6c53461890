"""Colours and the layout that all figures share.

Colours are of middle lightness, so that they stand on a light and on a dark page; text, grid and
background are left to the page's style sheet, which follows the reader's setting.
"""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

PERSIST, DISAPPEAR, EMERGE = "#3b82c4", "#d9622b", "#2a9d7c"
SPLIT, MERGE = "#9a5fc0", "#c2527f"
CEILING, NEUTRAL = "#b98a1c", "#808890"
KIND_COLORS = {
    "pretrain": "#3b82c4",
    "finetune": "#2a9d7c",
    "merge": "#9a5fc0",
    "import": "#808890",
    "checkpoint": "#5b8f9c",
}
SERIES = (
    "#3b82c4",
    "#d9622b",
    "#2a9d7c",
    "#9a5fc0",
    "#b98a1c",
    "#c2527f",
    "#5b8f9c",
    "#8c6d4f",
    "#6f7fd0",
    "#7d8f3a",
)
TICKS = [0, 25, 50, 75, 100]
PERCENT = {"tickvals": TICKS, "ticktext": [f"{tick} %" for tick in TICKS]}  # of an axis
STRETCH = 1.35  # how far a drawing may be pulled sideways before its boxes look odd
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'


def series(number: int) -> str:
    """Colour of the n-th line; they come again after ten."""
    return SERIES[number % len(SERIES)]


def base_layout(**values: Any) -> go.Layout:
    """A layout with an empty template, without background, with the page's font."""
    return go.Layout(
        template={},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 12},
        hoverlabel={"font": {"family": FONT, "size": 12}, "align": "left"},
        separators=".,",
        **values,
    )


def axis(**values: Any) -> dict[str, Any]:
    """An axis with a faint grid and no zero line."""
    return {
        "gridcolor": "rgba(128,128,128,0.22)",
        "zeroline": False,
        "showline": True,
        "linecolor": "rgba(128,128,128,0.5)",
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": "rgba(128,128,128,0.5)",
        "automargin": True,
        "fixedrange": True,
        **values,
    }
