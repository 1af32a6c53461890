"""The features of one side of an edge as rows: filtered, sorted, in pages or all at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from api.stored.matches import StoredSide
from shared.arrays import IntArray
from shared.lineage.explanations.shown import harmless
from shared.lineage.statuses import STATUSES, Status

Names = Mapping[int, str]  # what features are about, by number
Sort = Literal["feature", "firings", "best_r", "r", "multiple_r", "q"]
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
    mutual: bool = Field(description="Whether each is the other's best, at or above the threshold.")
    cosine: float | None = Field(
        description="Of the decoder directions of the feature and its best, where both models "
        "read the same basis."
    )
    q: float | None = Field(
        description="False discovery rate (Benjamini-Hochberg) at which best_r is above chance."
    )
    multiple_r: float | None = Field(
        description="Correlation with the best non-negative sum of a few features of the other "
        "model."
    )
    parts: list[int] = Field(description="Those features.")


class NamedMatchRow(MatchRow):
    """The same with what both features are about, as far as they are explained."""

    explanation: str | None = None
    partner_explanation: str | None = None


COLUMNS = tuple(NamedMatchRow.model_fields)


def selection(side: StoredSide, statuses: Sequence[Status], sort: Sort, order: Order) -> IntArray:
    """Numbers of the wanted features, in the wanted order.

    All of them when no status is named. Features without the value that is sorted by come last in
    either order, equal ones by number.
    """
    wanted = np.arange(len(side.firings_F))
    if statuses:
        numbers = [number for number, name in enumerate(STATUSES) if name in statuses]
        wanted = wanted[np.isin(side.status_F, numbers)]
    values = {
        "feature": np.arange(len(side.firings_F)),
        "firings": side.firings_F,
        "best_r": side.best_r_F,
        "r": side.r_F,
        "multiple_r": side.multiple_r_F,
        "q": side.q_F,
    }[sort][wanted].astype(np.float64)
    return wanted[np.argsort(-values if order == "desc" else values, kind="stable")]


def fields(side: StoredSide, feature: int) -> tuple[object, ...]:
    """The values of a MatchRow, in the order of its fields."""
    partner, best = int(side.partner_F[feature]), int(side.best_F[feature])
    return (
        feature,
        int(side.firings_F[feature]),
        STATUSES[side.status_F[feature]],
        partner if partner >= 0 else None,
        _known(side.r_F[feature]),
        best if best >= 0 else None,
        _known(side.best_r_F[feature]),
        bool(side.mutual_F[feature]),
        _known(side.cosine_F[feature]),
        _known(side.q_F[feature]),
        _known(side.multiple_r_F[feature]),
        side.parts(feature).tolist(),
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def row_of(side: StoredSide, feature: int) -> MatchRow:
    """One feature as it is shown."""
    names = MatchRow.model_fields
    return MatchRow.model_validate(dict(zip(names, fields(side, feature), strict=True)))


def named(row: MatchRow, own: Names, other: Names) -> NamedMatchRow:
    """A row with what the feature and its partner are about."""
    return NamedMatchRow(
        **row.model_dump(),
        explanation=own.get(row.feature),
        partner_explanation=None if row.partner is None else other.get(row.partner),
    )


def rows_of(
    side: StoredSide, features: IntArray, own: Names, other: Names
) -> Iterator[Sequence[object]]:
    """Many features, each as a row of a table (COLUMNS).

    Its parts stand with spaces between them, and explanations so that a spreadsheet runs none.
    """
    partner = list(MatchRow.model_fields).index("partner")
    for feature in features.tolist():
        *values, parts = fields(side, feature)
        assert isinstance(parts, list)
        texts = own.get(feature), other.get(_number(values[partner]))
        yield (*values, " ".join(str(part) for part in parts), *map(harmless, texts))


def _number(partner: object) -> int:
    return partner if isinstance(partner, int) else -1
