"""Figure 5, the sweep: accuracy and loss of every merge between two parents, against t."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Sheet

from services.analyzer.report.figures.drawing import canvas
from services.analyzer.report.figures.drawing.shapes import markup
from services.analyzer.report.figures.drawing.theme import NEUTRAL, axis, base_layout, series
from services.analyzer.report.figures.registry import Figure, Panel
from services.analyzer.report.text import number, short

HEIGHT = 400
PLOT = (560, 420)  # pixels of each half of the PNG
MEASURES = {"accuracy": "next-token accuracy", "loss": "loss (nats per token)"}


def crossing_of(sweep: Mapping[str, Any], measure: str) -> float | None:
    """The t at which the first two curves of that measure cross first."""
    if measure == "accuracy":
        value: float | None = sweep["crossing"]
        return value
    return sweep["crossings_loss"][0] if sweep["crossings_loss"] else None


def _curves(sweep: Mapping[str, Any], measure: str) -> list[go.Scatter]:
    """One line a corpus, and the reference model dashed in the same colour."""
    traces = []
    t = [point["t"] for point in sweep["points"]]
    reference = sweep["reference"]
    for place, corpus in enumerate(sweep["evaluate_on"]):
        color = series(place)
        values = [point["corpora"][corpus][measure] for point in sweep["points"]]
        traces.append(
            go.Scatter(
                x=t,
                y=values,
                name=markup(f"on {short(corpus, 24)}"),
                mode="lines+markers",
                line={"color": color, "width": 2.4},
                marker={"size": 6},
                hovertemplate=f"{markup(corpus)}<br>t = %{{x:.3f}}<br>%{{y:.4f}}<extra></extra>",
            )
        )
        if reference and corpus in reference["corpora"]:
            level = reference["corpora"][corpus][measure]
            traces.append(
                go.Scatter(
                    x=[0, 1],
                    y=[level, level],
                    name=markup(f"{short(reference['model'], 16)} on {short(corpus, 16)}"),
                    mode="lines",
                    line={"color": color, "width": 1.6, "dash": "dash"},
                    hovertemplate=f"{markup(reference['model'])} on {markup(corpus)}"
                    "<br>%{y:.4f}<extra></extra>",
                )
            )
    return traces


def _marks(sweep: Mapping[str, Any], measure: str) -> tuple[list[Any], list[Any]]:
    """Vertical lines and their words: the crossing, and the merges of the family on this axis."""
    crossing = crossing_of(sweep, measure)
    marks = [(crossing, f"curves cross at t = {number(crossing)}", "dot", 1.0)] if crossing else []
    for row, merge in enumerate(sweep["merges"]):
        place = f"t = {merge['place']:.3g}"
        marks.append(
            (merge["place"], f"{short(merge['model'], 20)} ({place})", "solid", 1.07 + 0.07 * row)
        )
    shapes, words = [], []
    for t, text, dash, level in marks:
        shapes.append(
            {
                "type": "line",
                "x0": t,
                "x1": t,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": NEUTRAL, "width": 1.4, "dash": dash},
            }
        )
        words.append(
            {
                "x": t,
                "y": level,
                "yref": "paper",
                "text": markup(text),
                "showarrow": False,
                "xanchor": "left" if t < 0.5 else "right",
                "yanchor": "bottom",
                "font": {"size": 11},
            }
        )
    return shapes, words


def figure(sweep: Mapping[str, Any], measure: str) -> go.Figure:
    """One measure ("accuracy" or "loss") of a sweep of results.json against t."""
    shapes, words = _marks(sweep, measure)
    at_zero, at_one = (markup(short(sweep[end], 18)) for end in ("at_zero", "at_one"))
    return go.Figure(
        data=_curves(sweep, measure),
        layout=base_layout(
            height=HEIGHT,
            margin={"l": 8, "r": 16, "t": 30 + 20 * len(sweep["merges"]), "b": 8},
            xaxis=axis(
                range=[-0.02, 1.02],
                tickvals=[0, 0.25, 0.5, 0.75, 1],
                ticktext=[f"0<br>{at_zero}", "0.25", "0.5", "0.75", f"1<br>{at_one}"],
                title={"text": "t", "standoff": 2},
            ),
            yaxis=axis(title={"text": MEASURES[measure], "standoff": 8}),
            legend={
                "orientation": "h",
                "y": -0.24,
                "yanchor": "top",
                "x": 0,
                "font": {"size": 11},
                "entrywidth": 0.5,
                "entrywidthmode": "fraction",
            },
            shapes=shapes,
            annotations=words,
            hovermode="closest",
            dragmode=False,
        ),
    )


def panels(name: str, sweep: Mapping[str, Any], place: int) -> list[Panel]:
    """Accuracy and loss, as two figures that stand side by side where there is room."""
    return [
        Panel(
            id=f"figure-sweep-{place}-{measure}",
            figure=figure(sweep, measure),
            height=HEIGHT,
            min_width=300,
            title=words.capitalize(),
            alternative=f"{words} of the merges of {sweep['at_zero']} (t = 0) and "
            f"{sweep['at_one']} (t = 1) in the sweep {name}; the table below has the numbers",
        )
        for measure, words in MEASURES.items()
    ]


def picture(sweep: Mapping[str, Any]) -> Sheet:
    """Accuracy and loss of a sweep side by side."""
    width, height = PLOT
    figure = canvas.sheet(2 * width, height)
    for place, (measure, words) in enumerate(MEASURES.items()):
        axes = canvas.region(figure, place * width + 70, 75, width - 100, height - 140)
        _plot(axes, sweep, measure)
        canvas.dress(axes, "", "t", words)
    return figure


def _plot(axes: Axes, sweep: Mapping[str, Any], measure: str) -> None:
    reference = sweep["reference"]
    t = [point["t"] for point in sweep["points"]]
    for place, corpus in enumerate(sweep["evaluate_on"]):
        y = [point["corpora"][corpus][measure] for point in sweep["points"]]
        label = canvas.drawable(f"on {short(corpus, 24)}")
        axes.plot(t, y, color=series(place), marker="o", markersize=3.2, label=label)
        if reference and corpus in reference["corpora"]:
            level = reference["corpora"][corpus][measure]
            label = canvas.drawable(f"{short(reference['model'], 16)} on {short(corpus, 16)}")
            axes.axhline(level, color=series(place), linestyle="--", linewidth=1.1, label=label)
    marks = [
        (merge["place"], f"{short(merge['model'], 18)} (t = {merge['place']:.3g})", "-")
        for merge in sweep["merges"]
    ]
    crossing = crossing_of(sweep, measure)
    if crossing is not None:
        marks.append((crossing, f"curves cross at t = {number(crossing)}", ":"))
    for row, (place_t, words, style) in enumerate(marks):
        axes.axvline(place_t, color=NEUTRAL, linestyle=style, linewidth=1)
        axes.annotate(
            canvas.drawable(words),
            (place_t, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3 + 11 * row),
            textcoords="offset points",
            fontsize=8,
            ha="left" if place_t < 0.5 else "right",
            parse_math=False,
        )
    ends = (f"0\n{short(sweep['at_zero'], 16)}", f"1\n{short(sweep['at_one'], 16)}")
    zero, one = (canvas.drawable(end) for end in ends)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], [zero, "0.25", "0.5", "0.75", one])
    legend = axes.legend(fontsize=8, frameon=False, loc="best")
    for text in legend.get_texts():
        text.set_parse_math(False)


FIGURE = Figure(
    parts=lambda results: results["sweeps"],
    panels=panels,
    picture=lambda _, sweep: picture(sweep),
)
