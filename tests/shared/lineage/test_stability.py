"""Which cell of a stability grid is taken."""

from __future__ import annotations

from typing import Any

from shared.lineage.stability import Cell, recommend


def cell(ceiling: float | None, explained: float = 0.6, **values: float | None) -> Cell:
    """A cell with some defaults."""
    some: dict[str, Any] = {"dead_share": 0.05, "l0": 20.0, **values}
    some |= {"ceiling": ceiling, "explained_variance": explained}
    blank = dict.fromkeys(Cell.model_fields)
    return Cell(**{**blank, "features": 1024, "dictionaries": 2, **some})


def test_the_highest_ceiling_is_taken() -> None:
    assert recommend([cell(0.3), cell(0.5), cell(0.4)]) == 1


def test_a_cell_with_dead_features_is_left_out() -> None:
    assert recommend([cell(0.9, dead_share=0.21), cell(0.5, dead_share=0.2)]) == 1


def test_a_dense_cell_does_not_rule_out_sparser_ones_by_what_it_explains() -> None:
    # the independent run of paper.md: L0 200 explains more, L0 12 is stable
    cells = [cell(0.07, 0.85, l0=200.0), cell(0.46, 0.59, l0=12.0)]
    assert recommend(cells) == 1


def test_a_cell_that_explains_less_than_one_as_sparse_is_badly_trained() -> None:
    assert recommend([cell(0.9, 0.45), cell(0.5, 0.6)]) == 1
    assert recommend([cell(0.9, 0.55), cell(0.5, 0.6)]) == 0


def test_a_cell_that_misses_most_of_what_can_be_explained_is_left_out() -> None:
    assert recommend([cell(0.9, 0.39, l0=2.0), cell(0.5, 0.8)]) == 1
    assert recommend([cell(0.9, 0.41, l0=2.0), cell(0.5, 0.8)]) == 0


def test_equal_ceilings_are_decided_by_explained_variance_and_then_by_order() -> None:
    assert recommend([cell(0.505, 0.6), cell(0.5, 0.65)]) == 1
    assert recommend([cell(0.5), cell(0.5)]) == 0


def test_nothing_is_recommended_where_nothing_is_fit() -> None:
    assert recommend([]) is None
    assert recommend([cell(None), cell(0.9, dead_share=0.5)]) is None
    assert recommend([cell(0.9, l0=None)]) is None
