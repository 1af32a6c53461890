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
from shared.arrays import FloatArray, IntArray
from shared.lineage.assignment import matched, matches_at, mutual_at
from shared.lineage.counts import edge_counts
from shared.lineage.side import Side
from shared.lineage.statuses import STATUSES, statuses
from shared.records.artifacts import Artifacts, Manifest
from shared.records.releases import read_values
from shared.stages.analyzer import MatchParameters
from shared.store import NotFoundError, Store

KEPT = 16  # edges in memory; one of 2 x 16 384 features takes 3 MB

SideName = Literal["parent", "child"]


@dataclass(frozen=True)
class StoredSide(Side):
    """The same with what else a match stage stored; arrays [F] have one entry per feature.

    cosine: that of the decoder directions of the feature and its best; q: false discovery rate at
    which its best r is told from chance; status: a number of STATUSES.
    """

    cosine_F: FloatArray
    q_F: FloatArray
    status_F: npt.NDArray[np.int8]


@dataclass(frozen=True)
class StoredEdge:
    """Both sides of an edge at a threshold."""

    threshold: float
    parent: StoredSide
    child: StoredSide

    def side(self, name: SideName) -> StoredSide:
        """One of the two sides."""
        return self.parent if name == "parent" else self.child

    def counts(self) -> dict[str, int | float | None]:
        """The same counts and shares as in the results of a match stage."""
        return edge_counts(self.threshold, self.parent, self.child)


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

    def _at(self, key: str, threshold: float) -> StoredEdge:
        """The edge of a finished match stage; NotFoundError when it is not finished."""
        manifest = self._artifacts.manifest(key)
        if manifest is None:
            raise NotFoundError(key)
        stored = self._stored(manifest)
        if threshold == manifest.parameters["threshold"]:
            return stored
        return self._moved(manifest, stored, threshold)

    def _stored(self, manifest: Manifest) -> StoredEdge:
        return StoredEdge(
            manifest.parameters["threshold"],
            _side(self._files.table(manifest, "parent.parquet")),
            _side(self._files.table(manifest, "child.parquet")),
        )

    def _moved(self, manifest: Manifest, stored: StoredEdge, threshold: float) -> StoredEdge:
        check_threshold(threshold, manifest.parameters)
        pairs = self._files.arrays(manifest, "candidates.npz")
        parent_E, child_E, r_E = pairs["parent"], pairs["child"], pairs["r"]
        chosen = matches_at(threshold, parent_E, child_E, r_E)
        parent_E, child_E, r_E = parent_E[chosen], child_E[chosen], r_E[chosen]
        parent = _rematched(stored.parent, stored.child, threshold, parent_E, child_E, r_E)
        child = _rematched(stored.child, stored.parent, threshold, child_E, parent_E, r_E)
        of_parent, of_child = statuses(threshold, parent, child)
        return StoredEdge(
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


def _side(table: pa.Table) -> StoredSide:
    def column(of: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        return np.asarray(table[of].to_numpy()).astype(dtype)  # null correlations become NaN

    parts = table["parts"].combine_chunks()
    counts_F = pc.fill_null(pc.list_value_length(parts), 0).to_numpy()
    status_F = table["status"].to_numpy()
    return StoredSide(
        firings_F=column("firings", np.int64),
        alive_F=np.asarray(status_F != "rare"),
        best_F=column("best", np.int64),
        best_r_F=column("best_r", np.float64),
        mutual_F=column("mutual", np.bool_),
        partner_F=column("match", np.int64),
        r_F=column("match_r", np.float64),
        multiple_r_F=column("multiple_r", np.float64),
        starts_F=np.concatenate([[0], np.cumsum(counts_F)]).astype(np.int64),
        parts_P=parts.flatten().to_numpy().astype(np.int64),
        cosine_F=column("cosine", np.float64),
        q_F=column("q", np.float64),
        status_F=_numbers(status_F),
    )


def _rematched(
    side: StoredSide,
    other: StoredSide,
    threshold: float,
    own_E: IntArray,
    other_E: IntArray,
    r_E: FloatArray,
) -> StoredSide:
    """The side with other one-to-one matches; what is alive stays, statuses are still to come."""
    partner_F, r_F = matched(len(side.firings_F), own_E, other_E, r_E)
    mutual_F = mutual_at(threshold, side.best_F, side.best_r_F, other.best_F)
    return replace(side, partner_F=partner_F, r_F=r_F, mutual_F=mutual_F)
