"""The Plotly figures of a page, made from results.json: what it lacks has no figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.analyzer.report.figures import (
    correlation,
    crosscoder,
    curve,
    explanations,
    features,
    flow,
    health,
    lineage,
    merges,
    stability,
    sweep,
    training,
)
from services.analyzer.report.figures.drawing import to_plotly
from services.analyzer.report.figures.lineage import made_how
from services.analyzer.report.figures.text import listed
from services.analyzer.report.figures.theme import Panel

STRETCH = 1.35  # how far a drawing may be pulled sideways before its boxes look odd


@dataclass(frozen=True)
class Panels:
    """All Plotly figures of a page; those of a tracking or a sweep by its name."""

    lineage: Panel
    flow: Mapping[str, Panel] = field(default_factory=dict)
    curve: Mapping[str, Sequence[Panel]] = field(default_factory=dict)
    correlation: Mapping[str, Sequence[Panel]] = field(default_factory=dict)
    merges: Mapping[str, Panel] = field(default_factory=dict)
    training: Sequence[Panel] = ()
    stability: Mapping[str, Panel] = field(default_factory=dict)
    crosscoder: Mapping[str, Mapping[str, Panel]] = field(default_factory=dict)
    universal: Mapping[str, Panel] = field(default_factory=dict)
    failing: Mapping[str, Panel] = field(default_factory=dict)
    explanations: Mapping[str, Sequence[Panel]] = field(default_factory=dict)
    sweeps: Mapping[str, Sequence[Panel]] = field(default_factory=dict)
    health: Sequence[Panel] = ()

    def all(self) -> list[Panel]:
        """Every panel, in the order of the page."""
        lists = (self.curve, self.correlation, self.explanations, self.sweeps)
        rest = [panel for group in lists for panels_ in group.values() for panel in panels_]
        rest += [panel for pairs in self.crosscoder.values() for panel in pairs.values()]
        groups = (self.flow, self.universal, self.failing, self.merges, self.stability)
        named = [panel for group in groups for panel in group.values()]
        return [self.lineage, *named, *rest, *self.training, *self.health]


def tracked_edges(results: Mapping[str, Any], tracking: str) -> list[Mapping[str, Any]]:
    """The edges of one tracking."""
    return [edge for edge in results["edges"] if edge["tracking"] == tracking]


def tracked_merges(results: Mapping[str, Any], tracking: str) -> list[Mapping[str, Any]]:
    """What the merges of one tracking inherit."""
    return [merge for merge in results["merges"] if merge["tracking"] == tracking]


def tracked_scores(results: Mapping[str, Any], tracking: str) -> list[Mapping[str, Any]]:
    """How good the explanations of one tracking's models are."""
    return [one for one in results["explanation_scores"] if one["tracking"] == tracking]


def _lineage_panel(results: Mapping[str, Any]) -> Panel:
    drawing = lineage.draw(results)
    names = ", ".join(
        f"{name} ({made_how(model)}"
        + (f", from {listed(model['parents'])})" if model["parents"] else ")")
        for name, model in results["models"].items()
    )
    return Panel(
        id="figure-lineage",
        figure=to_plotly(drawing),
        height=round(drawing.height),
        min_width=round(drawing.width),
        title="",
        alternative=f"lineage of the models: {names}",
        max_width=round(STRETCH * drawing.width),
    )


def _flow_panel(results: Mapping[str, Any], tracking: str, place: int) -> Panel:
    models = results["trackings"][tracking]["models"]
    edges = tracked_edges(results, tracking)
    drawing = flow.draw(models, edges)
    words = "; ".join(flow.hover(edge).replace("\n", ", ") for edge in edges)
    return Panel(
        id=f"figure-flow-{place}",
        figure=to_plotly(drawing),
        height=round(drawing.height),
        min_width=round(drawing.width),
        title="",
        alternative=f"flow of features along every edge: {words}",
        max_width=round(STRETCH * drawing.width),
    )


def panels(results: Mapping[str, Any]) -> Panels:
    """The figures for what results.json has; what it has not is left out."""
    examples = results["examples"]
    tracked = [name for name in results["trackings"] if tracked_edges(results, name)]
    return Panels(
        lineage=_lineage_panel(results),
        flow={name: _flow_panel(results, name, place) for place, name in enumerate(tracked)},
        curve={
            name: curve.panels(tracked_edges(results, name), place)
            for place, name in enumerate(tracked)
        },
        correlation={
            name: correlation.panels(tracked_edges(results, name), place)
            for place, name in enumerate(tracked)
        },
        universal={
            name: features.matrix_panel(example["universal"], place)
            for place, (name, example) in enumerate(examples.items())
            if example["universal"]
        },
        failing={
            name: features.scatter_panel(example["failing"], place)
            for place, (name, example) in enumerate(examples.items())
            if example["failing"]
        },
        explanations={
            name: explanations.panels(tracked_scores(results, name), place)
            for place, name in enumerate(results["trackings"])
            if tracked_scores(results, name)
        },
        sweeps={
            name: sweep.panels(name, values, place)
            for place, (name, values) in enumerate(results["sweeps"].items())
        },
        merges={
            name: merges.panel(tracked_merges(results, name), place)
            for place, name in enumerate(results["trackings"])
            if tracked_merges(results, name)
        },
        training=[training.panel(run, place) for place, run in enumerate(results["along"])],
        stability={
            name: stability.panel(name, values, place)
            for place, (name, values) in enumerate(results["stability"].items())
        },
        crosscoder=_crosscoder_panels(results["crosscoders"]),
        health=health.panels(results["dictionaries"]),
    )


def _crosscoder_panels(groups: Mapping[str, Any]) -> dict[str, dict[str, Panel]]:
    """The histograms of all pairs with one, by group and pair."""
    pairs = [(group, name, one) for group, found in groups.items() for name, one in found.items()]
    panels_: dict[str, dict[str, Panel]] = {group: {} for group in groups}
    for place, (group, name, pair) in enumerate(pairs):
        made = crosscoder.panel(pair, place)
        if made:
            panels_[group][name] = made
    return panels_
