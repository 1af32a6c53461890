"""Figure 1, the lineage: models as boxes, who was made from whom, which parent is t = 0."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from services.analyzer.report.figures.drawing import canvas
from services.analyzer.report.figures.drawing.layout import Item, place
from services.analyzer.report.figures.drawing.shapes import (
    Curve,
    Drawing,
    Label,
    Patch,
    eased,
    fitting,
    rectangle,
    to_plotly,
)
from services.analyzer.report.figures.drawing.theme import KIND_COLORS, NEUTRAL, STRETCH
from services.analyzer.report.figures.registry import Figure, Panel, Results
from services.analyzer.report.text import compact, listed, made_how, number, percent, short

BOX, GAP, ROW, HEIGHT, MARGIN = 208.0, 84.0, 132.0, 110.0, 12.0  # pixels
CHARACTERS = 31  # of the small font that fit into a box
LINES_OF_LOSS = 2


def own_corpora(name: str, models: Mapping[str, Any]) -> list[str]:
    """The evaluated corpora that a model was made for: its own, or else those of its parents."""
    model = models[name]
    wanted = list(model["trained_on"])
    if not wanted:
        wanted = [one for parent in model["parents"] for one in own_corpora(parent, models)]
    known = [corpus for corpus in dict.fromkeys(wanted) if corpus in model["corpora"]]
    return known or list(model["corpora"])


def _hover(name: str, model: Mapping[str, Any]) -> str:
    lines = [f"{name}: {made_how(model)}", f"{compact(model['parameters'])} parameters"]
    for corpus, values in model["corpora"].items():
        lines.append(
            f"{corpus}: loss {number(values['loss'])}, accuracy {percent(values['accuracy'])}"
        )
    return "\n".join(lines)


def _box(
    drawing: Drawing, name: str, models: Mapping[str, Any], corner: tuple[float, float]
) -> None:
    """A model's box with its lower left corner at `corner`."""
    model = models[name]
    left, bottom = corner
    outline = rectangle(left, bottom, left + BOX, bottom + HEIGHT, 8)
    drawing.patches.append(Patch(*outline, NEUTRAL, 0.14, _hover(name, model)))
    stripe = rectangle(left, bottom, left + 5, bottom + HEIGHT, 2)
    drawing.patches.append(Patch(*stripe, KIND_COLORS[model["kind"]]))
    lines = [made_how(model), f"{compact(model['parameters'])} parameters"]
    for corpus in own_corpora(name, models)[:LINES_OF_LOSS]:
        loss = f"loss {number(model['corpora'][corpus]['loss'])} on "
        lines.append(loss + short(corpus, CHARACTERS - len(loss)))
    text = left + 16
    top = bottom + HEIGHT - 20
    title, size = fitting(name, BOX - 24, 15, 10)
    drawing.labels.append(Label(text, top, title, size, bold=True, anchor="left"))
    for row, line in enumerate(lines):
        drawing.labels.append(
            Label(
                text, top - 21 - 17 * row, short(line, CHARACTERS), 11.5, muted=True, anchor="left"
            )
        )


def draw(results: Mapping[str, Any]) -> Drawing:
    """The lineage of all models of results.json."""
    models = results["models"]
    edges = [(parent, name) for name, model in models.items() for parent in model["parents"]]
    columns = place(list(models), edges)
    rows = max(len(column) for column in columns.columns)
    drawing = Drawing(
        width=len(columns.columns) * (BOX + GAP) - GAP + 2 * MARGIN,
        height=rows * ROW - (ROW - HEIGHT) + 2 * MARGIN,
    )
    centre: dict[Item, tuple[float, float]] = {}
    for number_, column in enumerate(columns.columns):
        for row, item in enumerate(column):
            y = drawing.height / 2 + ((len(column) - 1) / 2 - row) * ROW
            centre[item] = (MARGIN + number_ * (BOX + GAP), y)
    for edge, stops in columns.routes.items():
        _edge(drawing, stops, centre, _direction(edge, models))
    for name in models:
        left, y = centre[name]
        _box(drawing, name, models, (left, y - HEIGHT / 2))
    return drawing


def _direction(edge: tuple[str, str], models: Mapping[str, Any]) -> str | None:
    """Which end of a merge the parent is."""
    parent, child = edge
    merge = models[child]["merge"]
    if not merge:
        return None
    return "t = 0" if merge["at_zero"] == parent else "t = 1"


def _edge(
    drawing: Drawing,
    stops: tuple[Item, ...],
    centre: Mapping[Item, tuple[float, float]],
    direction: str | None,
) -> None:
    """Curves from the parent by way of its waypoints to the child."""
    for left, right in pairwise(stops):
        start = (centre[left][0] + BOX, centre[left][1])
        last = right == stops[-1]
        end = (centre[right][0] - (7 if last else 0), centre[right][1])
        drawing.curves.append(Curve(*eased(start, end), NEUTRAL, 1.8, arrow=last))
        if not last:  # straight through the column, where a model would stand
            through = ((end[0], end[0] + BOX), (end[1], end[1]))
            drawing.curves.append(Curve(*through, NEUTRAL, 1.8))
        elif direction:
            x, y = drawing.curves[-1].x, drawing.curves[-1].y
            at = len(x) * 11 // 20
            drawing.labels.append(Label(x[at], y[at], direction, 12, bold=True, plate=True))


def _panel(results: Results) -> Panel:
    drawing = draw(results)
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


FIGURE = Figure(
    parts=lambda results: {"": results},
    panels=lambda _, results, __: [_panel(results)],
    picture=lambda _, results: canvas.drawn(draw(results)),
)
