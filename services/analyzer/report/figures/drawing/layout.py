"""Places a family of models in columns: what figures 1 and 2 have in common.

A model stands in the column of its depth. An edge that skips columns gets a waypoint in each of
them, so that it is drawn around the models there and not through them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from services.analyzer.report.family import depths

PASSES = 4  # sweeps of the ordering; a family of tens of models settles in two
Edge = tuple[str, str]
Waypoint = tuple[str, str, int]
Item = str | Waypoint


@dataclass(frozen=True)
class Columns:
    """Items of each column from top to bottom, and the stops of each edge from parent to child."""

    columns: tuple[tuple[Item, ...], ...]
    routes: Mapping[Edge, tuple[Item, ...]]

    def column_of(self, item: Item) -> int:
        """Number of the column in which an item stands."""
        return next(number for number, column in enumerate(self.columns) if item in column)


def place(models: Sequence[str], edges: Sequence[Edge]) -> Columns:
    """Columns with few crossings (barycentres, swept to and fro); deterministic."""
    depth = depths(models, edges)
    columns: list[list[Item]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name in models:
        columns[depth[name]].append(name)
    routes: dict[Edge, tuple[Item, ...]] = {}
    for parent, child in edges:
        stops: list[Item] = [
            (parent, child, column) for column in range(depth[parent] + 1, depth[child])
        ]
        for stop, column in zip(stops, range(depth[parent] + 1, depth[child]), strict=True):
            columns[column].append(stop)
        routes[parent, child] = (parent, *stops, child)
    for number in range(PASSES):
        _sort_pass(columns, routes, forward=number % 2 == 0)
    return Columns(tuple(tuple(column) for column in columns), routes)


def _sort_pass(
    columns: list[list[Item]], routes: Mapping[Edge, tuple[Item, ...]], forward: bool
) -> None:
    """Sort every column by the mean place of its neighbours one column before (or after)."""
    neighbours: dict[Item, list[Item]] = {}
    for stops in routes.values():
        for left, right in pairwise(stops):
            item, other = (right, left) if forward else (left, right)
            neighbours.setdefault(item, []).append(other)
    for column in columns if forward else reversed(columns):
        place_of = {
            item: number - (len(items) - 1) / 2
            for items in columns
            for number, item in enumerate(items)
        }

        def mean(item: Item, place_of: dict[Item, float] = place_of) -> float:
            near = neighbours.get(item)
            if not near:
                return place_of[item]
            return sum(place_of[other] for other in near) / len(near)

        column.sort(key=mean)
