"""The two sides of an edge at any threshold, from what its match stage stored.

At the planned threshold the stage's own columns are shown; at another they are made again from the
stored candidates by the same assignment, so the answer is what the stage would have found.
F: features of one side, E: candidate pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from api.http.problems import SpecProblem
from api.lineage.stage_files import StageFiles
from shared.artifacts import Artifacts, Manifest
from shared.assignment import matches_at
from shared.parameters import MatchParameters
from shared.store import NotFoundError, Store

KEPT = 16  # edges in memory; one of 2 x 16 384 features takes 1.4 MB

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
SideName = Literal["parent", "child"]
Status = Literal["persist", "disappear", "emerge", "rare"]
UNMATCHED: dict[SideName, Status] = {"parent": "disappear", "child": "emerge"}
STATUS = ("persist", "unmatched", "rare")  # by number in Side.status_F
COUNTS = (
    "alive_parent",
    "alive_child",
    "persist",
    "disappear",
    "emerge",
    "persist_any",
    "persist_any_child",
)


@dataclass(frozen=True)
class Side:
    """One model's features on an edge; arrays have one entry per feature.

    best: the other model's feature with the highest r, best_r its r; partner, r: the one-to-one
    match. -1 and NaN where there is none. status: a number of STATUS.
    """

    name: SideName
    firings_F: IntArray
    best_F: IntArray
    best_r_F: FloatArray
    partner_F: IntArray
    r_F: FloatArray
    status_F: npt.NDArray[np.int8]

    @property
    def alive(self) -> int:
        """Number of features that fire often enough."""
        return int((self.status_F != STATUS.index("rare")).sum())

    @property
    def matched(self) -> int:
        """Number of features with a one-to-one match."""
        return int((self.status_F == STATUS.index("persist")).sum())

    def statuses(self) -> tuple[Status, Status, Status]:
        """The names of the numbers in status_F."""
        return "persist", UNMATCHED[self.name], "rare"


@dataclass(frozen=True)
class Edge:
    """Both sides of an edge at a threshold."""

    threshold: float
    parent: Side
    child: Side

    def counts(self) -> dict[str, Any]:
        """The same counts and shares as in the results of a match stage."""
        alive = self.parent.alive
        persist_any = int((self.parent.best_r_F >= self.threshold).sum())
        return {
            "alive_parent": alive,
            "alive_child": self.child.alive,
            "persist": self.parent.matched,
            "disappear": alive - self.parent.matched,
            "emerge": self.child.alive - self.child.matched,
            "persist_any": persist_any,
            "persist_any_child": int((self.child.best_r_F >= self.threshold).sum()),
            "share": self.parent.matched / alive if alive else None,
            "share_any": persist_any / alive if alive else None,
        }


def stored_floor(parameters: Mapping[str, Any]) -> float:
    """The lowest r of which all pairs are stored."""
    planned = MatchParameters.model_validate(parameters)
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
        return Edge(
            threshold,
            _rematched(stored.parent, parent_E, child_E, r_E),
            _rematched(stored.child, child_E, parent_E, r_E),
        )


def _side(name: SideName, table: pa.Table) -> Side:
    def column(of: str) -> npt.NDArray[Any]:
        return np.asarray(table[of].to_numpy())  # null correlations become NaN

    status = table["status"].to_numpy()
    return Side(
        name,
        column("firings").astype(np.int64),
        column("best").astype(np.int64),
        column("best_r").astype(np.float64),
        column("match").astype(np.int64),
        column("match_r").astype(np.float64),
        np.where(status == "persist", 0, np.where(status == "rare", 2, 1)).astype(np.int8),
    )


def _rematched(side: Side, own_E: IntArray, other_E: IntArray, r_E: FloatArray) -> Side:
    """The side with other one-to-one matches; what is alive stays."""
    partner_F = np.full(len(side.firings_F), -1)
    r_F = np.full(len(side.firings_F), np.nan)
    partner_F[own_E], r_F[own_E] = other_E, r_E
    alive_F = side.status_F != STATUS.index("rare")
    status_F = np.where(partner_F >= 0, 0, np.where(alive_F, 1, 2)).astype(np.int8)
    return Side(side.name, side.firings_F, side.best_F, side.best_r_F, partner_F, r_F, status_F)
