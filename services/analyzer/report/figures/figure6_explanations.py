"""Figure 6: how well the explanations of a model's features predict their activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from matplotlib.figure import Figure as Sheet

from services.analyzer.report.figures.drawing import canvas
from services.analyzer.report.figures.drawing.shapes import markup
from services.analyzer.report.figures.drawing.theme import DISAPPEAR, PERSIST, axis, base_layout
from services.analyzer.report.figures.registry import Figure, Panel, Results, by_tracking
from services.analyzer.report.histograms import stairs
from services.analyzer.report.text import named, number, short

HEIGHT = 210
COLORS = {"rule": PERSIST, "language_model": DISAPPEAR}
FILLS = {"rule": "rgba(59,130,196,0.18)", "language_model": "rgba(217,98,43,0.14)"}
LEGEND = 0.17  # of the height of a distribution, for each line of the legend above it in the PNG
HEADROOM = 0.12  # of the height, for each method's mean above the distributions


def by_model(scores: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The distributions that are not empty, by model, rules first."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in scores:
        if one["scored"]:
            found.setdefault(one["model"], []).append(one)
    return found


def outline(values: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """The outline of a distribution: x the score, y per cent of the scored features."""
    shares = [100 * count / values["scored"] for count in values["histogram"]["counts"]]
    return stairs({"edges": values["histogram"]["edges"], "counts": shares})


def span(scores: Sequence[Mapping[str, Any]]) -> list[float]:
    """One range of scores for all models: from the lowest bin that any of them has to 1."""
    lowest = [
        edge
        for one in scores
        for edge, count in zip(one["histogram"]["edges"], one["histogram"]["counts"], strict=False)
        if count
    ]
    return [min([0.0, *lowest]) - 0.02, 1.02]


def top(scores: Sequence[Mapping[str, Any]]) -> float:
    """The highest point of all distributions, so that models share one scale; 0 of none."""
    return max((max(outline(one)[1]) for one in scores if one["scored"]), default=0.0)


def means(
    entries: Sequence[Mapping[str, Any]], peak: float
) -> list[tuple[Mapping[str, Any], float]]:
    """Entries with a mean, and the height above `peak`, the distributions', where it is drawn."""
    known = [one for one in entries if one["score"] is not None]
    return [(one, peak * (1 + HEADROOM * (place + 1))) for place, one in enumerate(known)]


def reach(values: Mapping[str, Any]) -> tuple[float, float]:
    """How far the interval of the mean reaches to the left and to the right of it."""
    if not values["interval"] or values["score"] is None:
        return 0.0, 0.0
    low, high = values["interval"]
    return max(0.0, values["score"] - low), max(0.0, high - values["score"])


def figure(entries: Sequence[Mapping[str, Any]], limits: Sequence[float], peak: float) -> go.Figure:
    """The distributions of one model, a line for each method, with their means above `peak`."""
    traces = []
    for one in entries:
        x, y = outline(one)
        line = {"color": COLORS[one["method"]], "width": 1.6}
        how = {"fill": "tozeroy", "fillcolor": FILLS[one["method"]], "line": line}
        words = f"{markup(named(one))}<br>score %{{x:.2f}}: %{{y:.1f}} % of features<extra></extra>"
        traces.append(go.Scatter(x=x, y=y, mode="lines", hovertemplate=words, **how))
    for one, height in means(entries, peak):
        left, right = reach(one)
        error = {"type": "data", "symmetric": False, "array": [right], "arrayminus": [left]}
        color = COLORS[one["method"]]
        traces.append(
            go.Scatter(
                x=[one["score"]],
                y=[height],
                error_x={**error, "color": color, "thickness": 1.6, "width": 4},
                mode="markers",
                marker={"color": color, "size": 7},
                hovertemplate=f"{markup(named(one))}<br>mean %{{x:.3f}}<extra></extra>",
            )
        )
    highest = peak * (1 + HEADROOM * (len(COLORS) + 1))
    return go.Figure(
        data=traces,
        layout=base_layout(
            height=HEIGHT,
            margin={"l": 6, "r": 8, "t": 6, "b": 6},
            xaxis=axis(
                range=list(limits),
                title={"text": "score (Pearson r)", "font": {"size": 11}, "standoff": 4},
                nticks=6,
            ),
            yaxis=axis(range=[0, highest], nticks=4),
            showlegend=False,
            dragmode=False,
        ),
    )


def panels(scores: Sequence[Mapping[str, Any]], place: int) -> list[Panel]:
    """A small figure for every model of one tracking; none where nothing has a score."""
    limits, peak = span(scores), top(scores)
    return [
        Panel(
            id=f"figure-explanations-{place}-{nth}",
            figure=figure(entries, limits, peak),
            height=HEIGHT,
            min_width=190,
            title=model,
            alternative=f"distribution of the scores of explanations of {model}: "
            + "; ".join(
                f"{named(one)}, {one['scored']} features, mean {number(one['score'], 2)}"
                for one in entries
            ),
        )
        for nth, (model, entries) in enumerate(by_model(scores).items())
    ]


def picture(scores: Sequence[Mapping[str, Any]]) -> Sheet:
    """The distributions of one tracking, with the mean of each method and its interval above."""
    models = by_model(scores)
    limits, peak = span(scores), top(scores)
    lines = max(map(len, models.values()), default=0)
    above = HEADROOM * (lines + 0.5) + LEGEND * lines
    figure, plots = canvas.small_plots(len(models))
    for axes, (model, entries) in zip(plots, models.items(), strict=True):
        for one in entries:
            x, y = outline(one)
            color = COLORS[one["method"]]
            label = canvas.drawable(f"{short(named(one), 16)} (n = {one['scored']})")
            axes.plot(x, y, color=color, linewidth=1.1, label=label)
            axes.fill_between(x, y, color=color, alpha=0.16, linewidth=0)
        for one, height in means(entries, peak):
            left, right = reach(one)
            color, error = COLORS[one["method"]], [[left], [right]]
            axes.errorbar(
                [one["score"]], [height], xerr=error, color=color, marker="o", capsize=2, ms=3
            )
        axes.set_xlim(*limits)
        axes.set_ylim(0, peak * (1 + above))
        known = [number(one["score"], 2) for one in entries if one["score"] is not None]
        title = f"{short(model, 20)}\nmean {' and '.join(known) or '–'}"
        canvas.dress(axes, title, "score (Pearson r)", "% of features", size=11)
        legend = axes.legend(fontsize=6.5, frameon=False, loc="upper left")
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure


def parts(results: Results) -> dict[str, list[Mapping[str, Any]]]:
    """Of each tracking the models and methods with a score."""
    return {
        name: [one for one in scores if one["scored"]]
        for name, scores in by_tracking(results, "explanation_scores").items()
    }


FIGURE = Figure(
    parts=parts,
    panels=lambda _, scores, place: panels(scores, place),
    picture=lambda _, scores: picture(scores),
)
