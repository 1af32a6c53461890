"""Histograms of the highest correlation that each live feature reaches, over [0, 1].

F: features, S: shifts of the null.
"""

from __future__ import annotations

import numpy as np

from shared.arrays import FloatArray

BINS = 50
Histogram = dict[str, list[float]]  # {edges: [BINS + 1], counts: [BINS]}


def best_r_histogram(best_r_F: FloatArray) -> Histogram:
    """Numbers of features in each bin; a feature without any positive r (NaN) counts as 0."""
    counts, edges = np.histogram(np.nan_to_num(best_r_F), BINS, (0, 1))
    return {"edges": edges.round(6).tolist(), "counts": counts.tolist()}


def best_r_of_null(best_r_SF: FloatArray) -> Histogram | None:
    """The same under the null, as the mean over the shifts; None where there was no shift."""
    if best_r_SF.size == 0:
        return None
    values = np.clip(np.nan_to_num(best_r_SF, nan=0.0), 0.0, 1.0)
    counts, edges = np.histogram(values, bins=BINS, range=(0.0, 1.0))
    return {"edges": edges.round(6).tolist(), "counts": (counts / len(best_r_SF)).tolist()}
