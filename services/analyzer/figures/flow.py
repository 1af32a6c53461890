"""Figure 2, the flow: how many features persist, disappear and emerge along every edge.

One scale for the whole figure: a bar or ribbon twice as thick holds twice as many features. A model
has one bar for each edge, so every bar is the number of its live features and nothing is counted
into another edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.analyzer.figures.drawing import (
    Drawing,
    Label,
    Patch,
    broken,
    eased,
    fitting,
    overlap,
    rectangle,
    ribbon,
)
from services.analyzer.figures.layout import Columns, Item, place
from services.analyzer.figures.text import count, number, percent
from services.analyzer.figures.theme import DISAPPEAR, EMERGE, NEUTRAL, PERSIST

NODE, GAP, MARGIN, TOP = 126.0, 270.0, 12.0, 40.0  # pixels
BAR = 92.0  # height of the largest bar
SLOT = 84.0  # least height for an edge, so that its labels have room
BETWEEN = 30.0  # between the items of a column
STUB = 34.0  # length of what disappears or emerges
LABEL_CLEAR = 27.0  # between the label of a stub and the middle of the persisting part
NAME_LETTERS = 14  # of a model in one line
ALONG = (
    0.5,
    0.46,
    0.54,
    0.42,
    0.58,
    0.38,
    0.62,
    0.34,
    0.66,
)  # where on its ribbon a label may stand


@dataclass(frozen=True)
class Port:
    """The end of an edge at a model: its bar, split into the part that persists and the rest.

    `persist` and `rest` are the vertical middles of the two parts, `*_thick` their heights.
    """

    persist: float
    persist_thick: float
    rest: float
    rest_thick: float

    @property
    def outwards(self) -> float:
        """1 where the rest lies above the persisting part, -1 where it lies below."""
        return 1.0 if self.rest > self.persist else -1.0


def _port(middle: float, persist: float, rest: float, persist_on_top: bool) -> Port:
    """A bar around `middle` of two parts with the given heights."""
    bottom = middle - (persist + rest) / 2
    if persist_on_top:
        return Port(bottom + rest + persist / 2, persist, bottom + rest / 2, rest)
    return Port(bottom + persist / 2, persist, bottom + persist + rest / 2, rest)


def least_width(models: Sequence[str], edges: Sequence[Mapping[str, Any]]) -> int:
    """Pixels below which the figure's labels would run into each other."""
    columns = place(models, [(edge["parent"], edge["child"]) for edge in edges]).columns
    return round(len(columns) * (NODE + GAP) - GAP + 2 * MARGIN)


class _Plan:
    """Where items and ports stand, before anything is drawn."""

    def __init__(self, models: Sequence[str], edges: Sequence[Mapping[str, Any]]) -> None:
        self.edges = {(edge["parent"], edge["child"]): edge for edge in edges}
        self.columns: Columns = place(models, list(self.edges))
        largest = max(max(edge["alive_parent"], edge["alive_child"]) for edge in edges)
        self.scale = BAR / max(largest, 1)
        self.slot = max(SLOT, BAR + 6)
        heights = [sum(map(self.height, column)) for column in self.columns.columns]
        gaps = [BETWEEN * (len(column) - 1) for column in self.columns.columns]
        tallest = max(height + gap for height, gap in zip(heights, gaps, strict=True))
        self.total = tallest + 2 * MARGIN + TOP
        self.middle: dict[Item, float] = {}
        self.left: dict[Item, float] = {}
        for place_, column in enumerate(self.columns.columns):
            y = MARGIN + (tallest + heights[place_] + gaps[place_]) / 2
            for item in column:
                self.left[item] = MARGIN + place_ * (NODE + GAP)
                self.middle[item] = y - self.height(item) / 2
                y -= self.height(item) + BETWEEN
        self.out_ports: dict[tuple[str, str], Port] = {}
        self.in_ports: dict[tuple[str, str], Port] = {}
        for name in models:
            self._stack(name, outgoing=True)
            self._stack(name, outgoing=False)

    def height(self, item: Item) -> float:
        """Height that an item takes in its column."""
        if isinstance(item, str):
            ends = [sum(end[side] == item for end in self.edges) for side in (0, 1)]
            return float(max(*ends, 1) * self.slot)
        persist: int = self.edges[item[0], item[1]]["persist"]
        return max(float(persist * self.scale), BETWEEN)

    def _stack(self, name: str, outgoing: bool) -> None:
        """Stack a model's ports on one side, in the order of the items at their other ends."""
        mine = [end for end in self.edges if end[0 if outgoing else 1] == name]
        near = {end: self.columns.routes[end][1 if outgoing else -2] for end in mine}
        mine.sort(key=lambda end: -self.middle[near[end]])
        for row, end in enumerate(mine):
            middle = self.middle[name] + ((len(mine) - 1) / 2 - row) * self.slot
            edge = self.edges[end]
            persist = edge["persist"] * self.scale
            rest = edge["disappear" if outgoing else "emerge"] * self.scale
            upwards = self.middle[near[end]] >= middle - 1
            ports = self.out_ports if outgoing else self.in_ports
            ports[end] = _port(middle, persist, rest, upwards)


def draw(models: Sequence[str], edges: Sequence[Mapping[str, Any]]) -> Drawing:
    """The flow along the edges of one tracking; ValueError when it has none."""
    if not edges:
        raise ValueError("a flow needs at least one edge")
    plan = _Plan(models, edges)
    drawing = Drawing(width=least_width(models, edges), height=plan.total)
    for name in models:
        _node(drawing, plan, name)
    for end, edge in plan.edges.items():
        _ribbons(drawing, plan, end, edge)
    for end, edge in plan.edges.items():
        _stub_labels(drawing, plan, end, edge)
    for end, edge in plan.edges.items():
        _persist_labels(drawing, plan, end, edge)
    _legend(drawing)
    return drawing


def _node(drawing: Drawing, plan: _Plan, name: str) -> None:
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
            f"{count(edge['disappear'])} disappear, {count(edge['emerge'])} emerge",
            f"ceiling {percent(edge['ceiling'])}, chance {percent(edge['null'])}",
            f"share of ceiling {number(edge['share_of_ceiling'], 2)}",
        ]
    )


def _ribbons(drawing: Drawing, plan: _Plan, end: tuple[str, str], edge: Mapping[str, Any]) -> None:
    """The bars at both ends, the ribbon between them, and what disappears and emerges."""
    out, into = plan.out_ports[end], plan.in_ports[end]
    right, left = plan.left[end[0]] + NODE, plan.left[end[1]]
    for x, port, color in ((right - 7, out, DISAPPEAR), (left, into, EMERGE)):
        for middle, thick, fill in (
            (port.persist, port.persist_thick, PERSIST),
            (port.rest, port.rest_thick, color),
        ):
            bar = rectangle(x, middle - thick / 2, x + 7, middle + thick / 2)
            drawing.patches.append(Patch(*bar, fill, 0.95))
    words = hover(edge)
    stops = plan.columns.routes[end]
    for start, finish in _legs(plan, end, stops):
        outline = ribbon(start, finish, (out.persist_thick, into.persist_thick))
        drawing.patches.append(Patch(*outline, PERSIST, 0.42, words))
    away = out.rest + out.outwards * 10
    gone = ribbon((right, out.rest), (right + STUB, away), (out.rest_thick, 0.0))
    drawing.patches.append(Patch(*gone, DISAPPEAR, 0.5, f"{count(edge['disappear'])} disappear"))
    away = into.rest + into.outwards * 10
    new = ribbon((left - STUB, away), (left, into.rest), (0.0, into.rest_thick))
    drawing.patches.append(Patch(*new, EMERGE, 0.5, f"{count(edge['emerge'])} emerge"))


def _legs(
    plan: _Plan, end: tuple[str, str], stops: tuple[Item, ...]
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Start and finish of each piece of a ribbon, waypoints passed straight."""
    legs = []
    start = (plan.left[end[0]] + NODE, plan.out_ports[end].persist)
    for stop in stops[1:-1]:
        entry = (plan.left[stop], plan.middle[stop])
        leave = (plan.left[stop] + NODE, plan.middle[stop])
        legs += [(start, entry), (entry, leave)]
        start = leave
    legs.append((start, (plan.left[end[1]], plan.in_ports[end].persist)))
    return legs


def _stub_labels(
    drawing: Drawing, plan: _Plan, end: tuple[str, str], edge: Mapping[str, Any]
) -> None:
    """How many disappear, how many emerge: outside of their bars, clear of the ribbon."""
    out, into = plan.out_ports[end], plan.in_ports[end]

    def beside(port: Port) -> float:
        middle = port.rest + 10 * port.outwards
        return port.outwards * max(
            port.outwards * middle, port.outwards * port.persist + LABEL_CLEAR
        )

    x = plan.left[end[0]] + NODE + STUB + 4
    words = f"{count(edge['disappear'])} disappear"
    drawing.labels.append(Label(x, beside(out), words, 11, anchor="left"))
    x = plan.left[end[1]] - STUB - 4
    words = f"{count(edge['emerge'])} emerge"
    drawing.labels.append(Label(x, beside(into), words, 11, anchor="right"))


def _persist_labels(
    drawing: Drawing, plan: _Plan, end: tuple[str, str], edge: Mapping[str, Any]
) -> None:
    """The share on its ribbon with its controls below, where no other label stands."""
    first = f"{count(edge['persist'])} persist · {percent(edge['share'])}"
    controls = (("ceiling", edge["ceiling"]), ("chance", edge["null"]))
    known = [f"{name} {percent(value)}" for name, value in controls if value is not None]
    second = " · ".join(known) or "no controls"
    choices = []
    for start, finish in _legs(plan, end, plan.columns.routes[end])[::2]:
        x, y = eased(start, finish)
        for along in ALONG:
            at = round(along * (len(x) - 1))
            choices.append(
                [
                    Label(x[at], y[at] + 8, first, 12, bold=True, plate=True),
                    Label(x[at], y[at] - 8, second, 11, muted=True, plate=True),
                ]
            )

    def collisions(pair: Iterable[Label]) -> int:
        return sum(overlap(label, other) for label in pair for other in drawing.labels)

    drawing.labels += min(choices, key=collisions)


def _legend(drawing: Drawing) -> None:
    """What the colours mean, above the figure."""
    x, y = MARGIN, drawing.height - 18
    words = (("persist", PERSIST), ("disappear", DISAPPEAR), ("emerge", EMERGE))
    for word, color in words:
        drawing.patches.append(Patch(*rectangle(x, y - 5, x + 18, y + 5, 2), color, 0.75))
        drawing.labels.append(Label(x + 24, y, word, 11.5, anchor="left"))
        x += 34 + 8 * len(word)
