"""Exact Pearson correlation of all feature pairs of two models, from sparse activations.

The work is proportional to co-firings, the memory to one block of parent features and one chunk of
tokens. standardise.py has the formula, and why float64 suffices for it.

T: token positions, F: features of the parent, G: of the child, Z: entries of a sparse matrix.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from services.analyzer.codes.codes import Codes
from services.analyzer.codes.standardise import Standardised, chunk_bounds
from shared.arrays import BoolArray, FloatArray, IntArray

ENTRY_BYTES = 12  # of a sparse product: float64 value and int32 column
BLOCK_BYTES = 48 << 20  # of one block's product if it were dense; each thread holds one
LEAST_BLOCKS = 16  # enough for every thread to have work
LONG_BLOCK_BYTES = 192 << 20  # the same where each block standardises every chunk again

Item = TypeVar("Item")
Result = TypeVar("Result")
Firings = tuple[npt.NDArray[np.int32], npt.NDArray[np.floating[Any]]]


@dataclass(frozen=True)
class Pairs:
    """Pairs of features with their correlations, sorted by parent and then by child."""

    parent_Z: IntArray
    child_Z: IntArray
    r_Z: FloatArray

    def from_r(self, least: float) -> Pairs:
        """The pairs with r >= least."""
        high = np.flatnonzero(self.r_Z >= least)
        return Pairs(self.parent_Z[high], self.child_Z[high], self.r_Z[high])


@dataclass(frozen=True)
class Partners:
    """The outcome of a search: what is kept of the F x G correlations.

    best_F, best_r_F: for each parent feature the child feature with the highest positive r (the
    lowest number wins a tie) and that r, -1 and NaN where there is none; best_G, best_r_G: the same
    for each child feature. pairs: all pairs with r >= floor.
    """

    best_F: IntArray
    best_r_F: FloatArray
    best_G: IntArray
    best_r_G: FloatArray
    pairs: Pairs


def search(
    parent: Codes,
    child: Codes,
    floor: float,
    use_F: BoolArray | None = None,
    use_G: BoolArray | None = None,
    chunk: int | None = None,
    rows: int | None = None,
    watch: Callable[[int, int], None] = lambda *_: None,
) -> Partners:
    """Best partners and candidate pairs among the features in use (masks; all by default).

    `floor` must be above 0. `watch(done, total)` is called after every block of parent features.
    Raises ValueError when the two streams differ in length.
    """
    left, right = _sides(parent, child, use_F, use_G, chunk)
    blocks = _blocks(left, right, rows)
    best_G, best_r_G = np.full(child.width, -1), np.zeros(child.width)

    def work(block: tuple[int, int]) -> _BlockResult:
        # Threads may see an older best of the columns: a lower bound, which only keeps more.
        return _reduce(_product(left, right, *block), left, right, block[0], best_r_G, floor)

    results: list[_BlockResult] = []
    with closing(in_order(work, blocks)) as parts:
        for part in parts:
            better = part.column_r > best_r_G[part.column]
            best_G[part.column[better]] = part.column_row[better]
            best_r_G[part.column[better]] = part.column_r[better]
            results.append(part)
            watch(len(results), len(blocks))
    best_F = np.concatenate([part.row_column for part in results])
    best_r_F = np.concatenate([part.row_r for part in results])
    return Partners(
        best_F,
        np.where(best_F >= 0, best_r_F, np.nan),
        best_G,
        np.where(best_G >= 0, best_r_G, np.nan),
        _joined([part.pairs for part in results]),
    )


def pair_correlation(first: Firings, second: Firings, tokens: int) -> float:
    """Pearson's r of two features, given as (ascending positions, values), over `tokens` positions.

    NaN when one of them is constant. Two passes over the union of firings, so that nothing cancels.
    """
    union = np.union1d(first[0], second[0])
    silent = tokens - len(union)
    deviations, means = [], []
    for positions, values in (first, second):
        if len(values) == 0 or (len(values) == tokens and values.min() == values.max()):
            return float("nan")
        dense = np.zeros(len(union))
        dense[np.searchsorted(union, positions)] = values
        means.append(float(dense.sum()) / tokens)
        deviations.append(dense - means[-1])
    cross = float(deviations[0] @ deviations[1]) + silent * means[0] * means[1]
    squares = [float(d @ d) + silent * m * m for d, m in zip(deviations, means, strict=True)]
    return float(np.clip(cross / np.sqrt(squares[0]) / np.sqrt(squares[1]), -1, 1))


# ------------------------------------------------------------------------------- blocks


def _sides(
    parent: Codes,
    child: Codes,
    use_F: BoolArray | None,
    use_G: BoolArray | None,
    chunk: int | None,
) -> tuple[Standardised, Standardised]:
    if parent.tokens != child.tokens:
        raise ValueError(f"{parent.tokens} token positions against {child.tokens}")
    bounds = chunk_bounds(parent, child, chunk)
    return Standardised(parent, bounds, use_F, columns=True), Standardised(child, bounds, use_G)


def _blocks(left: Standardised, right: Standardised, rows: int | None) -> list[tuple[int, int]]:
    """Ranges of parent features; at least one, which may be empty."""
    if rows is None:
        budget = BLOCK_BYTES if left.chunks == 1 else LONG_BLOCK_BYTES
        rows = budget // (ENTRY_BYTES * max(1, right.width))
        rows = max(1, min(rows, -(-left.width // LEAST_BLOCKS)))
    return [(start, min(start + rows, left.width)) for start in range(0, max(1, left.width), rows)]


def _product(left: Standardised, right: Standardised, start: int, stop: int) -> csr_matrix:
    """Sums over co-firings [stop - start, G]."""
    total = left.features(0, start, stop) @ right.tokens(0)
    for chunk in range(1, left.chunks):
        total = total + left.features(chunk, start, stop) @ right.tokens(chunk)
    return total


@dataclass(frozen=True)
class _BlockResult:
    """The best column of each row of a block, the best row of some columns, candidate pairs."""

    row_column: IntArray
    row_r: FloatArray
    column: IntArray
    column_row: IntArray
    column_r: FloatArray
    pairs: Pairs


def _reduce(
    product: csr_matrix,
    left: Standardised,
    right: Standardised,
    start: int,
    best_r_G: FloatArray,
    floor: float,
) -> _BlockResult:
    """Keep the entries of a block that are a row's best, may be a column's best, or are candidates.

    Pairs that never fire together have r <= 0 and are none of these.
    """
    counts = np.diff(product.indptr)
    r_Z = right.offset_F[product.indices]
    r_Z *= np.repeat(left.offset_F[start : start + len(counts)], counts)
    np.subtract(product.data, r_Z, out=r_Z)
    np.minimum(r_Z, 1, out=r_Z)
    top = np.zeros(len(counts))
    filled = np.flatnonzero(counts)
    if len(filled):
        top[filled] = np.maximum.reduceat(r_Z, product.indptr[:-1][filled])
    positive = np.nextafter(0, 1)
    row_bound = np.clip(top, positive, floor)
    column_bound_G = np.clip(best_r_G, positive, floor)
    bound_Z = np.minimum(np.repeat(row_bound, counts), column_bound_G[product.indices])
    high = np.flatnonzero(r_Z >= bound_Z)
    rows = np.searchsorted(product.indptr, high, side="right") - 1
    columns, r = product.indices[high].astype(np.int64), r_Z[high]
    order = np.lexsort((columns, rows))
    rows, columns, r = rows[order], columns[order], r[order]
    row_column = np.full(len(counts), -1)
    best = np.flatnonzero(r == top[rows])[::-1]  # reversed: the lowest column is set last
    row_column[rows[best]] = columns[best]
    pair = r >= floor
    return _BlockResult(
        row_column,
        top,
        *_column_best(rows + start, columns, r),
        Pairs(rows[pair] + start, columns[pair], r[pair]),
    )


def _column_best(
    rows: IntArray, columns: IntArray, r: FloatArray
) -> tuple[IntArray, IntArray, FloatArray]:
    """For every column that occurs: its number, the lowest row with its highest r, and that r."""
    order = np.lexsort((rows, -r, columns))
    first = order[np.flatnonzero(np.diff(columns[order], prepend=-1))]
    return columns[first], rows[first], r[first]


def _joined(parts: list[Pairs]) -> Pairs:
    return Pairs(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Pairs))
    )


# ------------------------------------------------------------------------------ threads


def _threads() -> int:
    """LINEAMENT_THREADS, or the processors this process may run on (as in shared.lm.device)."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return int(os.environ.get("LINEAMENT_THREADS") or available or 1)


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item]
) -> Generator[Result, None, None]:
    """Results in the order of the items, computed by threads (scipy's product releases the GIL).

    Few are under way at a time, so that neither memory nor the wait after an error grows.
    """
    threads = _threads()
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
