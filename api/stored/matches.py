"""The two sides of an edge at any threshold, from what its match stage stored.

At the planned threshold the stage's own columns are shown; at another they are made again from the
stored candidates by the same assignment and the same rules, so the answer is what the stage would
have found.
F: features of one side, E: candidate pairs, P: parts of all features of a side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from api.http.problems import SpecProblem
from api.stored.files import StageFiles
from shared.arrays import BoolArray, FloatArray, IntArray
from shared.lineage.assignment import matches_at, mutual_at
from shared.lineage.counts import SideCounts, edge_counts
from shared.lineage.statuses import STATUSES, Fates, statuses
from shared.records.artifacts import Artifacts, Manifest
from shared.records.releases import read_values
from shared.stages.analyzer import MatchParameters
from shared.store import NotFoundError, Store

KEPT = 16  # edges in memory; one of 2 x 16 384 features takes 3 MB

SideName = Literal["parent", "child"]


@dataclass(frozen=True)
class Side:
    """One model's features on an edge; arrays have one entry per feature.

    best: the other model's feature with the highest r, best_r its r, mutual whether each is the
    other's best at the threshold, cosine that of the two decoder directions; partner, r: the
    one-to-one match; -1 and NaN where there is none. q: false discovery rate at which its best r is
    told from chance. multiple_r: correlation with its parts; those of feature f are
    parts_P[starts_F[f] : starts_F[f + 1]]. status: a number of STATUSES.
    """

    name: SideName
    firings_F: IntArray
    best_F: IntArray
    best_r_F: FloatArray
    mutual_F: BoolArray
    cosine_F: FloatArray
    q_F: FloatArray
    partner_F: IntArray
    r_F: FloatArray
    multiple_r_F: FloatArray
    starts_F: IntArray
    parts_P: IntArray
    status_F: npt.NDArray[np.int8]

    def living(self) -> BoolArray:
        """Which features [F] fire often enough, whatever became of them."""
        return np.asarray(self.status_F != STATUSES.index("rare"))

    def parts(self, feature: int) -> IntArray:
        """Features of the other model that a feature is the sum of."""
        return self.parts_P[self.starts_F[feature] : self.starts_F[feature + 1]]

    def counts(self, threshold: float) -> SideCounts:
        """What an edge counts on this side."""
        status_F = np.array(STATUSES)[self.status_F]
        return SideCounts.of(status_F, self.best_r_F, self.mutual_F, threshold)

    def fates(self) -> Fates:
        """What its statuses follow from."""
        return Fates(self.living(), self.partner_F, self.multiple_r_F, self.starts_F, self.parts_P)


@dataclass(frozen=True)
class Edge:
    """Both sides of an edge at a threshold."""

    threshold: float
    parent: Side
    child: Side

    def side(self, name: SideName) -> Side:
        """One of the two sides."""
        return self.parent if name == "parent" else self.child

    def counts(self) -> dict[str, int | float | None]:
        """The same counts and shares as in the results of a match stage."""
        return edge_counts(self.parent.counts(self.threshold), self.child.counts(self.threshold))


def stored_floor(parameters: Mapping[str, Any]) -> float:
    """The lowest r of which all pairs are stored."""
    planned = read_values(MatchParameters, parameters, "the match of these models")
    return min(planned.floor, planned.threshold)


def check_threshold(threshold: float, parameters: Mapping[str, Any]) -> None:
    """A 422 problem below the floor: pairs under it were not stored."""
    floor = stored_floor(parameters)
    if threshold < floor:
        sentence = f"is below the stored floor: no pairs with r under {floor:g} were kept"
        raise SpecProblem(
            detail=f"threshold: {sentence}",
            errors=[{"field": "threshold", "message": sentence}],
        )


class Edges:
    """Edges by the key of their match stage and a threshold; the latest ones stay in memory."""

    def __init__(self, store: Store) -> None:
        self._artifacts = Artifacts(store)
        self._files = StageFiles(store)
        self.at = lru_cache(KEPT)(self._at)

    def _at(self, key: str, threshold: float) -> Edge:
        """The edge of a finished match stage; NotFoundError when it is not finished."""
        manifest = self._artifacts.manifest(key)
        if manifest is None:
            raise NotFoundError(key)
        stored = self._stored(manifest)
        if threshold == manifest.parameters["threshold"]:
            return stored
        return self._moved(manifest, stored, threshold)

    def _stored(self, manifest: Manifest) -> Edge:
        return Edge(
            manifest.parameters["threshold"],
            _side("parent", self._files.table(manifest, "parent.parquet")),
            _side("child", self._files.table(manifest, "child.parquet")),
        )

    def _moved(self, manifest: Manifest, stored: Edge, threshold: float) -> Edge:
        check_threshold(threshold, manifest.parameters)
        pairs = self._files.arrays(manifest, "candidates.npz")
        parent_E, child_E, r_E = pairs["parent"], pairs["child"], pairs["r"]
        chosen = matches_at(threshold, parent_E, child_E, r_E)
        parent_E, child_E, r_E = parent_E[chosen], child_E[chosen], r_E[chosen]
        parent = _rematched(stored.parent, stored.child, threshold, parent_E, child_E, r_E)
        child = _rematched(stored.child, stored.parent, threshold, child_E, parent_E, r_E)
        of_parent, of_child = statuses(threshold, parent.fates(), child.fates())
        return Edge(
            threshold,
            replace(parent, status_F=_numbers(of_parent)),
            replace(child, status_F=_numbers(of_child)),
        )


def _numbers(status_F: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    """Names of statuses as their numbers in STATUSES."""
    numbers_F = np.full(len(status_F), -1, np.int8)
    for number, name in enumerate(STATUSES):
        numbers_F[status_F == name] = number
    return numbers_F


def _side(name: SideName, table: pa.Table) -> Side:
    def column(of: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        return np.asarray(table[of].to_numpy()).astype(dtype)  # null correlations become NaN

    parts = table["parts"].combine_chunks()
    counts_F = pc.fill_null(pc.list_value_length(parts), 0).to_numpy()
    return Side(
        name,
        firings_F=column("firings", np.int64),
        best_F=column("best", np.int64),
        best_r_F=column("best_r", np.float64),
        mutual_F=column("mutual", np.bool_),
        cosine_F=column("cosine", np.float64),
        q_F=column("q", np.float64),
        partner_F=column("match", np.int64),
        r_F=column("match_r", np.float64),
        multiple_r_F=column("multiple_r", np.float64),
        starts_F=np.concatenate([[0], np.cumsum(counts_F)]).astype(np.int64),
        parts_P=parts.flatten().to_numpy().astype(np.int64),
        status_F=_numbers(table["status"].to_numpy()),
    )


def _rematched(
    side: Side, other: Side, threshold: float, own_E: IntArray, other_E: IntArray, r_E: FloatArray
) -> Side:
    """The side with other one-to-one matches; what is alive stays, statuses are still to come."""
    features = len(side.firings_F)
    partner_F, r_F = np.full(features, -1), np.full(features, np.nan)
    partner_F[own_E], r_F[own_E] = other_E, r_E
    mutual_F = mutual_at(threshold, side.best_F, side.best_r_F, other.best_F)
    return replace(side, partner_F=partner_F, r_F=r_F, mutual_F=mutual_F)
