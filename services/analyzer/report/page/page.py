"""Renders report.html: one file, readable without a network, made from results.json alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from services.analyzer.report.figures.drawing.strips import peak
from services.analyzer.report.page.explanations import declared, explained_rows
from services.analyzer.report.page.numbers import exact, exact_range, shares_in_words, visible
from services.analyzer.report.page.panels import panels
from services.analyzer.report.text import (
    compact,
    count,
    listed,
    made_how,
    named,
    number,
    percent,
    plain,
    sparsity,
)
from shared.lineage.shares import LEAST_RANGE

GOOD_F1 = 0.8  # from here on a feature is called a feature of its label
LABELS_IN_SUMMARY = 4
TEMPLATES = Path(__file__).parent / "templates"
SECTIONS = (
    "version",
    "name",
    "seed",
    "block",
    "evaluate_tokens",
    "tokenizer",
    "corpora",
    "models",
    "sweeps",
    "dictionaries",
    "stability",
    "tracking",
    "explain",
)


def shaded(tokens: Sequence[str], values: Sequence[float], peak: float) -> Markup:
    """Tokens shaded by activation; `peak` is the activation of the full colour."""
    pieces = []
    for token, value in zip(tokens, values, strict=True):
        text = escape(token.replace("\n", "↵\n"))
        if value > 0 and peak > 0:
            strength = min(value / peak, 1.0)
            text = Markup('<mark style="--a:{:.3f}" title="{}">{}</mark>').format(
                strength, json.dumps(value), text
            )
        pieces.append(text)
    return Markup("").join(pieces)


def embedded(text: str) -> Markup:
    """JSON as the content of a script element: nothing in it can end the element."""
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704 - every character with a meaning in HTML is gone


def _pruned(value: Any) -> Any:
    """The value without fields that nobody set."""
    if isinstance(value, Mapping):
        return {key: _pruned(inner) for key, inner in value.items() if inner is not None}
    return [_pruned(inner) for inner in value] if isinstance(value, list) else value


def spec_as_yaml(spec: Mapping[str, Any]) -> str:
    """The spec in the order of its sections, without fields that are null."""
    names = [name for name in SECTIONS if name in spec]
    names += [name for name in spec if name not in SECTIONS]
    text: str = yaml.safe_dump(
        _pruned({name: spec[name] for name in names}), sort_keys=False, allow_unicode=True, width=88
    )
    return text


def evaluation_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The evaluation matrix: every model, the untrained ones first, with how dark each cell is.

    Darkness goes from the worst to the best loss of the trained models on a corpus.
    """
    groups = [("untrained", True), ("models", False)]
    losses = {
        corpus: [
            model["corpora"][corpus]["loss"]
            for model in results["models"].values()
            if corpus in model["corpora"]
        ]
        for corpus in results["corpora"]
    }
    return [
        {
            "name": name,
            "untrained": untrained,
            "parameters": results["models"][name]["parameters"],
            "cells": [
                _cell(values["corpora"].get(corpus), losses[corpus])
                for corpus in results["corpora"]
            ],
        }
        for group, untrained in groups
        for name, values in results[group].items()
    ]


def _cell(measured: Mapping[str, Any] | None, losses: Sequence[float]) -> dict[str, Any] | None:
    if measured is None:
        return None
    best, worst = min(losses, default=measured["loss"]), max(losses, default=measured["loss"])
    span = worst - best
    strength = (worst - measured["loss"]) / span if span else float(measured["loss"] <= best)
    strength = min(max(strength, 0.0), 1.0)
    return {**measured, "strength": strength, "best": measured["loss"] == best}


def labels_of_roots(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Labels in the first finished model of each tracking, the best told ones first."""
    checkpoints = {name for name, model in results["models"].items() if model["checkpoint"]}
    first = {
        name: next((one for one in tracking["models"] if one not in checkpoints), None)
        for name, tracking in results["trackings"].items()
    }
    rows = [row for row in results["labels"] if row["model"] == first[row["tracking"]]]
    return sorted(rows, key=lambda row: (-(row["f1"] or 0.0), row["label"]))


def headlines(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The edges that the summary tells: those between models, not those along one training run."""
    models = results["models"]
    between = [edge for edge in results["edges"] if not models[edge["parent"]]["checkpoint"]]
    return between or list(results["edges"])


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["number"] = lambda v, digits=3: exact(v, number(v, digits))
    environment.filters["percent"] = lambda v, digits=1: exact(v, percent(v, digits))
    environment.filters["count"] = lambda v: exact(v, count(v))
    environment.filters["compact"] = lambda v: exact(v, compact(v))
    environment.filters["range"] = lambda v: exact_range(v, 1, 2)
    environment.filters["range_percent"] = lambda v: exact_range(v, 100, 1)
    environment.filters["shares"] = shares_in_words
    environment.filters["visible"] = visible
    environment.filters["listed"] = listed
    environment.filters["plain"] = plain
    environment.filters["peak"] = peak
    environment.filters["named"] = named
    environment.filters["made_how"] = made_how
    environment.globals["shaded"] = shaded
    environment.globals["sparsity"] = sparsity
    environment.globals["least_range"] = LEAST_RANGE
    return environment


def _script(name: str) -> Markup:
    """A file of ours (or Plotly) that goes into the page as it is."""
    return Markup((TEMPLATES / name).read_text("utf-8"))  # noqa: S704


def render(results: Mapping[str, Any], results_json: str) -> str:
    """The page; `results_json` is the content of results.json, which the page carries along."""
    found = panels(results)
    template = _environment().get_template("report.html")
    return template.render(
        r=results,
        panels=found,
        figures=[(panel, embedded(panel.figure.to_json(engine="json"))) for panel in found.all()],
        headlines=headlines(results),
        warm_asked=any(
            (group or {}).get("init") == "parent"
            for group in (results["spec"].get("dictionaries") or {}).values()
        ),
        evaluation=evaluation_rows(results),
        explained=explained_rows(results),
        **declared(),
        root_labels=labels_of_roots(results)[:LABELS_IN_SUMMARY],
        good_f1=GOOD_F1,
        spec_yaml=spec_as_yaml(results["spec"]),
        results_json=embedded(results_json),
        plotly=Markup(get_plotlyjs()),  # noqa: S704 - the library itself
        style=_script("report.css"),
        behaviour=_script("report.js"),
    )
