"""Finds the figures of the report: every other module of this folder is one.

A module has the name of the figure's PNG file and ends with
`FIGURE = Figure(parts, panels, picture)`. A template places the figure by that name:
`panels.of("figure2_flow", tracking)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar

import plotly.graph_objects as go
from matplotlib.figure import Figure as Sheet

Results = Mapping[str, Any]
Part = TypeVar("Part")


@dataclass(frozen=True)
class Panel:
    """A Plotly figure in its place on the page, with a fixed id.

    `min_width` is the least width in pixels at which it can be read, `max_width` the largest to
    which it should be stretched. `title` is shown above it, `alternative` says what it shows.
    """

    id: str
    figure: go.Figure
    height: int
    min_width: int
    title: str
    alternative: str
    max_width: int | None = None


@dataclass(frozen=True)
class Figure(Generic[Part]):
    """A figure in both versions, drawn once for each of its parts.

    parts    what results.json has for it, by the name of the tracking, sweep .. that it is about;
             "" where one figure is about the whole family; what is empty is not drawn
    panels   name, part, place among the parts (for ids) -> what stands on the page
    picture  name, part -> the PNG
    """

    parts: Callable[[Results], Mapping[str, Part]]
    panels: Callable[[str, Part, int], Sequence[Panel]]
    picture: Callable[[str, Part], Sheet]


@cache
def figures() -> Mapping[str, Figure[Any]]:
    """Every figure by the name of its file; those with a number first, as on the page."""
    here = Path(__file__)
    names = {path.stem for path in here.parent.glob("*.py")} - {"__init__", here.stem}
    order = sorted(names, key=lambda name: (not name.startswith("figure"), name))
    return {name: import_module(f"{__package__}.{name}").FIGURE for name in order}


def by_tracking(results: Results, section: str) -> dict[str, list[Mapping[str, Any]]]:
    """The entries of a section of results.json, a list of them for each tracking."""
    return {
        name: [entry for entry in results[section] if entry["tracking"] == name]
        for name in results["trackings"]
    }


def compared(results: Results) -> dict[str, list[Mapping[str, Any]]]:
    """The edges of each tracking that has any."""
    return {name: edges for name, edges in by_tracking(results, "edges").items() if edges}
