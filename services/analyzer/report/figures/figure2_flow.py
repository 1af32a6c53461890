"""Figure 2, the flow: which features persist, split, merge, disappear and emerge on every edge.

One scale for the whole figure: a bar or ribbon twice as thick holds twice as many features. A model
has one bar for each edge, so every bar is the number of its live features and nothing is counted
into another edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from services.analyzer.report.figures.drawing import canvas
from services.analyzer.report.figures.drawing.flow_plan import (
    MARGIN,
    NODE,
    SLOT,
    Plan,
    Port,
    least_width,
    parts_of,
)
from services.analyzer.report.figures.drawing.shapes import (
    Drawing,
    Label,
    Patch,
    broken,
    eased,
    fitting,
    overlap,
    rectangle,
    ribbon,
    to_plotly,
)
from services.analyzer.report.figures.drawing.theme import (
    DISAPPEAR,
    EMERGE,
    MERGE,
    NEUTRAL,
    PERSIST,
    SPLIT,
    STRETCH,
)
from services.analyzer.report.figures.registry import Figure, Panel, Results, compared
from services.analyzer.report.text import count, number, percent

Flow = tuple[Sequence[str], Sequence[Mapping[str, Any]]]  # models, edges
STUB = 34.0  # length of what leaves or arrives
SLANT = 10.0  # how far its tip moves outwards
LINE = 14.0  # between two lines of its label
LABEL_CLEAR = 30.0  # between the label of a stub and the middle of the persisting part
NAME_LETTERS = 14  # of a model in one line
ALONG = (0.5, 0.46, 0.54, 0.42, 0.58, 0.38, 0.62, 0.34, 0.66)  # where a label may stand


def draw(models: Sequence[str], edges: Sequence[Mapping[str, Any]]) -> Drawing:
    """The flow along the edges of one tracking; ValueError when it has none."""
    if not edges:
        raise ValueError("a flow needs at least one edge")
    plan = Plan(models, edges)
    drawing = Drawing(width=least_width(models, edges), height=plan.total)
    for name in models:
        _node(drawing, plan, name)
    for end, edge in plan.edges.items():
        _ribbons(drawing, plan, end, edge)
    for end, edge in plan.edges.items():
        x = plan.left[end[0]] + NODE + STUB + 4
        _stub_label(drawing, plan.out_ports[end], parts_of(edge, outgoing=True), (x, "left"))
        x = plan.left[end[1]] - STUB - 4
        _stub_label(drawing, plan.in_ports[end], parts_of(edge, outgoing=False), (x, "right"))
    for end, edge in plan.edges.items():
        _persist_labels(drawing, plan, end, edge)
    _legend(drawing)
    return drawing


def _node(drawing: Drawing, plan: Plan, name: str) -> None:
    """The box of a model between its bars."""
    left, middle = plan.left[name], plan.middle[name]
    half = plan.height(name) / 2
    alive = [edge["alive_parent"] for end, edge in plan.edges.items() if end[0] == name]
    alive += [edge["alive_child"] for end, edge in plan.edges.items() if end[1] == name]
    words = f"{count(alive[0])} live features" if alive else "no edge"
    outline = rectangle(left, middle - half, left + NODE, middle + half, 6)
    drawing.patches.append(Patch(*outline, NEUTRAL, 0.14, f"{name}: {words}"))
    x = left + NODE / 2
    lines = broken(name, NAME_LETTERS)
    for row, line in enumerate(lines):
        title, size = fitting(line, NODE - 24, 14, 9)
        y = middle + 9 + 18 * (len(lines) - 1 - row)
        drawing.labels.append(Label(x, y, title, size, bold=True))
    drawing.labels.append(Label(x, middle - 10, words, 11, muted=True))


def hover(edge: Mapping[str, Any]) -> str:
    """All numbers of an edge in words."""
    return "\n".join(
        [
            f"{edge['parent']} → {edge['child']}",
            f"{count(edge['persist'])} persist: {percent(edge['share'])} of the parent's, "
            f"{percent(edge['inherited'])} of the child's",
            ", ".join(f"{count(n)} {words}" for n, _, words in parts_of(edge, outgoing=True)),
            ", ".join(f"{count(n)} {words}" for n, _, words in parts_of(edge, outgoing=False)),
            f"ceiling {percent(edge['ceiling'])}, chance {percent(edge['null'])}",
            f"adjusted {number(edge['adjusted'], 2)}",
        ]
    )


def _ribbons(drawing: Drawing, plan: Plan, end: tuple[str, str], edge: Mapping[str, Any]) -> None:
    """The bars at both ends, the ribbon between them, and what disappears and emerges."""
    out, into = plan.out_ports[end], plan.in_ports[end]
    right, left = plan.left[end[0]] + NODE, plan.left[end[1]]
    words = hover(edge)
    for start, finish in plan.legs(end):
        outline = ribbon(start, finish, (out.persist_thick, into.persist_thick))
        drawing.patches.append(Patch(*outline, PERSIST, 0.42, words))
    for x, port in ((right - 7, out), (left, into)):
        parts = [(port.persist, port.persist_thick, PERSIST)]
        parts += [(part.middle, part.thick, part.fill) for part in port.rest]
        for middle, thick, fill in parts:
            bar = rectangle(x, middle - thick / 2, x + 7, middle + thick / 2)
            drawing.patches.append(Patch(*bar, fill, 0.95))
    for part in out.rest:
        tip = (right + STUB, part.middle + out.outwards * SLANT)
        gone = ribbon((right, part.middle), tip, (part.thick, 0.0))
        drawing.patches.append(Patch(*gone, part.fill, 0.5, part.words))
    for part in into.rest:
        tip = (left - STUB, part.middle + into.outwards * SLANT)
        new = ribbon(tip, (left, part.middle), (0.0, part.thick))
        drawing.patches.append(Patch(*new, part.fill, 0.5, part.words))


def _stub_label(
    drawing: Drawing,
    port: Port,
    parts: Sequence[tuple[int, str, str]],
    place: tuple[float, Literal["left", "right"]],
) -> None:
    """What does not persist, in words: outside of its bar, clear of the ribbon.

    The last part has the line next to its bar; splits and merges, where there are any, the one
    beyond.
    """
    lines = [f"{count(parts[-1][0])} {parts[-1][2]}"]
    few = [f"{count(number_)} {words}" for number_, _, words in parts[:-1] if number_]
    lines += [", ".join(few)] if few else []
    way = port.outwards
    tip = port.rest[-1].middle + way * SLANT
    y = way * max(way * tip, way * port.persist + LABEL_CLEAR)
    farthest = way * port.middle + SLOT / 2 - LINE / 2 - LINE * (len(lines) - 1)
    y = way * min(way * y, farthest)
    for row, words in enumerate(lines):
        x, anchor = place
        drawing.labels.append(Label(x, y + way * LINE * row, words, 11, anchor=anchor))


def _persist_labels(
    drawing: Drawing, plan: Plan, end: tuple[str, str], edge: Mapping[str, Any]
) -> None:
    """The share on its ribbon with its controls below, where no other label stands."""
    first = f"{count(edge['persist'])} persist · {percent(edge['share'])}"
    baseline = ("baseline" if edge["controls"] == "warm" else "chance", edge["baseline"])
    controls = (("ceiling", edge["ceiling"]), baseline)
    known = [f"{name} {percent(value)}" for name, value in controls if value is not None]
    lines = [" · ".join(known) or "no controls"]
    if edge["adjusted"] is not None:
        lines.append(f"adjusted {number(edge['adjusted'], 2)}")
    choices = []
    for start, finish in plan.legs(end)[::2]:
        x, y = eased(start, finish)
        for along in ALONG:
            at = round(along * (len(x) - 1))
            choices.append(
                [
                    Label(x[at], y[at] + 8, first, 12, bold=True, plate=True),
                    *(
                        Label(x[at], y[at] - 8 - 15 * row, line, 11, muted=True, plate=True)
                        for row, line in enumerate(lines)
                    ),
                ]
            )

    def collisions(pair: Iterable[Label]) -> int:
        return sum(overlap(label, other) for label in pair for other in drawing.labels)

    drawing.labels += min(choices, key=collisions)


def _legend(drawing: Drawing) -> None:
    """What the colours mean, above the figure."""
    x, y = MARGIN, drawing.height - 18
    words = (
        ("persist", PERSIST),
        ("split", SPLIT),
        ("merge", MERGE),
        ("disappear", DISAPPEAR),
        ("emerge", EMERGE),
    )
    for word, color in words:
        drawing.patches.append(Patch(*rectangle(x, y - 5, x + 18, y + 5, 2), color, 0.75))
        drawing.labels.append(Label(x + 24, y, word, 11.5, anchor="left"))
        x += 34 + 8 * len(word)


def parts(results: Results) -> dict[str, Flow]:
    """Models and edges of every tracking that has an edge."""
    return {
        name: (results["trackings"][name]["models"], edges)
        for name, edges in compared(results).items()
    }


def _panel(flow: Flow, place: int) -> Panel:
    drawing = draw(*flow)
    words = "; ".join(hover(edge).replace("\n", ", ") for edge in flow[1])
    return Panel(
        id=f"figure-flow-{place}",
        figure=to_plotly(drawing),
        height=round(drawing.height),
        min_width=round(drawing.width),
        title="",
        alternative=f"flow of features along every edge: {words}",
        max_width=round(STRETCH * drawing.width),
    )


FIGURE = Figure(
    parts=parts,
    panels=lambda _, flow, place: [_panel(flow, place)],
    picture=lambda _, flow: canvas.drawn(draw(*flow)),
)
