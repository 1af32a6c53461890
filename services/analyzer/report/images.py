"""Writes every figure of the report as a PNG, from the same values as those of the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib

from services.analyzer.report.figures.drawing import canvas
from services.analyzer.report.figures.registry import figures
from services.analyzer.report.text import file_names


def write(results: Mapping[str, Any], directory: Path) -> None:
    """Write every figure for which results.json has something to draw."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for name, figure in figures().items():
            parts = {key: part for key, part in figure.parts(results).items() if part}
            for key, file in _files(name, parts):
                canvas.save(figure.picture(key, parts[key]), directory / f"{file}.png")


def _files(figure: str, parts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """A file name for each part: the figure's name alone for the first, others add their own."""
    for place, (key, plain) in enumerate(file_names(parts).items()):
        yield key, f"{figure}_{plain}" if place else figure
