"""Chains of matches: one feature of every model of a tracking, matched along every edge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class ChainLink(BaseModel):
    """The feature of one model in a chain, and its correlation with the first model's."""

    model_config = ConfigDict(frozen=True)

    feature: int
    correlation: float | None


class Chain(BaseModel):
    """One feature in every model of the tracking, each edge matching one to the next."""

    model_config = ConfigDict(frozen=True)

    weakest_r: float = Field(description="The lowest correlation over the edges.")
    models: dict[str, ChainLink]


def chain_of(models: Sequence[str], row: Mapping[str, Any]) -> Chain:
    """A row of universal.parquet; `models` are named in the order of their track stage."""
    return Chain(
        weakest_r=row["weakest_r"],
        models={
            name: ChainLink(feature=row[f"feature_{place}"], correlation=_known(row[f"r_{place}"]))
            for place, name in enumerate(models)
        },
    )


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
