"""The features that the figures show: one that every model has, one that fails to carry over.

U: universal features, M: models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shared.arrays import FloatArray, IntArray

UNIVERSAL_LABEL = "assignment"  # the paper's example of a universal feature
FAILING_LABEL = "exception"  # and of one that does not carry over
CONTEXTS_SHOWN = 6
WELL_FIRING = 10  # times min_firings: enough firings to fill a figure
MOST_DENSITY = 0.02  # above it a feature says little about where it fires
DISTINCT_TOKENS = 3  # fires on fewer: the feature is a word, which any model has
LOOKED_AT = 64  # universal features whose contexts are read in search of one

Row = dict[str, Any]


@dataclass(frozen=True)
class EdgeTable:
    """The columns of an edge's parent.parquet, one entry per feature of the parent.

    `disappears` lists the numbers of the features that do. One that splits, or merges with others
    into one of the child, is still there in another shape, and no example of what a child loses.
    """

    parent: int
    child: int
    firings: IntArray
    best: IntArray
    best_r: FloatArray
    match: IntArray
    match_r: FloatArray
    disappears: IntArray

    @classmethod
    def read(cls, parent: int, child: int, directory: Path) -> EdgeTable:
        """Read the artifact of a match stage."""
        names = ("firings", "best", "best_r", "match", "match_r")
        table = pq.read_table(directory / "parent.parquet", columns=[*names, "status"])
        columns = {name: table[name].to_numpy() for name in names}
        disappears = np.flatnonzero(pc.equal(table["status"], "disappear").to_numpy())
        return cls(parent, child, disappears=disappears, **columns)


@dataclass(frozen=True)
class UniversalExample:
    """A row of the universal features, and why it is shown."""

    row: int
    label: str | None
    reason: str


@dataclass(frozen=True)
class FailingExample:
    """A parent's feature without a match, its closest feature in the child, and why it is shown."""

    edge: EdgeTable
    feature: int
    closest: int
    r: float
    label: str | None
    reason: str


def label_rows(contexts: Path) -> list[Row]:
    """Rows of labels.parquet of a contexts artifact, the highest F1 first."""
    rows: list[Row] = pq.read_table(contexts / "labels.parquet").to_pylist()
    return sorted(rows, key=lambda row: (-row["f1"], row["label"], row["feature"]))


def context_rows(contexts: Path, features: Sequence[int]) -> list[Row]:
    """Rows of contexts.parquet for some features, in the file's order: top before samples."""
    chosen = pc.field("feature").isin(list(features))
    rows: list[Row] = pq.read_table(contexts / "contexts.parquet", filters=chosen).to_pylist()
    return rows


def shown_contexts(rows: Sequence[Row]) -> list[Row]:
    """Up to CONTEXTS_SHOWN different windows of one feature, the corpora taking turns."""
    by_corpus: dict[int, list[Row]] = {}
    seen: set[int] = set()
    for row in rows:
        if row["start"] not in seen:
            by_corpus.setdefault(row["corpus"], []).append(row)
            seen.add(row["start"])
    turns = [(turn, corpus) for corpus, own in by_corpus.items() for turn in range(len(own))]
    return [by_corpus[corpus][turn] for turn, corpus in sorted(turns)[:CONTEXTS_SHOWN]]


def universal_example(
    chains_UM: IntArray,
    weakest_r_U: FloatArray,
    firings_U: IntArray,
    contexts: Path,
    tokens: int,
    min_firings: int,
) -> UniversalExample | None:
    """The universal feature to show, from the first model's labels and contexts.

    That is the one that indicates UNIVERSAL_LABEL best. If none does, it is the one with the
    strongest matches among features that fire often, but not everywhere, and on several different
    tokens.
    """
    if len(chains_UM) == 0:
        return None
    row_of = {int(feature): row for row, feature in enumerate(chains_UM[:, 0])}
    labels = label_rows(contexts)
    for label in labels:
        if label["label"] == UNIVERSAL_LABEL and label["feature"] in row_of:
            row = row_of[label["feature"]]
            reason = (
                f"of all universal features it tells {UNIVERSAL_LABEL} best in the first model "
                f"(F1 {label['f1']:.2f}); its weakest match has r = {weakest_r_U[row]:.2f}"
            )
            return UniversalExample(row, UNIVERSAL_LABEL, reason)
    row, quality = _strongest(
        chains_UM[:, 0], weakest_r_U, firings_U, contexts, tokens, min_firings
    )
    best_label = {label["feature"]: label["label"] for label in reversed(labels)}
    reason = (
        f"no universal feature tells {UNIVERSAL_LABEL}; {quality} it has the strongest matches "
        f"(weakest r = {weakest_r_U[row]:.2f})"
    )
    return UniversalExample(row, best_label.get(int(chains_UM[row, 0])), reason)


def _strongest(
    features_U: IntArray,
    weakest_r_U: FloatArray,
    firings_U: IntArray,
    contexts: Path,
    tokens: int,
    min_firings: int,
) -> tuple[int, str]:
    """The row with the highest weakest r among features worth a figure, and which these are."""
    by_r = np.lexsort((features_U, -weakest_r_U))
    decent = (firings_U >= WELL_FIRING * min_firings) & (firings_U <= MOST_DENSITY * tokens)
    candidates = by_r[decent[by_r]]
    looked_at = candidates[:LOOKED_AT]
    peaks: dict[int, set[str]] = {}
    for row in context_rows(contexts, features_U[looked_at].tolist()):
        peak = row["tokens"][row["position"] - row["start"]]
        peaks.setdefault(row["feature"], set()).add(peak.strip().lower())
    for row in looked_at.tolist():
        if len(peaks.get(int(features_U[row]), ())) >= DISTINCT_TOKENS:
            return row, "among those that fire often, but not everywhere, and on different tokens,"
    if len(candidates):
        return int(candidates[0]), "among those that fire often, but not everywhere,"
    return int(by_r[0]), "among all universal features"


def failing_example(
    edges: Sequence[EdgeTable], contexts: Sequence[Path], tokens: int, min_firings: int
) -> FailingExample | None:
    """A feature that disappears on an edge from the first model, with its closest match.

    Features that indicate FAILING_LABEL come first, then those of other labels; among these the
    highest F1, on the edge where the closest match is weakest. Without labels, it is the feature of
    not too high density that fires most often. Features with no positively correlated partner at
    all have no closest match and are not shown.
    """
    first = [edge for edge in edges if edge.parent == 0] or list(edges)
    labelled: list[tuple[bool, float, FailingExample]] = []
    for edge in first:
        for row in label_rows(contexts[edge.parent]):
            if row["feature"] in edge.disappears and edge.best[row["feature"]] >= 0:
                reason = f"it tells {row['label']} in the parent (F1 {row['f1']:.2f})"
                shown = _failing(edge, row["feature"], row["label"], reason)
                labelled.append((row["label"] == FAILING_LABEL, row["f1"], shown))
    if labelled:
        return min(labelled, key=lambda entry: (not entry[0], -entry[1], entry[2].r))[2]
    unlabelled = []
    for edge in first:
        firings = edge.firings[edge.disappears]
        fits = (firings >= WELL_FIRING * min_firings) & (firings <= MOST_DENSITY * tokens)
        for feature in edge.disappears[fits & (edge.best[edge.disappears] >= 0)].tolist():
            count = int(edge.firings[feature])
            reason = f"no label tells more; of the features that disappear it fires most ({count})"
            unlabelled.append((count, _failing(edge, feature, None, reason)))
    return max(unlabelled, key=lambda entry: (entry[0], -entry[1].r))[1] if unlabelled else None


def _failing(edge: EdgeTable, feature: int, label: str | None, reason: str) -> FailingExample:
    closest, r = int(edge.best[feature]), float(edge.best_r[feature])
    return FailingExample(edge, feature, closest, r, label, reason)
