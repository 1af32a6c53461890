"""Health of the dictionaries: how often their features fire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from matplotlib.figure import Figure as Sheet

from services.analyzer.report.figures.drawing import canvas
from services.analyzer.report.figures.drawing.shapes import markup
from services.analyzer.report.figures.drawing.theme import axis, base_layout, series
from services.analyzer.report.figures.registry import Figure, Panel
from services.analyzer.report.histograms import stairs
from services.analyzer.report.text import number, percent, short

HEIGHT = 190


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


def by_group(
    dictionaries: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[tuple[str, str, list[Mapping[str, Any]]]]:
    """Model, group, and the dictionaries of both, a seed each."""
    return [
        (model, group, [entry for entry in entries if entry["group"] == group])
        for model, entries in dictionaries.items()
        for group in dict.fromkeys(entry["group"] for entry in entries)
    ]


def panels(dictionaries: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Panel]:
    """One small figure for every model and group of dictionaries."""
    span = axis_range(dictionaries)
    return [
        Panel(
            id=f"figure-density-{place}",
            figure=figure(entries, span),
            height=HEIGHT,
            min_width=190,
            title=f"{model} ({group})",
            alternative=f"histogram of the firing density of the features of {model}",
        )
        for place, (model, group, entries) in enumerate(by_group(dictionaries))
    ]


def picture(dictionaries: Mapping[str, Sequence[Mapping[str, Any]]]) -> Sheet:
    """A small plot of firing density for every model and group, with its numbers above."""
    groups = by_group(dictionaries)
    figure, plots = canvas.small_plots(len(groups))
    span = axis_range(dictionaries)
    for axes, (model, group, entries) in zip(plots, groups, strict=True):
        for seed, entry in enumerate(entries):
            if entry["density_histogram"]:
                x, y = stairs(entry["density_histogram"])
                axes.plot(x, y, color=series(seed), linewidth=1, linestyle=":" if seed else "-")
        axes.set_xlim(*span)
        canvas.dress(axes, _words(model, group, entries[0]), "log₁₀ share of tokens", size=11)
    return figure


def _words(model: str, group: str, entry: Mapping[str, Any]) -> str:
    return (
        f"{short(model, 20)} ({short(group, 12)})\n"
        f"L0 {number(entry['l0'], 1)}, explained {number(entry['explained_variance'], 2)}\n"
        f"recovered {number(entry['loss_recovered'], 2)}, dead {percent(entry['dead_share'])}"
    )


FIGURE = Figure(
    parts=lambda results: {"": results["dictionaries"]},
    panels=lambda _, dictionaries, __: panels(dictionaries),
    picture=lambda _, dictionaries: picture(dictionaries),
)
