"""The cells of a stability grid, and which of its dictionaries to use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from shared.lineage.pair import Source
from shared.lineage.roles import Role, roles_of
from shared.lineage.shares import RULES, suffix

SPARSITY = ("k", "l0", "l1")
MEASURED = ("l0", "explained_variance", "loss_recovered", "dead_share")
MOST_DEAD = 0.2  # share of dead features: above it the size of the dictionary is not used
LARGEST_GAP = 0.1  # of explained variance, behind a cell that is no denser
LEAST_OF_BEST = 0.5  # of the highest explained variance in the grid
AS_DENSE = 1.1  # L0 is measured: up to this factor two cells count as equally dense
EQUAL_CEILING = 0.01  # ceilings closer than this do not decide


class Cell(BaseModel):
    """Dictionaries of one size and sparsity. What is not finished yet is null.

    ceiling is the share of features that the first two seeds have in common, interval its 95 %
    over documents; l0, explained_variance, loss_recovered and dead_share are means over the seeds.
    """

    model_config = ConfigDict(frozen=True)

    features: int
    sparsity_by: str | None = Field(description="k, l0 or l1: how sparsity was asked for.")
    sparsity: float | None
    l0: float | None
    explained_variance: float | None
    loss_recovered: float | None
    dead_share: float | None
    ceiling: float | None
    ceiling_any: float | None
    ceiling_mutual: float | None
    interval: tuple[float, float] | None
    alive: int | None = Field(description="Features of the first seed that fire often enough.")
    dictionaries: int = Field(description="How many seeds are evaluated so far.")


def cells_of(grid: str, settings: Sequence[Mapping[str, float]], source: Source) -> list[Cell]:
    """The cells of a grid in order; `settings` are their {features, sparsity, k | l0 | l1}."""
    return [_cell(grid, number, cell, source) for number, cell in enumerate(settings)]


def _cell(grid: str, number: int, settings: Mapping[str, float], source: Source) -> Cell:
    roles = roles_of(source.roles, "stability", grid, str(number), "quality")
    roles.sort(key=lambda role: int(role.names[-1]))
    qualities = [results for role in roles if (results := source.results(role))]
    ceiling = source.results(Role.cell_ceiling(grid, number))
    return Cell(
        features=int(settings["features"]),
        sparsity_by=next((name for name in SPARSITY if name in settings), None),
        sparsity=settings["sparsity"],
        **{name: _mean([one.get(name) for one in qualities]) for name in MEASURED},
        **{f"ceiling{suffix(rule)}": ceiling.get(rule) for rule in RULES},
        interval=ceiling.get("interval"),
        alive=ceiling.get("alive_parent"),
        dictionaries=len(qualities),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of what is known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def recommend(cells: Sequence[Cell]) -> int | None:
    """Number of the cell to use, or None when no cell is fit.

    The rule takes the highest ceiling among the cells that are fit, and the highest explained
    variance where ceilings are equal.

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
    highest = max(_value(cells[number].ceiling) for number in fit)
    close = [n for n in fit if _value(cells[n].ceiling) > highest - EQUAL_CEILING]
    return max(close, key=lambda n: (_value(cells[n].explained_variance), -n))


def _known(cell: Cell) -> bool:
    values = (cell.ceiling, cell.explained_variance, cell.dead_share, cell.l0)
    return all(value is not None for value in values)


def _value(value: float | None) -> float:
    assert value is not None, "only cells that are known are compared"
    return value


def _fit(cell: Cell, others: Sequence[Cell]) -> bool:
    """Whether the three conditions of `recommend` hold."""
    explained = _value(cell.explained_variance)
    best = max(_value(other.explained_variance) for other in others)
    no_denser = max(
        _value(other.explained_variance)
        for other in others
        if _value(other.l0) <= AS_DENSE * _value(cell.l0)
    )
    return (
        _value(cell.dead_share) <= MOST_DEAD
        and explained >= no_denser - LARGEST_GAP
        and explained >= LEAST_OF_BEST * best
    )
