"""Draws on a matplotlib figure in pixels, by its object API: nothing global, nothing dated.

The fonts are those that come with matplotlib, so a picture does not depend on the machine's fonts.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Sheet
from matplotlib.font_manager import FontProperties, get_font

from services.analyzer.report.figures.drawing.shapes import Drawing, Label

INCH = 96.0  # pixels of a drawing to the inch
DENSITY = 192  # dots per inch of a PNG: two dots a pixel
INK, MUTED, GRID = "#171a1f", "#5a626d", "#d9dbd8"
POINTS = 72 / INCH  # points a pixel
SMALL, COLUMNS = (300, 230), 4  # size of small plots in pixels, how many in a row


@cache
def font(bold: bool = False, mono: bool = False) -> FontProperties:
    """One of matplotlib's own fonts."""
    name = f"DejaVuSans{'Mono' if mono else ''}{'-Bold' if bold else ''}.ttf"
    return FontProperties(fname=str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name))


@cache
def _glyphs() -> frozenset[int]:
    """Characters that both the proportional and the monospaced font can draw."""
    files = [str(font(mono=mono).get_file()) for mono in (False, True)]
    return frozenset.intersection(*(frozenset(get_font(file).get_charmap()) for file in files))


def drawable(text: str) -> str:
    """The text with a box for every character but line feed that the fonts do not have."""
    known = _glyphs()
    return "".join(one if one == "\n" or ord(one) in known else "□" for one in text)


def sheet(width: float, height: float) -> Sheet:
    """An empty white figure of that many pixels."""
    figure = Sheet(figsize=(width / INCH, height / INCH), dpi=DENSITY, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def region(figure: Sheet, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes in a rectangle given in pixels of the sheet."""
    total = [inches * INCH for inches in figure.get_size_inches()]
    place = (left / total[0], bottom / total[1], width / total[0], height / total[1])
    return figure.add_axes(place)


def write_label(axes: Axes, label: Label) -> None:
    """One label of a drawing."""
    properties = font(label.bold, label.mono).copy()
    properties.set_size(label.size * POINTS)
    plate = {"facecolor": "white", "alpha": 0.72, "linewidth": 0, "pad": 1.2}
    axes.text(
        label.x,
        label.y,
        drawable(label.text),
        fontproperties=properties,
        color=MUTED if label.muted else INK,
        ha=label.anchor,
        va="center_baseline",
        parse_math=False,
        bbox=plate if label.plate else None,
    )


def draw(axes: Axes, drawing: Drawing) -> None:
    """A drawing into axes that are as large as the drawing."""
    axes.set_xlim(0, drawing.width)
    axes.set_ylim(0, drawing.height)
    axes.set_axis_off()
    for patch in drawing.patches:
        axes.fill(patch.x, patch.y, color=patch.fill, alpha=patch.opacity, linewidth=0)
    for curve in drawing.curves:
        width = curve.width * POINTS
        axes.plot(curve.x, curve.y, color=curve.color, linewidth=width)
        if curve.arrow:
            axes.plot(curve.x[-1], curve.y[-1], marker=">", color=curve.color, markersize=6)
    for label in drawing.labels:
        write_label(axes, label)


def drawn(drawing: Drawing) -> Sheet:
    """A sheet with one drawing."""
    figure = sheet(drawing.width, drawing.height)
    draw(region(figure, 0, 0, drawing.width, drawing.height), drawing)
    return figure


def small_plots(count: int) -> tuple[Sheet, list[Axes]]:
    """A sheet with that many small plots in rows of COLUMNS, and its axes."""
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    width, height = SMALL
    figure = sheet(columns * width, rows * height)
    plots = []
    for place in range(count):
        row, column = divmod(place, columns)
        left, bottom = column * width + 58, (rows - 1 - row) * height + 46
        plots.append(region(figure, left, bottom, width - 74, height - 104))
    return figure, plots


def dress(axes: Axes, title: str = "", x: str = "", y: str = "", size: float = 12) -> None:
    """Title and axes of a plot in the style of the page; texts are plain."""
    for text, write in ((title, axes.set_title), (x, axes.set_xlabel), (y, axes.set_ylabel)):
        properties = font(bold=write == axes.set_title).copy()
        properties.set_size(size * POINTS)
        how: dict[str, Any] = {"loc": "left"} if write == axes.set_title else {}
        write(drawable(text), fontproperties=properties, color=INK, parse_math=False, **how)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(labelsize=(size - 1.5) * POINTS, color=MUTED, labelcolor=INK)
    for tick in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        tick.set_parse_math(False)


def save(figure: Sheet, path: Path) -> None:
    """Write a PNG without the date and the name of the program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DENSITY, metadata={"Software": None})
