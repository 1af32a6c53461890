"""Bootstrap over documents: the shares of an edge if other documents had been drawn.

A replicate draws as many documents as the stream has, with replacement, and takes all their tokens.
Its correlations follow from sums per document, so each pair of features is multiplied once:

    r = (N S_xy - S_x S_y) / sqrt((N S_xx - S_x^2) (N S_yy - S_y^2)),

all sums weighted by how often a document was drawn. Activations enter standardised over the whole
stream (very dense features centred), which changes no r and loses no digits. Documents, not tokens,
are drawn because tokens of one text are not independent observations.

T: token positions, D: documents, B: replicates, E: pairs, F: features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from services.analyzer.codes.codes import Codes
from services.analyzer.codes.correlate import Pairs, in_order
from services.analyzer.codes.products import BLOCK_ENTRIES, blocks_of, entries_of
from services.analyzer.codes.standardise import Standardised, chunk_bounds
from services.analyzer.match.shares import counts_at
from shared.arrays import FloatArray, IntArray
from shared.lineage.shares import RULES

NEAR = 0.3  # pairs this far below the threshold over the whole stream never reach it in a replicate
WEIGHT_BYTES = 64 << 20  # of the weights of a block of replicates
SUM_BYTES = 64 << 20  # of one sum over all features, or over a block of pairs
# A variance below this share of the second moment is rounding: the feature is constant.
CONSTANT = 1e-12


def draw_counts(replicate: int, documents: int, tokens: int) -> npt.NDArray[np.int64]:
    """How often a replicate draws each document [D]; the same in all stages on one stream."""
    rng = np.random.default_rng([replicate, documents, tokens])
    return np.bincount(rng.integers(0, documents, documents), minlength=documents)


def bootstrap(
    parent: Codes,
    child: Codes,
    documents_T: npt.NDArray[np.int32],
    pairs: Pairs,
    alive: int,
    threshold: float,
    resamples: int,
    watch: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, FloatArray]:
    """The parent's share by each rule in every replicate: name -> float64 [resamples].

    `pairs` are all pairs of live features with r >= threshold - NEAR over the whole stream, `alive`
    is the number of the parent's live features there; replicates change neither. Without live
    features the shares are NaN. `watch(done, total)` is called from time to time.
    """
    shares: dict[str, list[float]] = {name: [] for name in RULES}
    if alive:
        sums = DocumentSums(parent, child, documents_T, pairs)
        size = sums.replicates_at_a_time()
        for first in range(0, resamples, size):
            last = min(first + size, resamples)

            def part_done(done: int, total: int, start: int = first, stop: int = last) -> None:
                watch(start * total + done * (stop - start), resamples * total)

            for matches in sums.replicates(first, last, threshold, part_done):
                for name, share in counts_at(threshold, matches).shares(alive).items():
                    shares[name].append(float("nan") if share is None else share)
    return {
        name: np.array(values if alive else [np.nan] * resamples, np.float64)
        for name, values in shares.items()
    }


@dataclass(frozen=True)
class _Feature:
    """Weighted sums of one side's features in B replicates: sum of x, and variance times N^2."""

    sum_FB: FloatArray
    spread_FB: FloatArray  # 0 where constant


class DocumentSums:
    """The sums over documents from which the replicates of one edge are computed."""

    def __init__(
        self, parent: Codes, child: Codes, documents_T: npt.NDArray[np.int32], pairs: Pairs
    ) -> None:
        bounds = chunk_bounds(parent, child, None)
        self._sides = tuple(
            Standardised(codes, bounds, np.isin(np.arange(codes.width), used), columns=True)
            for codes, used in ((parent, pairs.parent_Z), (child, pairs.child_Z))
        )
        self._bounds, self._documents_T = bounds, documents_T
        self._sizes_D = np.bincount(documents_T)
        self._pairs = pairs

    def replicates_at_a_time(self) -> int:
        """The number of replicates whose weights and sums fit into WEIGHT_BYTES and SUM_BYTES."""
        widest = max(1, *(side.width for side in self._sides))
        return max(1, min(WEIGHT_BYTES // (8 * len(self._sizes_D)), SUM_BYTES // (8 * widest)))

    def replicates(
        self, first: int, last: int, threshold: float, watch: Callable[[int, int], None]
    ) -> Iterator[Pairs]:
        """For each replicate the pairs with r >= threshold."""
        high: list[tuple[IntArray, IntArray, FloatArray]] = []
        for start, r_EB in self.correlations(first, last, watch):
            pair, replicate = np.nonzero(r_EB >= threshold)  # a comparison with NaN is False
            high.append((replicate, pair + start, r_EB[pair, replicate]))
        if not high:
            high = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
        replicate_H, pair_H, r_H = (np.concatenate(part) for part in zip(*high, strict=True))
        order = np.argsort(replicate_H, kind="stable")
        starts = np.searchsorted(replicate_H[order], np.arange(last - first + 1))
        for number in range(last - first):
            chosen = order[starts[number] : starts[number + 1]]
            pair = pair_H[chosen]
            yield Pairs(self._pairs.parent_Z[pair], self._pairs.child_Z[pair], r_H[chosen])

    def correlations(
        self, first: int, last: int, watch: Callable[[int, int], None] = lambda *_: None
    ) -> Iterator[tuple[int, FloatArray]]:
        """Blocks of pairs: the number of the first, and r [pairs, B] of replicates first .. last.

        NaN where a feature is constant in a replicate.
        """
        documents, tokens = len(self._sizes_D), len(self._documents_T)
        weight_DB = np.stack(
            [draw_counts(number, documents, tokens) for number in range(first, last)], axis=1
        ).astype(np.float64)
        tokens_B = self._sizes_D @ weight_DB
        left, right = (self._feature(side, weight_DB, tokens_B) for side in self._sides)
        rows = max(1, SUM_BYTES // (8 * (last - first)))
        for start in range(0, len(self._pairs.r_Z), rows):
            part = slice(start, start + rows)
            parent_E, child_E = self._pairs.parent_Z[part], self._pairs.child_Z[part]
            r_EB = self._cross(parent_E, child_E, weight_DB)
            r_EB *= tokens_B
            r_EB -= left.sum_FB[parent_E] * right.sum_FB[child_E]
            with np.errstate(invalid="ignore", divide="ignore"):
                r_EB /= np.sqrt(left.spread_FB[parent_E]) * np.sqrt(right.spread_FB[child_E])
            r_EB[(left.spread_FB[parent_E] == 0) | (right.spread_FB[child_E] == 0)] = np.nan
            yield start, np.clip(r_EB, -1, 1, out=r_EB)
            watch(min(start + rows, len(self._pairs.r_Z)), len(self._pairs.r_Z))

    def _feature(self, side: Standardised, weight_DB: FloatArray, tokens_B: FloatArray) -> _Feature:
        sum_FB = np.zeros((side.width, weight_DB.shape[1]))
        square_FB = np.zeros_like(sum_FB)
        for chunk in range(side.chunks):
            x_FT = side.features(chunk, 0, side.width)
            sum_FB += self._by_document(x_FT, chunk) @ weight_DB
            squares = csr_matrix((x_FT.data**2, x_FT.indices, x_FT.indptr), x_FT.shape)
            square_FB += self._by_document(squares, chunk) @ weight_DB
        square_FB *= tokens_B
        spread_FB = square_FB - sum_FB**2
        spread_FB[spread_FB <= CONSTANT * square_FB] = 0
        return _Feature(sum_FB, spread_FB)

    def _cross(self, parent_E: IntArray, child_E: IntArray, weight_DB: FloatArray) -> FloatArray:
        """Weighted sums of products [E, B]."""
        total_EB = np.zeros((len(parent_E), weight_DB.shape[1]))
        left, right = self._sides
        for chunk in range(left.chunks):
            x_FT = left.features(chunk, 0, left.width)
            y_GT = right.features(chunk, 0, right.width)

            def work(
                block: tuple[int, int],
                x_FT: csr_matrix = x_FT,
                y_GT: csr_matrix = y_GT,
                chunk: int = chunk,
            ) -> FloatArray:
                part = slice(*block)
                product = x_FT[parent_E[part]].multiply(y_GT[child_E[part]]).tocsr()
                weighted: FloatArray = self._by_document(product, chunk) @ weight_DB
                return weighted

            blocks = blocks_of(entries_of(x_FT, y_GT, parent_E, child_E), BLOCK_ENTRIES)
            for (start, stop), weighted in zip(blocks, in_order(work, blocks), strict=True):
                total_EB[start:stop] += weighted
        return total_EB

    def _by_document(self, x_FT: csr_matrix, chunk: int) -> csr_matrix:
        """Sums over the tokens of each document [F, D]."""
        begin, end = int(self._bounds[chunk]), int(self._bounds[chunk + 1])
        document_Z = self._documents_T[begin:end][x_FT.indices]
        shape = (x_FT.shape[0], len(self._sizes_D))
        summed = csr_matrix((x_FT.data.copy(), document_Z, x_FT.indptr.copy()), shape)
        summed.sum_duplicates()
        return summed
