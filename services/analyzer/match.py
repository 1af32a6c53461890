"""Stage `match`: which features of a parent are found again in a child.

F: features of the parent, G: of the child, E: candidate pairs (r >= floor).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from services.analyzer.codes import Codes, FloatArray, IntArray, load_codes
from services.analyzer.correlate import Pairs, search
from shared.assignment import matches_at
from shared.parameters import MatchParameters
from shared.stage import Leave, Stage, StageError

HISTOGRAM_BINS = 50  # of best r, over [0, 1]


@dataclass(frozen=True)
class SideMatches:
    """One model's features on an edge; arrays have one entry per feature.

    best: the partner with the highest positive r among the other model's live features (-1: none,
    or the feature itself is rare), best_r its r (NaN where best is -1); match, match_r: the
    one-to-one partner at r >= threshold (-1, NaN).
    """

    firings: IntArray
    best: IntArray
    best_r: FloatArray
    match: IntArray
    match_r: FloatArray
    min_firings: int

    @property
    def alive(self) -> npt.NDArray[np.bool_]:
        """Features that fire often enough to be told from chance."""
        return self.firings >= self.min_firings

    def status(self, unmatched: str) -> npt.NDArray[np.str_]:
        """persist, `unmatched` (disappear or emerge) or rare (fewer than min_firings firings)."""
        return np.where(self.match >= 0, "persist", np.where(self.alive, unmatched, "rare"))

    def table(self, unmatched: str) -> pa.Table:
        """One row per feature; undefined correlations are null."""
        return pa.table(
            {
                "feature": pa.array(np.arange(len(self.firings)), pa.int32()),
                "firings": pa.array(self.firings, pa.int64()),
                "best": pa.array(self.best, pa.int32()),
                "best_r": pa.array(self.best_r, pa.float64(), from_pandas=True),
                "match": pa.array(self.match, pa.int32()),
                "match_r": pa.array(self.match_r, pa.float64(), from_pandas=True),
                "status": pa.array(self.status(unmatched).tolist(), pa.string()),
            }
        )

    def histogram(self) -> dict[str, list[float]]:
        """Best r of the live features; those without any positive r count as 0."""
        best_r = np.nan_to_num(self.best_r[self.alive])
        counts, edges = np.histogram(best_r, HISTOGRAM_BINS, (0, 1))
        return {"edges": edges.round(6).tolist(), "counts": counts.tolist()}


@dataclass(frozen=True)
class EdgeMatches:
    """An edge: both sides, and all pairs of live features with r >= floor."""

    parent: SideMatches
    child: SideMatches
    pairs: Pairs

    def counts(self, threshold: float) -> dict[str, Any]:
        """The results of the stage; a share of no features is None."""
        alive_parent, alive_child = int(self.parent.alive.sum()), int(self.child.alive.sum())
        persist = int((self.parent.match >= 0).sum())
        persist_any = int((self.parent.best_r >= threshold).sum())
        return {
            "alive_parent": alive_parent,
            "alive_child": alive_child,
            "persist": persist,
            "disappear": int((self.parent.status("disappear") == "disappear").sum()),
            "emerge": int((self.child.status("emerge") == "emerge").sum()),
            "persist_any": persist_any,
            "persist_any_child": int((self.child.best_r >= threshold).sum()),
            "share": persist / alive_parent if alive_parent else None,
            "share_any": persist_any / alive_parent if alive_parent else None,
            "best_r_parent": self.parent.histogram(),
            "best_r_child": self.child.histogram(),
        }


def match_codes(
    parent: Codes,
    child: Codes,
    threshold: float,
    min_firings: int,
    floor: float = 0.2,
    watch: Callable[[int, int], None] = lambda *_: None,
) -> EdgeMatches:
    """Match the live features (at least `min_firings` firings, and one) of two models.

    Raises ValueError when the two streams differ in length.
    """
    needed = max(1, min_firings)
    alive_F, alive_G = parent.firings >= needed, child.firings >= needed
    found = search(parent, child, min(floor, threshold), alive_F, alive_G, watch=watch)
    pairs = found.pairs
    chosen = matches_at(threshold, pairs.parent_Z, pairs.child_Z, pairs.r_Z)
    match_F, match_r_F = np.full(parent.width, -1), np.full(parent.width, np.nan)
    match_G, match_r_G = np.full(child.width, -1), np.full(child.width, np.nan)
    match_F[pairs.parent_Z[chosen]] = pairs.child_Z[chosen]
    match_G[pairs.child_Z[chosen]] = pairs.parent_Z[chosen]
    match_r_F[pairs.parent_Z[chosen]] = match_r_G[pairs.child_Z[chosen]] = pairs.r_Z[chosen]
    return EdgeMatches(
        SideMatches(parent.firings, found.best_F, found.best_r_F, match_F, match_r_F, needed),
        SideMatches(child.firings, found.best_G, found.best_r_G, match_G, match_r_G, needed),
        pairs,
    )


def run(stage: Stage) -> None:
    """Match the features of the inputs `parent` and `child` (see MatchParameters)."""
    parameters = MatchParameters.model_validate(stage.parameters)
    parent, child = load_codes(stage.input("parent")), load_codes(stage.input("child"))
    if parent.tokens != child.tokens:
        raise StageError(
            f"parent and child were encoded on different token streams: {parent.tokens} "
            f"token positions against {child.tokens}"
        )
    if not 0 < parameters.threshold <= 1 or parameters.floor <= 0:
        raise StageError("threshold must lie in (0, 1] and floor above 0")
    if parameters.shift and parameters.shift % max(1, child.tokens) == 0:
        raise StageError(
            f"a shift of {parameters.shift} moves a stream of {child.tokens} tokens onto itself: "
            "it would be no control"
        )

    def watch(done: int, total: int) -> None:
        if stage.stopping:
            raise Leave
        stage.progress(done, total, "blocks")

    edge = match_codes(
        parent,
        child.rolled(parameters.shift) if parameters.shift else child,
        parameters.threshold,
        parameters.min_firings,
        parameters.floor,
        watch,
    )
    stage.results.update(edge.counts(parameters.threshold), tokens=parent.tokens)
    _write(edge, stage.output)


def _write(edge: EdgeMatches, directory: Path) -> None:
    pq.write_table(edge.parent.table("disappear"), directory / "parent.parquet")
    pq.write_table(edge.child.table("emerge"), directory / "child.parquet")
    np.savez(
        directory / "candidates.npz",
        allow_pickle=False,
        parent=edge.pairs.parent_Z.astype(np.int32),
        child=edge.pairs.child_Z.astype(np.int32),
        r=edge.pairs.r_Z,
    )
