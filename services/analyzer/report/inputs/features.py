"""Reads what the contexts stage knows of the few features that a page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

CONTEXTS_SHOWN = 3  # top contexts of a labelled feature; more would not fit beside the table
TOKENS_SHOWN = 5  # tokens whose logits a feature raises, and lowers, the most
Place = tuple[str, str, int]  # tracking, model, feature
Row = Mapping[str, Any]


def shown_features(figures: Row, number: int) -> list[int]:
    """Features of one model (by number) that labels and the two examples name, ascending."""
    shown = {row["feature"] for row in figures["labels"] if row["model"] == number}
    universal, failing = figures["universal_example"], figures["failing_example"]
    if universal:
        shown.add(universal["features"][number])
    if failing:
        sides = (("parent", "feature"), ("child", "closest"))
        shown |= {failing[which] for side, which in sides if failing[side] == number}
    return sorted(shown)


def contexts_of(directory: Path, features: Sequence[int]) -> dict[int, list[Row]]:
    """The strongest contexts of some features, by feature."""
    if not features:
        return {}
    wanted = (
        (pc.field("kind") == "top")
        & (pc.field("rank") < CONTEXTS_SHOWN)
        & pc.field("feature").isin(list(features))
    )
    rows = pq.read_table(directory / "contexts.parquet", filters=wanted).to_pylist()
    contexts: dict[int, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row["feature"], row["rank"])):
        contexts.setdefault(row["feature"], []).append(row)
    return contexts


def effects_of(directory: Path, features: Sequence[int]) -> Mapping[int, Row]:
    """Density, where features fire, and the tokens that they raise and lower, by feature.

    Each value has density, max, positions, histogram, corpora (share of the firings in each corpus,
    by its number), raised and lowered ([{token, effect}]).
    """
    if not features:
        return {}
    wanted = pc.field("feature").isin(list(features))
    described = pq.read_table(directory / "features.parquet", filters=wanted).to_pylist()
    effects: dict[int, dict[str, Any]] = {}
    for row in described:
        effects[row["feature"]] = {
            **{name: row[name] for name in ("density", "max", "positions", "histogram")},
            "corpora": {
                int(name.removeprefix("corpus_")): share
                for name, share in row.items()
                if name.startswith("corpus_")
            },
            "raised": [],
            "lowered": [],
        }
    few = wanted & (pc.field("rank") < TOKENS_SHOWN)
    rows = pq.read_table(directory / "logits.parquet", filters=few).to_pylist()
    for row in sorted(rows, key=lambda row: (row["feature"], row["kind"], row["rank"])):
        token = {"token": row["token"], "effect": row["effect"]}
        effects[row["feature"]][row["kind"]].append(token)
    return effects
