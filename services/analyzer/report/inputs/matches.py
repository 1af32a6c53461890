"""Reads what a match stage drew at random: bootstrap replicates, and best r under the null."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from shared.arrays import FloatArray

BINS = 50  # of best r, over [0, 1], as in the results of match
RULES = ("share", "share_any", "share_mutual")


def bootstrap(directory: Path) -> dict[str, FloatArray]:
    """Replicates of the share by each rule, float64 [resamples]; empty where none were drawn."""
    path = directory / "bootstrap.npz"
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name].astype(np.float64) for name in RULES if name in stored}


def best_r_of_null(directory: Path) -> dict[str, Any]:
    """Histogram of the best r of the parent's live features, mean over the shifts.

    {edges, counts}; empty where there was no shift. A feature without any candidate counts as 0.
    """
    path = directory / "null.npz"
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as stored:
        best_r_SF = stored["best_r_parent"]
    if best_r_SF.size == 0:
        return {}
    values = np.clip(np.nan_to_num(best_r_SF, nan=0.0), 0.0, 1.0)
    counts, edges = np.histogram(values, bins=BINS, range=(0.0, 1.0))
    return {
        "edges": edges.round(6).tolist(),
        "counts": (counts / max(1, best_r_SF.shape[0])).tolist(),
    }
