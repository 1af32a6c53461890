"""The Plotly figures of a page, made from results.json: what it lacks has no figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.analyzer.report.figures.registry import Panel, figures


@dataclass(frozen=True)
class Panels:
    """The panels of every figure, by the name of the figure and of the part it is drawn from."""

    by_figure: Mapping[str, Mapping[str, Sequence[Panel]]]

    def of(self, figure: str, part: str = "") -> Sequence[Panel]:
        """The panels of one part of a figure, none where there is nothing to draw.

        Raises KeyError when there is no figure of that name.
        """
        return self.by_figure[figure].get(part, ())

    def all(self) -> list[Panel]:
        """Every panel, in the order in which a browser shall draw them."""
        return [
            panel for parts in self.by_figure.values() for part in parts.values() for panel in part
        ]


def panels(results: Mapping[str, Any]) -> Panels:
    """The panels of all figures for which results.json has something to draw."""
    return Panels(
        {
            name: {
                key: figure.panels(key, part, place)
                for place, (key, part) in enumerate(figure.parts(results).items())
                if part
            }
            for name, figure in figures().items()
        }
    )
