"""Histograms of results.json ({edges, counts}) as bins, bars and lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any


def bins(histogram: Mapping[str, Any]) -> Iterator[tuple[float, float, int]]:
    """Lower edge, upper edge and count of each bin."""
    for (low, high), number in zip(pairwise(histogram["edges"]), histogram["counts"], strict=True):
        yield low, high, number


def middles(histogram: Mapping[str, Any]) -> list[tuple[float, float, int]]:
    """Middle, width and count of every bin."""
    return [((low + high) / 2, high - low, number) for low, high, number in bins(histogram)]


def stairs(histogram: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """The outline of a histogram: x and y of its steps, from zero to zero."""
    edges, counts = histogram["edges"], histogram["counts"]
    x = [edge for edge in edges for _ in range(2)]
    y = [0.0, *(float(value) for value in counts for _ in range(2)), 0.0]
    return x, y
