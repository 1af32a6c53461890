"""What the match stage writes: tables, arrays of its controls, and rows of its results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from services.analyzer.match.cosine import Cosines
from services.analyzer.match.edge import EdgeMatches, Extras, table
from services.analyzer.match.null import Null
from services.analyzer.match.shares import THRESHOLDS, curve
from services.analyzer.match.significance import p_values, q_values
from shared.lineage.shares import RULES, suffix


def extras_of(
    edge: EdgeMatches, null: Null | None, cosines: Cosines | None
) -> tuple[Extras, Extras]:
    """The columns of the parent's and the child's table that an edge alone does not give."""
    sides = edge.parent, edge.child
    unknown = tuple(np.full(len(side.firings_F), np.nan) for side in sides)
    cosine = cosines.of_best(edge.parent.best_F, edge.child.best_F) if cosines else unknown
    p = unknown
    if null:
        p = tuple(
            p_values(side.best_r_F, null.best_r(letter), side.firings_F, side.alive_F)
            for side, letter in zip(sides, "FG", strict=True)
        )
    parent, child = (Extras(cosine[number], p[number], q_values(p[number])) for number in range(2))
    return parent, child


def curve_rows(edge: EdgeMatches, null: Null | None) -> list[dict[str, float | None]]:
    """Shares by each rule at THRESHOLDS, with those of the null."""
    columns = curve(edge.pairs, int(edge.parent.alive_F.sum()))
    chance = null.curve() if null else {}
    rows: list[dict[str, float | None]] = []
    for number, threshold in enumerate(THRESHOLDS):
        row: dict[str, float | None] = {"threshold": threshold}
        for name in RULES:
            row[name] = _number(columns[name][number])
        for name in RULES:
            value = chance[name][number] if name in chance else np.nan
            row[f"null{suffix(name)}"] = _number(value)
        rows.append(row)
    return rows


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def cosine_results(edge: EdgeMatches, cosines: Cosines) -> dict[str, float | None]:
    """Mean cosine of matches; share of live parent features whose match is closest both ways."""
    matched = np.flatnonzero(edge.parent.partner_F >= 0)
    partner = edge.parent.partner_F[matched]
    alive = int(edge.parent.alive_F.sum())
    closest_F = cosines.mutually_highest(edge.parent.alive_F, edge.child.alive_F)
    agree = int((closest_F[matched] == partner).sum())
    return {
        "mean": float(cosines.of(matched, partner).mean()) if len(matched) else None,
        "mutual": agree / alive if alive else None,
    }


def null_arrays(edge: EdgeMatches, null: Null | None) -> dict[str, npt.NDArray[Any]]:
    """Best r and firings of the parent's live features under every shift [shifts, live]."""
    live = np.flatnonzero(edge.parent.alive_F)
    if null is None:
        return {
            "best_r_parent": np.empty((0, len(live))),
            "firings_parent": np.empty((0, len(live)), np.int64),
        }
    best_r_SF = null.best_r("F")[:, live]
    firings_SF = np.broadcast_to(edge.parent.firings_F[live], best_r_SF.shape)
    return {"best_r_parent": best_r_SF, "firings_parent": firings_SF.astype(np.int64)}


def write_edge(
    directory: Path,
    edge: EdgeMatches,
    threshold: float,
    floor: float,
    extras: tuple[Extras, Extras],
) -> None:
    """Write parent.parquet, child.parquet and candidates.npz."""
    statuses = edge.statuses(threshold)
    for number, (name, side) in enumerate((("parent", edge.parent), ("child", edge.child))):
        pq.write_table(table(side, statuses[number], extras[number]), directory / f"{name}.parquet")
    stored = edge.pairs.from_r(min(floor, threshold))
    np.savez(
        directory / "candidates.npz",
        allow_pickle=False,
        parent=stored.parent_Z.astype(np.int32),
        child=stored.child_Z.astype(np.int32),
        r=stored.r_Z,
    )
