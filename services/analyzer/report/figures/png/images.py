"""The figures as PNG, drawn by matplotlib from the same values as those of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from services.analyzer.report.figures import correlation, explanations, flow, health, lineage, sweep
from services.analyzer.report.figures.drawing import Drawing
from services.analyzer.report.figures.png import canvas
from services.analyzer.report.figures.png import controls as images_controls
from services.analyzer.report.figures.png import explanations as images_explanations
from services.analyzer.report.figures.png import features as images_features
from services.analyzer.report.figures.text import number, percent, short
from services.analyzer.report.figures.theme import NEUTRAL, series
from services.analyzer.report.page.panels import tracked_edges, tracked_merges, tracked_scores
from services.analyzer.report.tables.tables import file_names

PLOT = (560, 420)  # pixels


def write(results: Mapping[str, Any], directory: Path) -> None:
    """Write every figure that the results have."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for name, figure in _figures(results):
            canvas.save(figure, directory / f"{name}.png")


def _numbered(stem: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """File name for each name: the stem alone for the first, with the name behind it for others."""
    for place, (name, plain) in enumerate(file_names(names).items()):
        yield name, f"{stem}_{plain}" if place else stem


def _figures(results: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    yield "figure1_lineage", _drawn(lineage.draw(results))
    tracked = [name for name in results["trackings"] if tracked_edges(results, name)]
    for name, file in _numbered("figure2_flow", tracked):
        models = results["trackings"][name]["models"]
        yield file, _drawn(flow.draw(models, tracked_edges(results, name)))
    for name, file in _numbered("curve", tracked):
        curved = [edge for edge in tracked_edges(results, name) if edge["curve"]]
        if curved:
            yield file, images_controls.curve_image(curved)
    for name, file in _numbered("correlations", tracked):
        known = [edge for edge in tracked_edges(results, name) if edge["best_r"]["edge"]]
        if known:
            yield file, correlation_image(known)
    examples = results["examples"]
    found = [name for name, example in examples.items() if example["universal"]]
    for name, file in _numbered("figure3_universal", found):
        yield file, images_features.universal(examples[name]["universal"])
    found = [name for name, example in examples.items() if example["failing"]]
    for name, file in _numbered("figure4_disappears", found):
        yield file, images_features.failing(examples[name]["failing"])
    for name, file in _numbered("figure5_sweep", list(results["sweeps"])):
        yield file, sweep_image(results["sweeps"][name])
    scored = {name: tracked_scores(results, name) for name in results["trackings"]}
    explained = [name for name, scores in scored.items() if explanations.by_model(scores)]
    for name, file in _numbered("figure6_explanations", explained):
        yield file, images_explanations.scores_image(scored[name])
    merged = [name for name in results["trackings"] if tracked_merges(results, name)]
    for name, file in _numbered("merges", merged):
        yield file, images_controls.merges_image(tracked_merges(results, name))
    runs = {f"{run['tracking']}/{run['run']}": run for run in results["along"]}
    for name, file in _numbered("training", list(runs)):
        yield file, images_controls.training_image(runs[name])
    for name, file in _numbered("stability", list(results["stability"])):
        yield file, images_controls.stability_image(name, results["stability"][name])
    for name, file in _numbered("crosscoder", list(results["crosscoders"])):
        pairs = [pair for pair in results["crosscoders"][name].values() if pair["relative_norm"]]
        if pairs:
            yield file, images_controls.crosscoder_image(pairs)
    if results["dictionaries"]:
        yield "dictionaries", health_image(results["dictionaries"])


def _drawn(drawing: Drawing) -> Figure:
    """A sheet with one drawing."""
    figure = canvas.sheet(drawing.width, drawing.height)
    axes = canvas.region(figure, 0, 0, drawing.width, drawing.height)
    canvas.draw(axes, drawing)
    return figure


def sweep_image(values: Mapping[str, Any]) -> Figure:
    """Accuracy and loss of a sweep side by side."""
    width, height = PLOT
    figure = canvas.sheet(2 * width, height)
    for place, (measure, words) in enumerate(sweep.MEASURES.items()):
        axes = canvas.region(figure, place * width + 70, 75, width - 100, height - 140)
        _sweep_plot(axes, values, measure)
        canvas.dress(axes, "", "t", words)
    return figure


def _sweep_plot(axes: Axes, values: Mapping[str, Any], measure: str) -> None:
    reference = values["reference"]
    t = [point["t"] for point in values["points"]]
    for place, corpus in enumerate(values["evaluate_on"]):
        y = [point["corpora"][corpus][measure] for point in values["points"]]
        label = canvas.drawable(f"on {short(corpus, 24)}")
        axes.plot(t, y, color=series(place), marker="o", markersize=3.2, label=label)
        if reference and corpus in reference["corpora"]:
            level = reference["corpora"][corpus][measure]
            label = canvas.drawable(f"{short(reference['model'], 16)} on {short(corpus, 16)}")
            axes.axhline(level, color=series(place), linestyle="--", linewidth=1.1, label=label)
    marks = [
        (merge["place"], f"{short(merge['model'], 18)} (t = {merge['place']:.3g})", "-")
        for merge in values["merges"]
    ]
    crossing = sweep.crossing_of(values, measure)
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
    ends = (f"0\n{short(values['at_zero'], 16)}", f"1\n{short(values['at_one'], 16)}")
    zero, one = (canvas.drawable(end) for end in ends)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], [zero, "0.25", "0.5", "0.75", one])
    legend = axes.legend(fontsize=8, frameon=False, loc="best")
    for text in legend.get_texts():
        text.set_parse_math(False)


def correlation_image(edges: Sequence[Mapping[str, Any]]) -> Figure:
    """A small plot of the best correlations for every edge, with ceiling and chance."""
    figure, plots = canvas.small_plots(len(edges))
    for axes, edge in zip(plots, edges, strict=True):
        for which, color, _, style in correlation.CURVES:
            if edge["best_r"][which]:
                x, y = correlation.found_again(edge["best_r"][which])
                axes.plot(x, y, color=color, linewidth=1, linestyle=style, label=which)
        axes.axvline(edge["threshold"], color=NEUTRAL, linewidth=0.8)
        axes.set_xlim(0, 1)
        title = f"{short(edge['parent'], 17)} → {short(edge['child'], 17)}"
        canvas.dress(axes, title, "best r at least", "% of live features", size=11)
        axes.legend(fontsize=7, frameon=False)
    return figure


def health_image(dictionaries: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """A small plot of firing density for every model and group, with its numbers above."""
    groups = [
        (model, group, [entry for entry in entries if entry["group"] == group])
        for model, entries in dictionaries.items()
        for group in dict.fromkeys(entry["group"] for entry in entries)
    ]
    figure, plots = canvas.small_plots(len(groups))
    span = health.axis_range(dictionaries)
    for axes, (model, group, entries) in zip(plots, groups, strict=True):
        for seed, entry in enumerate(entries):
            if entry["density_histogram"]:
                x, y = health.stairs(entry["density_histogram"])
                axes.plot(x, y, color=series(seed), linewidth=1, linestyle=":" if seed else "-")
        axes.set_xlim(*span)
        canvas.dress(
            axes, _health_words(model, group, entries[0]), "log₁₀ share of tokens", size=11
        )
    return figure


def _health_words(model: str, group: str, entry: Mapping[str, Any]) -> str:
    return (
        f"{short(model, 20)} ({short(group, 12)})\n"
        f"L0 {number(entry['l0'], 1)}, explained {number(entry['explained_variance'], 2)}\n"
        f"recovered {number(entry['loss_recovered'], 2)}, dead {percent(entry['dead_share'])}"
    )
