"""Which dictionary to use: one rule over the cells of a stability grid.

Pure numbers in and out: the report marks the cell that the rule takes, and the API names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Cell = Mapping[str, float | None]

MOST_DEAD = 0.2  # share of dead features: above it the size of the dictionary is not used
LARGEST_GAP = 0.1  # of explained variance, behind a cell that is no denser
LEAST_OF_BEST = 0.5  # of the highest explained variance in the grid
AS_DENSE = 1.1  # L0 is measured: up to this factor two cells count as equally dense
EQUAL_CEILING = 0.01  # ceilings closer than this do not decide


def recommend(cells: Sequence[Cell]) -> int | None:
    """Number of the cell to use, or None when no cell is fit.

    A cell has the keys ceiling (one-to-one share of two seeds), explained_variance, dead_share, l0
    and features; where there are several seeds, means over them. The rule takes the highest ceiling
    among the cells that are fit, and the highest explained variance where ceilings are equal.

    Why the ceiling: a share between two models cannot say more than two dictionaries of one model
    share, so a low ceiling leaves no scale to measure on. Why not the ceiling alone: a dictionary
    with a few live features repeats itself easily and misses most of what the model computes. So a
    cell is fit when (1) at most a fifth of its features are dead, (2) no cell that is as sparse or
    sparser explains more by over 0.1, which is a sign of bad training, and (3) it explains at least
    half of what the best cell does. Explained variance is not compared with the best cell alone,
    because that is always the densest one, and dense dictionaries have the lowest ceilings.
    """
    known = [number for number, cell in enumerate(cells) if _known(cell)]
    fit = [number for number in known if _fit(cells[number], [cells[other] for other in known])]
    if not fit:
        return None
    highest = max(_value(cells[number], "ceiling") for number in fit)
    close = [n for n in fit if _value(cells[n], "ceiling") > highest - EQUAL_CEILING]
    return max(close, key=lambda n: (_value(cells[n], "explained_variance"), -n))


def _known(cell: Cell) -> bool:
    names = ("ceiling", "explained_variance", "dead_share", "l0")
    return all(cell.get(name) is not None for name in names)


def _value(cell: Cell, name: str) -> float:
    value = cell[name]
    assert value is not None
    return value


def _fit(cell: Cell, others: Sequence[Cell]) -> bool:
    """Whether the three conditions of `recommend` hold."""
    explained = _value(cell, "explained_variance")
    best = max(_value(other, "explained_variance") for other in others)
    no_denser = max(
        _value(other, "explained_variance")
        for other in others
        if _value(other, "l0") <= AS_DENSE * _value(cell, "l0")
    )
    return (
        _value(cell, "dead_share") <= MOST_DEAD
        and explained >= no_denser - LARGEST_GAP
        and explained >= LEAST_OF_BEST * best
    )
