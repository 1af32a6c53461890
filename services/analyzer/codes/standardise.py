"""Codes, standardised so that the product of two of them is a correlation.

With a = v / (sd sqrt T) and offset o = mean / sd, both per feature,

    r_ij = sum_t a_ti b_tj - o_i o_j,

and only tokens on which both features fire add to the sum. In float64 this loses at most one digit:
a feature that is silent on a tenth of the tokens has mean^2 <= 9 variance, and those that are
silent on fewer are centred first (which leaves a mean of almost 0).

T: token positions, F: features.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_matrix

from services.analyzer.codes.codes import Codes, FeatureMajor
from shared.arrays import BoolArray, FloatArray, IntArray

# Entries of one model that are standardised (to 12 bytes each) at a time. Codes with fewer are
# standardised once, longer ones again for every block of parent features.
CHUNK_ENTRIES = 16_000_000
CENTRED_DENSITY = 0.9  # above it the mean of a feature outweighs its variation


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of every feature over all T positions, zeros included.

    The mean is mean_F + rest_F, rest_F being what rounding left out. `sd_F` is 0 exactly where the
    feature is constant, so that its correlations are undefined.
    """

    mean_F: FloatArray
    rest_F: FloatArray
    sd_F: FloatArray


def chunk_bounds(parent: Codes, child: Codes, chunk: int | None) -> IntArray:
    """The borders [chunks + 1] of chunks of `chunk` tokens; at least one chunk.

    Without `chunk`, neither model has more than about CHUNK_ENTRIES entries in one.
    """
    if chunk is None:
        most = max(parent.entries, child.entries, 1)
        chunk = max(1, parent.tokens * CHUNK_ENTRIES // most)
    inner = np.arange(0, max(1, parent.tokens), chunk)
    return np.append(inner, parent.tokens).astype(np.int64)


def moments(codes: Codes, bounds: IntArray) -> Moments:
    """The moments of all features in float64, computed chunk by chunk."""
    total_F, square_F = np.zeros(codes.width), np.zeros(codes.width)
    for start, stop in pairwise(codes.starts_T[bounds]):
        features = codes.features_Z[start:stop]
        values = codes.values_Z[start:stop].astype(np.float64)
        total_F += np.bincount(features, values, codes.width)
        square_F += np.bincount(features, values**2, codes.width)
    mean_F = total_F / max(1, codes.tokens)
    variance_F = square_F / max(1, codes.tokens) - mean_F**2
    rest_F = np.zeros(codes.width)
    dense = np.flatnonzero(codes.firings > CENTRED_DENSITY * codes.tokens)
    columns = codes.only(dense).by_feature()
    for feature in dense.tolist():
        mean_F[feature], rest_F[feature], variance_F[feature] = _two_pass(columns, feature)
    return Moments(mean_F, rest_F, np.sqrt(np.maximum(variance_F, 0)))


def _two_pass(columns: FeatureMajor, feature: int) -> tuple[float, float, float]:
    """Mean, what rounding left out of it, and variance of a feature that is hardly ever silent."""
    positions, values = columns.of(feature)
    dense_T = np.zeros(columns.tokens)
    dense_T[positions] = values
    mean = float(dense_T.mean())
    if dense_T.min() == dense_T.max():  # a rounded mean would give it a variance of 1e-33
        return mean, 0.0, 0.0
    deviation_T = dense_T - mean
    rest = float(deviation_T.mean())
    return mean, rest, float(np.square(deviation_T).mean()) - rest**2


class Standardised:
    """One model's codes, standardised: entries v / (sd sqrt T), very dense features centred.

    Features that are constant or not in use (mask `use_F`, all by default) have scale 0 and so a
    correlation of 0 with everything, which callers must tell from a real one. Set `columns` where
    `features` will be read rather than `tokens`.
    """

    def __init__(
        self, codes: Codes, bounds: IntArray, use_F: BoolArray | None = None, columns: bool = False
    ) -> None:
        self._codes, self._bounds = codes, bounds
        self.chunks, self.width = len(bounds) - 1, codes.width
        raw = moments(codes, bounds)
        usable = raw.sd_F > 0 if use_F is None else use_F & (raw.sd_F > 0)
        sd_F = np.where(usable, raw.sd_F, 1)
        self.scale_F = np.where(usable, 1 / (sd_F * np.sqrt(max(1, codes.tokens))), 0.0)
        self._centre_F = np.where(codes.firings > CENTRED_DENSITY * codes.tokens, raw.mean_F, 0.0)
        remaining_F = raw.mean_F - self._centre_F + raw.rest_F
        self.offset_F = np.where(usable, remaining_F / sd_F, 0.0)
        self._rows: csr_matrix | None = None
        self._columns: csr_matrix | None = None
        if self.chunks == 1 and columns:
            self._columns = self._cut(0, 0, self.width).tocsc().T
        elif self.chunks == 1:
            self._rows = self._cut(0, 0, self.width)

    def tokens(self, chunk: int) -> csr_matrix:
        """The chunk as [tokens, features]."""
        return self._cut(chunk, 0, self.width) if self._rows is None else self._rows

    def features(self, chunk: int, start: int, stop: int) -> csr_matrix:
        """Features start to stop of the chunk as [features, tokens]."""
        if self._columns is None:
            return self._cut(chunk, start, stop).tocsc().T
        return self._columns[start:stop]

    def _cut(self, chunk: int, start: int, stop: int) -> csr_matrix:
        first, last = int(self._bounds[chunk]), int(self._bounds[chunk + 1])
        part = self._codes.matrix(first, last)
        if (start, stop) != (0, self.width):
            part = part[:, start:stop]
        part = csr_matrix((part.data.astype(np.float64), part.indices, part.indptr), part.shape)
        centre = self._centre_F[start:stop]
        dense = np.flatnonzero(centre)
        if len(dense):  # before scaling: afterwards the difference would have lost digits
            starts = np.arange(last - first + 1) * len(dense)
            indices = np.tile(dense, last - first)
            part = part - csr_matrix((centre[indices], indices, starts), part.shape)
        part.data *= self.scale_F[start:stop][part.indices]
        return part
