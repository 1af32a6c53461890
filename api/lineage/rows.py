"""The features of one side of an edge as rows: filtered, sorted, in pages or all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from api.lineage.matches import Side, Status

IntArray = npt.NDArray[np.int64]
Sort = Literal["feature", "firings", "best_r", "r"]
Order = Literal["asc", "desc"]


class MatchRow(BaseModel):
    """A feature of one side of an edge.

    `partner` is its one-to-one match in the other model and `r` their correlation, `best` the
    feature of the other model that is most like it, with `best_r`; null where there is none.
    """

    feature: int
    firings: int
    status: Status
    partner: int | None
    r: float | None
    best: int | None
    best_r: float | None


COLUMNS = tuple(MatchRow.model_fields)


def selection(side: Side, statuses: Sequence[Status], sort: Sort, order: Order) -> IntArray:
    """Numbers of the wanted features, in the wanted order.

    All of them when no status is named. Features without the value that is sorted by come last in
    either order, equal ones by number.
    """
    wanted = np.arange(len(side.firings_F))
    if statuses:
        kept = [number for number, name in enumerate(side.statuses()) if name in statuses]
        wanted = wanted[np.isin(side.status_F, kept)]
    values = {
        "feature": np.arange(len(side.firings_F)),
        "firings": side.firings_F,
        "best_r": side.best_r_F,
        "r": side.r_F,
    }[sort][wanted].astype(np.float64)
    return wanted[np.argsort(-values if order == "desc" else values, kind="stable")]


def fields(side: Side, feature: int) -> tuple[object, ...]:
    """The values of one row, in the order of COLUMNS."""
    partner, best = int(side.partner_F[feature]), int(side.best_F[feature])
    return (
        feature,
        int(side.firings_F[feature]),
        side.statuses()[side.status_F[feature]],
        partner if partner >= 0 else None,
        float(side.r_F[feature]) if partner >= 0 else None,
        best if best >= 0 else None,
        float(side.best_r_F[feature]) if best >= 0 else None,
    )


def row_of(side: Side, feature: int) -> MatchRow:
    """One feature as it is shown."""
    return MatchRow.model_validate(dict(zip(COLUMNS, fields(side, feature), strict=True)))


def rows_of(side: Side, features: IntArray) -> Iterator[Sequence[object]]:
    """Many features, each as a row of a table."""
    return (fields(side, feature) for feature in features.tolist())
