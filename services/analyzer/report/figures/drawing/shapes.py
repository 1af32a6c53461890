"""A drawing in pixels, drawn twice: by Plotly for the page, by matplotlib for the PNG.

Plotly has a Sankey trace, but it stacks the edges of a model into one bar that is no longer its
number of features, cannot keep labels apart, and has no counterpart in matplotlib. So figures 1 and
2 compute their shapes themselves, once, and both libraries only fill them.
x grows to the right from 0 to `width`, y upwards from 0 to `height`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from services.analyzer.report.figures.drawing.theme import base_layout
from services.analyzer.report.text import short

SAMPLES = 25  # points along a curved edge
CHARACTER = 0.6  # mean width of a character, as a share of the font size (DejaVu is wide)


@dataclass(frozen=True)
class Patch:
    """A filled outline; `hover` is plain text, its lines separated by a line feed."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    fill: str
    opacity: float = 1.0
    hover: str | None = None


@dataclass(frozen=True)
class Curve:
    """An open line, with an arrow head at its end when `arrow`."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    color: str
    width: float = 1.5
    arrow: bool = False


@dataclass(frozen=True)
class Label:
    """One line of plain text around (x, y); `plate` puts the page's colour behind it.

    `size` is the height of the font in pixels; `mono` asks for letters of one width.
    """

    x: float
    y: float
    text: str
    size: float = 12.0
    bold: bool = False
    muted: bool = False
    plate: bool = False
    mono: bool = False
    anchor: Literal["left", "center", "right"] = "center"

    def extent(self) -> tuple[float, float, float, float]:
        """Its estimated box: left, bottom, right, top."""
        width = CHARACTER * self.size * len(self.text) * (1.06 if self.bold else 1.0)
        left = {"left": self.x, "center": self.x - width / 2, "right": self.x - width}[self.anchor]
        return left, self.y - 0.62 * self.size, left + width, self.y + 0.62 * self.size


@dataclass
class Drawing:
    """Shapes from back to front."""

    width: float
    height: float
    patches: list[Patch] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)


def fitting(text: str, width: float, largest: float, least: float) -> tuple[str, float]:
    """The text and a font size at which it fits `width`; cut where even `least` is too wide."""
    size = max(least, min(largest, width / (CHARACTER * 1.06 * max(len(text), 1))))
    return short(text, max(2, int(width / (CHARACTER * 1.06 * size) + 1e-9))), size


def broken(text: str, length: int) -> list[str]:
    """The text in one line, or in two where it is longer and has a place to break."""
    places = [place + 1 for place, letter in enumerate(text[:-1]) if letter in "-_. "]
    if len(text) <= length or not places:
        return [text]
    at = min(places, key=lambda place: abs(place - len(text) / 2))
    return [text[:at], text[at:]]


def overlap(one: Label, other: Label) -> bool:
    """Whether two labels would cover each other."""
    left, bottom, right, top = one.extent()
    left_2, bottom_2, right_2, top_2 = other.extent()
    return left < right_2 and left_2 < right and bottom < top_2 and bottom_2 < top


def rectangle(
    left: float, bottom: float, right: float, top: float, radius: float = 0.0
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Outline of a rectangle with rounded corners."""
    if radius <= 0:
        return (left, right, right, left), (bottom, bottom, top, top)
    x: list[float] = []
    y: list[float] = []
    corners = (
        (right - radius, top - radius, 0.0),
        (left + radius, top - radius, 90.0),
        (left + radius, bottom + radius, 180.0),
        (right - radius, bottom + radius, 270.0),
    )
    for centre_x, centre_y, start in corners:
        angle = np.radians(np.linspace(start, start + 90, 6))
        x += (centre_x + radius * np.cos(angle)).tolist()
        y += (centre_y + radius * np.sin(angle)).tolist()
    return tuple(x), tuple(y)


def eased(
    start: tuple[float, float], end: tuple[float, float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A curve that leaves and arrives horizontally."""
    u = np.linspace(0, 1, SAMPLES)
    x = start[0] + (end[0] - start[0]) * u
    y = start[1] + (end[1] - start[1]) * (3 * u**2 - 2 * u**3)
    return tuple(x.tolist()), tuple(y.tolist())


def ribbon(
    start: tuple[float, float],
    end: tuple[float, float],
    thickness: tuple[float, float],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Outline of a band around `eased`, as thick as asked at its start and its end."""
    x, y = eased(start, end)
    half = np.linspace(thickness[0], thickness[1], SAMPLES) / 2
    above, below = np.asarray(y) + half, np.asarray(y) - half
    return (*x, *reversed(x)), (*above.tolist(), *reversed(below.tolist()))


def _rgba(color: str, opacity: float) -> str:
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def markup(text: str) -> str:
    """Plain text for Plotly, which reads some HTML in its labels."""
    return escape(text, quote=False).replace("\n", "<br>")


def _annotation(label: Label) -> dict[str, Any]:
    text = markup(label.text)
    return {
        "x": label.x,
        "y": label.y,
        "text": f"<b>{text}</b>" if label.bold else text,
        "showarrow": False,
        "xanchor": label.anchor,
        "yanchor": "middle",
        "borderpad": 1,
        "font": {"size": label.size},
        "opacity": 0.72 if label.muted and not label.plate else 1.0,
        **({"bgcolor": "rgba(255,255,255,0.72)"} if label.plate else {}),
    }


def _patch(patch: Patch) -> go.Scatter:
    return go.Scatter(
        x=[*patch.x, patch.x[0]],
        y=[*patch.y, patch.y[0]],
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=_rgba(patch.fill, patch.opacity),
        hoveron="fills",
        hoverinfo="text" if patch.hover else "skip",
        text=markup(patch.hover or ""),
        showlegend=False,
    )


def _curve(curve: Curve) -> list[go.Scatter]:
    line = go.Scatter(
        x=list(curve.x),
        y=list(curve.y),
        mode="lines",
        line={"width": curve.width, "color": curve.color},
        hoverinfo="skip",
        showlegend=False,
    )
    head = go.Scatter(
        x=[curve.x[-1]],
        y=[curve.y[-1]],
        mode="markers",
        marker={"symbol": "triangle-right", "size": 11, "color": curve.color},
        hoverinfo="skip",
        showlegend=False,
    )
    return [line, head] if curve.arrow else [line]


def to_plotly(drawing: Drawing) -> go.Figure:
    """The drawing as a Plotly figure that stretches sideways and keeps its height."""
    hidden = {"visible": False, "fixedrange": True}
    return go.Figure(
        data=[
            *(_patch(patch) for patch in drawing.patches),
            *(trace for curve in drawing.curves for trace in _curve(curve)),
        ],
        layout=base_layout(
            height=round(drawing.height),
            margin={"l": 0, "r": 0, "t": 0, "b": 0},
            xaxis={**hidden, "range": [0, drawing.width]},
            yaxis={**hidden, "range": [0, drawing.height]},
            annotations=[_annotation(label) for label in drawing.labels],
            hovermode="closest",
            dragmode=False,
        ),
    )
