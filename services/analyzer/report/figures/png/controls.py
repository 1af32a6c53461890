"""PNG of what stands around the shares: curves, grids, checkpoints, merges, crosscoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from services.analyzer.report.figures import crosscoder, curve, merges, stability, training
from services.analyzer.report.figures.png import canvas
from services.analyzer.report.figures.text import number, percent, short
from services.analyzer.report.figures.theme import DISAPPEAR, NEUTRAL, PERSIST

WORDS = {
    "both": "in both parents",
    "first": "only at t = 0",
    "second": "only at t = 1",
    "new": "in neither",
}


def curve_image(edges: Sequence[Mapping[str, Any]]) -> Figure:
    """A small plot for every edge: its share over the thresholds, with ceiling and chance."""
    figure, plots = canvas.small_plots(len(edges))
    for axes, edge in zip(plots, edges, strict=True):
        low, high = (curve.line(edge["curve"], name) for name in reversed(curve.BAND))
        if low[0] == high[0]:
            axes.fill_between(low[0], low[1], high[1], color=PERSIST, alpha=0.22, linewidth=0)
        for name, words, color, _, style in curve.LINES:
            x, y = curve.line(edge["curve"], name)
            if x:
                axes.plot(x, y, color=color, linewidth=1.2, linestyle=style, label=words)
        _interval(axes, edge)
        axes.set_xlim(0.49, 0.96)
        axes.set_ylim(0, 100)
        title = f"{short(edge['parent'], 17)} → {short(edge['child'], 17)}"
        canvas.dress(axes, title, "r at least", "% of live features", size=11)
        axes.legend(fontsize=6.5, frameon=False)
    return figure


def _interval(axes: Axes, edge: Mapping[str, Any]) -> None:
    """The share at the threshold with its interval."""
    if not edge["interval"] or edge["share"] is None:
        return
    low, high = (100 * end for end in edge["interval"])
    share = 100 * edge["share"]
    error = [[max(0.0, share - low)], [max(0.0, high - share)]]
    axes.errorbar([edge["threshold"]], [share], yerr=error, color=PERSIST, capsize=2, markersize=3)


def stability_image(name: str, values: Mapping[str, Any]) -> Figure:
    """The heat map of a grid, the recommended cell framed."""
    columns, rows, places = stability.grid(values["cells"])
    heat = stability.ceilings(values["cells"], places)
    width, height = 110 * len(columns), 62 * len(rows)
    figure = canvas.sheet(width + 130, height + 110)
    axes = canvas.region(figure, 100, 60, width, height)
    colors = LinearSegmentedColormap.from_list("shade", ["#ffffff", PERSIST])
    filled = [[0.0 if value is None else value for value in row] for row in heat]
    axes.imshow(filled, vmin=0, vmax=1.15, cmap=colors, aspect="auto")
    for row, line in enumerate(places):
        for column, place in enumerate(line):
            words = number(heat[row][column], 2)
            axes.text(column, row, words, ha="center", va="center", fontsize=9)
            if place is not None and place == values["recommended"]:
                frame = Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False)
                frame.set(edgecolor=DISAPPEAR, linewidth=2)
                axes.add_patch(frame)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    title = f"Ceiling of {short(str(values['model'] or name), 24)}"
    canvas.dress(axes, title, "sparsity", "features", size=11)
    axes.grid(visible=False)
    return figure


def training_image(run: Mapping[str, Any]) -> Figure:
    """Features that are new and features that last, over the checkpoints of a run."""
    points = run["points"]
    width = max(420, 84 * len(points))
    figure = canvas.sheet(width + 110, 340)
    axes = canvas.region(figure, 80, 60, width, 230)
    for name, words, color in training.LINES:
        known = [(x, 100 * p[name]) for x, p in enumerate(points) if p[name] is not None]
        x, y = [one[0] for one in known], [one[1] for one in known]
        axes.plot(x, y, color=color, marker="o", markersize=3.5, label=words)
    names = [canvas.drawable(short(point["model"], 14)) for point in points]
    axes.set_xticks(range(len(points)), names)
    axes.set_ylim(0, 104)
    title = f"Training of {short(run['run'], 30)}"
    canvas.dress(axes, title, "checkpoint", "% of the live features")
    axes.legend(fontsize=8, frameon=False)
    return figure


def merges_image(found: Sequence[Mapping[str, Any]]) -> Figure:
    """Where the live features of every merge come from."""
    height = 44 * len(found)
    figure = canvas.sheet(760, height + 130)
    axes = canvas.region(figure, 150, 60, 570, height + 4)
    for row, merge in enumerate(found):
        left = 0
        for key, _, features in merges.parts(merge):
            color = merges.COLORS[key]
            axes.barh(row, features, height=0.7, left=left, color=color, alpha=0.82)
            if merge["alive"] and features / merge["alive"] > 0.05:
                words = percent(features / merge["alive"], 0)
                axes.text(left + features / 2, row, words, ha="center", va="center", fontsize=8)
            left += features
    for color, words in WORDS.items():
        axes.bar([0], [0], color=merges.COLORS[color], label=words)
    names = [canvas.drawable(short(merge["child"], 18)) for merge in found]
    axes.set_yticks(range(len(found)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.04 * max(1, *(merge["alive"] for merge in found)))
    canvas.dress(axes, "", "live features of the merge")
    axes.grid(visible=False, axis="y")
    above = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "ncols": 4}
    axes.legend(fontsize=8, frameon=False, **above)
    return figure


def crosscoder_image(pairs: Sequence[Mapping[str, Any]]) -> Figure:
    """A small histogram of relative norms for every pair of models."""
    figure, plots = canvas.small_plots(len(pairs))
    for axes, pair in zip(plots, pairs, strict=True):
        bins = crosscoder.middles(pair["relative_norm"])
        x, widths, heights = zip(*bins, strict=True)
        axes.bar(x, heights, width=widths, color=PERSIST, alpha=0.8, linewidth=0)
        axes.axvline(0.5, color=NEUTRAL, linestyle=":", linewidth=0.9)
        axes.set_xlim(0, 1)
        title = f"{short(pair['parent'], 17)} → {short(pair['child'], 17)}"
        canvas.dress(axes, title, "share of the norm in the child", "features", size=11)
    return figure
