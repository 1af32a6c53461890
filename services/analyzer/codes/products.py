"""Sums over the tokens on which the two features of given pairs fire together.

E: pairs, T: token positions of a chunk, F: features of the left side, G: of the right.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from services.analyzer.codes.correlate import in_order
from services.analyzer.codes.standardise import Standardised
from shared.arrays import FloatArray, IntArray

BLOCK_ENTRIES = 2_000_000  # of both sides, that are multiplied at a time (12 bytes each)


def blocks_of(cost_E: IntArray, budget: int) -> list[tuple[int, int]]:
    """Ranges of pairs that cost at most `budget` each, or hold a single pair."""
    total = np.cumsum(cost_E)
    blocks, start = [], 0
    while start < len(cost_E):
        spent = int(total[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(total, spent + budget, side="right")))
        blocks.append((start, stop))
        start = stop
    return blocks


def entries_of(x_FT: csr_matrix, y_GT: csr_matrix, left_E: IntArray, right_E: IntArray) -> IntArray:
    """Number of entries of both features of each pair [E], which is what their product costs."""
    cost: IntArray = np.diff(x_FT.indptr)[left_E].astype(np.int64) + np.diff(y_GT.indptr)[right_E]
    return cost


def correlations(
    left: Standardised, right: Standardised, left_E: IntArray, right_E: IntArray
) -> FloatArray:
    """Pearson's r of the pairs [E]; the work is proportional to their features' firings."""
    total_E = _over_tokens(left, right, left_E, right_E, lambda product: product.sum(axis=1))
    r_E: FloatArray = total_E - left.offset_F[left_E] * right.offset_F[right_E]
    return np.clip(r_E, -1, 1)


def firings_together(
    left: Standardised, right: Standardised, left_E: IntArray, right_E: IntArray
) -> FloatArray:
    """Number of tokens on which both features of each pair fire [E]."""
    return _over_tokens(left, right, left_E, right_E, lambda product: product.getnnz(axis=1))


def _over_tokens(
    left: Standardised,
    right: Standardised,
    left_E: IntArray,
    right_E: IntArray,
    measure: Callable[[csr_matrix], npt.ArrayLike],
) -> FloatArray:
    """The measure of the pairs' products [pairs, T], summed over chunks of tokens: [E]."""
    total_E = np.zeros(len(left_E))
    for chunk in range(left.chunks):
        x_FT = left.features(chunk, 0, left.width)
        y_GT = x_FT if right is left else right.features(chunk, 0, right.width)

        def work(
            block: tuple[int, int], x_FT: csr_matrix = x_FT, y_GT: csr_matrix = y_GT
        ) -> FloatArray:
            part = slice(*block)
            product = x_FT[left_E[part]].multiply(y_GT[right_E[part]])
            return np.asarray(measure(product), np.float64).reshape(-1)

        blocks = blocks_of(entries_of(x_FT, y_GT, left_E, right_E), BLOCK_ENTRIES)
        for (start, stop), measured in zip(blocks, in_order(work, blocks), strict=True):
            total_E[start:stop] += measured
    return total_E
