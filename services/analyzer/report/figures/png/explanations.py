"""Figure 6 as PNG: a small plot of the scores of every model's explanations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from services.analyzer.report.figures import explanations
from services.analyzer.report.figures.png import canvas
from services.analyzer.report.figures.text import number, short

LEGEND = 0.17  # of the height of a distribution, for each line of the legend above it


def scores_image(scores: Sequence[Mapping[str, Any]]) -> Figure:
    """The distributions of one tracking, with the mean of each method and its interval above."""
    models = explanations.by_model(scores)
    limits, peak = explanations.span(scores), explanations.top(scores)
    lines = max(map(len, models.values()), default=0)
    above = explanations.HEADROOM * (lines + 0.5) + LEGEND * lines
    figure, plots = canvas.small_plots(len(models))
    for axes, (model, entries) in zip(plots, models.items(), strict=True):
        for one in entries:
            x, y = explanations.outline(one)
            color = explanations.COLORS[one["method"]]
            label = canvas.drawable(f"{short(explanations.named(one), 16)} (n = {one['scored']})")
            axes.plot(x, y, color=color, linewidth=1.1, label=label)
            axes.fill_between(x, y, color=color, alpha=0.16, linewidth=0)
        for one, height in explanations.means(entries, peak):
            left, right = explanations.reach(one)
            color, error = explanations.COLORS[one["method"]], [[left], [right]]
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
