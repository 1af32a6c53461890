"""Figure 6."""

from __future__ import annotations

from services.analyzer.report.figures.figure6_explanations import outline


def test_outlines_are_per_cent_of_the_scored_features() -> None:
    values = {"scored": 8, "histogram": {"edges": [-1.0, 0.0, 1.0], "counts": [2, 6]}}
    x, y = outline(values)
    assert x == [-1.0, -1.0, 0.0, 0.0, 1.0, 1.0]
    assert y == [0.0, 25.0, 25.0, 75.0, 75.0, 0.0]
