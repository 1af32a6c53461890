"""Where everything of figure 2 stands, before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.analyzer.report.figures.drawing.layout import Columns, Item, place
from services.analyzer.report.figures.drawing.theme import DISAPPEAR, EMERGE, MERGE, SPLIT

NODE, GAP, MARGIN, TOP = 126.0, 306.0, 12.0, 40.0  # pixels
BAR = 92.0  # height of the largest bar
SLOT = 126.0  # height for an edge, so that its labels have room
BETWEEN = 34.0  # between the items of a column
# What is left of a bar beside the persisting part, from there outwards: field, colour, words.
LEAVING = (
    ("split", SPLIT, "split"),
    ("merge", MERGE, "merge"),
    ("disappear", DISAPPEAR, "disappear"),
)
ARRIVING = (
    ("split_child", SPLIT, "split"),
    ("merge_child", MERGE, "merge"),
    ("emerge", EMERGE, "emerge"),
)


@dataclass(frozen=True)
class Part:
    """A piece of a bar: its vertical middle and height in pixels, its features in words."""

    middle: float
    thick: float
    fill: str
    words: str


@dataclass(frozen=True)
class Port:
    """The end of an edge at a model: its bar, split into the part that persists and the rest.

    `middle` is that of the whole bar, `persist` that of the part; `rest` goes from there outwards.
    """

    middle: float
    persist: float
    persist_thick: float
    rest: tuple[Part, ...]

    @property
    def outwards(self) -> float:
        """1 where the rest lies above the persisting part, -1 where it lies below."""
        return 1.0 if self.rest[-1].middle > self.persist else -1.0


def parts_of(edge: Mapping[str, Any], outgoing: bool) -> list[tuple[int, str, str]]:
    """Number, colour and words of every part of a bar that does not persist."""
    return [
        (edge[name] or 0, fill, words) for name, fill, words in (LEAVING if outgoing else ARRIVING)
    ]


def _port(
    middle: float, persist: float, rest: Sequence[tuple[float, str, str]], persist_on_top: bool
) -> Port:
    """A bar around `middle` of parts with the given heights."""
    total = persist + sum(thick for thick, _, _ in rest)
    way = -1.0 if persist_on_top else 1.0
    at = middle - way * total / 2
    start = at + way * persist / 2
    at += way * persist
    found = []
    for thick, fill, words in rest:
        found.append(Part(at + way * thick / 2, thick, fill, words))
        at += way * thick
    return Port(middle, start, persist, tuple(found))


def least_width(models: Sequence[str], edges: Sequence[Mapping[str, Any]]) -> int:
    """Pixels below which the figure's labels would run into each other."""
    columns = place(models, [(edge["parent"], edge["child"]) for edge in edges]).columns
    return round(len(columns) * (NODE + GAP) - GAP + 2 * MARGIN)


class Plan:
    """Where items and ports stand."""

    def __init__(self, models: Sequence[str], edges: Sequence[Mapping[str, Any]]) -> None:
        self.edges = {(edge["parent"], edge["child"]): edge for edge in edges}
        self.columns: Columns = place(models, list(self.edges))
        largest = max(max(edge["alive_parent"], edge["alive_child"]) for edge in edges)
        self.scale = BAR / max(largest, 1)
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
            return float(max(*ends, 1) * SLOT)
        persist: int = self.edges[item[0], item[1]]["persist"]
        return max(float(persist * self.scale), BETWEEN)

    def _stack(self, name: str, outgoing: bool) -> None:
        """Stack a model's ports on one side, in the order of the items at their other ends."""
        mine = [end for end in self.edges if end[0 if outgoing else 1] == name]
        near = {end: self.columns.routes[end][1 if outgoing else -2] for end in mine}
        mine.sort(key=lambda end: -self.middle[near[end]])
        for row, end in enumerate(mine):
            middle = self.middle[name] + ((len(mine) - 1) / 2 - row) * SLOT
            edge = self.edges[end]
            rest = [
                (number * self.scale, fill, f"{number:,} {words}")
                for number, fill, words in parts_of(edge, outgoing)
            ]
            upwards = self.middle[near[end]] >= middle - 1
            ports = self.out_ports if outgoing else self.in_ports
            ports[end] = _port(middle, edge["persist"] * self.scale, rest, upwards)

    def legs(self, end: tuple[str, str]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
        """Start and finish of each piece of an edge's ribbon, waypoints passed straight."""
        legs = []
        start = (self.left[end[0]] + NODE, self.out_ports[end].persist)
        for stop in self.columns.routes[end][1:-1]:
            entry = (self.left[stop], self.middle[stop])
            leave = (self.left[stop] + NODE, self.middle[stop])
            legs += [(start, entry), (entry, leave)]
            start = leave
        legs.append((start, (self.left[end[1]], self.in_ports[end].persist)))
        return legs
