"""Models in columns: around each other, with few crossings."""

from __future__ import annotations

from services.analyzer.report.figures.drawing.layout import place


def test_an_edge_that_skips_columns_passes_between_the_models() -> None:
    edges = [("a", "b"), ("b", "c"), ("a", "c")]
    columns = place(["a", "b", "c"], edges)
    assert columns.routes["a", "c"] == ("a", ("a", "c", 1), "c")
    assert set(columns.columns[1]) == {"b", ("a", "c", 1)}
    assert columns.column_of("c") == 2


def test_siblings_are_ordered_so_that_edges_do_not_cross() -> None:
    edges = [("root", "x"), ("root", "y"), ("x", "below"), ("y", "above")]
    columns = place(["root", "x", "y", "above", "below"], edges).columns
    assert columns[1].index("x") == columns[2].index("below")
