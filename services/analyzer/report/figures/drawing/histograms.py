"""Histograms of results.json ({edges, counts}) as lines and bars."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any


def stairs(histogram: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """The outline of a histogram: x and y of its steps, from zero to zero."""
    edges, counts = histogram["edges"], histogram["counts"]
    x = [edge for edge in edges for _ in range(2)]
    y = [0.0, *(float(value) for value in counts for _ in range(2)), 0.0]
    return x, y


def middles(histogram: Mapping[str, Any]) -> list[tuple[float, float, int]]:
    """Middle, width and count of every bin."""
    bins = pairwise(histogram["edges"])
    return [
        ((low + high) / 2, high - low, number)
        for (low, high), number in zip(bins, histogram["counts"], strict=True)
    ]
