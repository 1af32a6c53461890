"""Sets of tokens: which values of an attribute a feature fires on, chosen by cross-validation.

Values are taken in the order of the variance that they explain, n (m - mean)^2 with n tokens and
mean activation m; how many are taken is decided by the correlation on folds that took no part.

F: features of a block, K: folds, P: pairs of a feature and a value, M: sizes of a set, Z: firings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.analyzer.explain.rules.evidence import SHRINK
from shared.arrays import FloatArray, IntArray

# What a set must add to the cross-validated correlation for being twice as long.
DOUBLE_GAIN = 0.005
SIZES = np.array([*range(1, 17), 20, 24, 32, 40, 48, 64, 96, 128, 192, 256])  # of a set
SEEN = 2  # firings that a token needs to be listed: one alone may be chance
LIVELY = 1e-10  # share of the second moment below which a prediction is constant but for rounding


@dataclass(frozen=True)
class Totals:
    """Of each feature and fold: tokens, the sum and the squared sum of the activations."""

    tokens_FK: FloatArray
    sum_FK: FloatArray
    square_FK: FloatArray


@dataclass(frozen=True)
class Pairs:
    """Pairs of a feature and a value, sorted by both: sums, firings and tokens in each fold."""

    feature_P: IntArray
    value_P: IntArray
    sum_PK: FloatArray
    fired_PK: FloatArray
    tokens_PK: FloatArray

    def some(self, places: IntArray) -> Pairs:
        """The pairs at these places, which ascend."""
        return Pairs(*(getattr(self, name)[places] for name in self.__dataclass_fields__))


def grouped(
    feature_Z: IntArray, value_Z: IntArray, fold_Z: IntArray, activation_Z: FloatArray, folds: int
) -> Pairs:
    """Pairs with SEEN firings or more; tokens_PK is 0, for the caller to fill in."""
    span = int(value_Z.max(initial=-1)) + 1
    keys, pair_Z = np.unique(feature_Z * span + value_Z, return_inverse=True)
    fired_P = sums_of(pair_Z, np.ones(len(pair_Z)), (len(keys),))
    listed = np.flatnonzero(fired_P >= SEEN)
    here = np.flatnonzero(fired_P[pair_Z] >= SEEN)
    cell, shape = np.searchsorted(listed, pair_Z[here]) * folds + fold_Z[here], (len(listed), folds)
    return Pairs(
        keys[listed] // max(1, span),
        keys[listed] % max(1, span),
        sums_of(cell, activation_Z[here], shape),
        sums_of(cell, np.ones(len(here)), shape),
        np.zeros(shape),
    )


def correlation(true: Totals, p: FloatArray, pp: FloatArray, py: FloatArray) -> FloatArray:
    """Pearson [F, any] from sums over all folds of p, p^2 and p y; 0 where either is constant."""
    tokens_F1 = np.maximum(true.tokens_FK.sum(1), 1)[:, None]
    y_F1, yy_F1 = true.sum_FK.sum(1)[:, None], true.square_FK.sum(1)[:, None]
    var_y, var_p = yy_F1 - y_F1**2 / tokens_F1, pp - p**2 / tokens_F1
    lively = (var_y > LIVELY * yy_F1) & (var_p > LIVELY * pp)
    scale = np.sqrt(np.where(lively, var_y * var_p, 1.0))
    return np.asarray(np.where(lively, (py - p * y_F1 / tokens_F1) / scale, 0.0), np.float64)


def sums_of(cell: IntArray, weight: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Sums of the weights of each cell, as an array of that `shape`."""
    size = int(np.prod(shape))
    return np.bincount(cell, weight, size).astype(np.float64).reshape(shape)


def without(values_K: FloatArray, fold: int) -> FloatArray:
    """Sums over all folds but one ([..., K] to [...])."""
    return np.asarray(values_K.sum(-1) - values_K[..., fold])


def shrunk(total: FloatArray, tokens: FloatArray, mean: FloatArray) -> FloatArray:
    """Mean activation with SHRINK tokens of the mean of all added, in the shape of `total`."""
    return (total + SHRINK * mean) / (tokens + SHRINK)


def levels_left_out(pairs: Pairs, totals: Totals) -> FloatArray:
    """The level [P, K] of each pair as the other folds tell it."""
    folds = range(pairs.sum_PK.shape[1])
    return np.stack([_levels(pairs, totals, fold) for fold in folds], -1)


def mean_without(totals: Totals, fold: int) -> FloatArray:
    """Mean activation [F] over all folds but one."""
    tokens_F = np.maximum(1, without(totals.tokens_FK, fold))
    return np.asarray(without(totals.sum_FK, fold) / tokens_F)


def _levels(pairs: Pairs, totals: Totals, fold: int) -> FloatArray:
    mean_P = mean_without(totals, fold)[pairs.feature_P]
    return shrunk(without(pairs.sum_PK, fold), without(pairs.tokens_PK, fold), mean_P)


def final_levels(pairs: Pairs, totals: Totals) -> FloatArray:
    """The level [P] of each pair as all folds tell it."""
    mean_F = totals.sum_FK.sum(1) / np.maximum(1, totals.tokens_FK.sum(1))
    return shrunk(pairs.sum_PK.sum(1), pairs.tokens_PK.sum(1), mean_F[pairs.feature_P])


# --------------------------------------------------------------------------- choice of a set


def best_sets(pairs: Pairs, totals: Totals) -> Pairs:
    """The pairs that belong to their feature's set, which is as long as pays (see DOUBLE_GAIN).

    O(P log P + F M) for each fold.
    """
    features = len(totals.sum_FK)
    sums = np.zeros((3, features, len(SIZES)))  # of p, p^2 and p y
    for fold in range(totals.sum_FK.shape[1]):
        sums += _held_out_sums(pairs, totals, fold)
    r_FM = correlation(totals, sums[0], sums[1], sums[2])
    size_F = SIZES[np.argmax(r_FM - DOUBLE_GAIN * np.log2(SIZES), axis=1)]
    order = _ranked(pairs.feature_P, final_levels(pairs, totals), pairs, totals, None)
    rank = _rank(pairs.feature_P[order])
    return pairs.some(np.sort(order[rank < size_F[pairs.feature_P[order]]]))


def _ranked(
    feature_P: IntArray, level_P: FloatArray, pairs: Pairs, totals: Totals, fold: int | None
) -> IntArray:
    """Places of the pairs above their feature's mean, features ascending, best first."""

    def known(values_K: FloatArray) -> FloatArray:
        return values_K.sum(-1) if fold is None else without(values_K, fold)

    mean_P = (known(totals.sum_FK) / np.maximum(1, known(totals.tokens_FK)))[feature_P]
    gain_P = known(pairs.tokens_PK) * np.square(level_P - mean_P)
    able = np.flatnonzero((level_P > mean_P) & (known(pairs.fired_PK) >= SEEN))
    # Equal gains: the smaller value first, as a stable sort leaves them.
    return able[np.lexsort((-gain_P[able], feature_P[able]))]


def _rank(feature: IntArray) -> IntArray:
    """Turn of each entry within its feature, from 0; features ascend."""
    return np.arange(len(feature)) - np.searchsorted(feature, feature)


def _held_out_sums(pairs: Pairs, totals: Totals, fold: int) -> FloatArray:
    """Sums over one fold of p, p^2 and p y [3, F, M], p being what the other folds predict."""
    features = len(totals.sum_FK)
    level_P = _levels(pairs, totals, fold)
    order = _ranked(pairs.feature_P, level_P, pairs, totals, fold)
    feature, level = pairs.feature_P[order], level_P[order]
    tokens, total = pairs.tokens_PK[order, fold], pairs.sum_PK[order, fold]
    starts_F = np.searchsorted(feature, np.arange(features + 1))
    last_FM = np.minimum(starts_F[:-1, None] + SIZES, starts_F[1:, None])

    def upto(values: FloatArray) -> FloatArray:
        running = np.concatenate([[0.0], np.cumsum(values)])
        found: FloatArray = running[last_FM] - running[starts_F[:-1, None]]
        return found

    train_sum = without(totals.sum_FK, fold)[:, None] - upto(without(pairs.sum_PK, fold)[order])
    train_tokens = without(totals.tokens_FK, fold)[:, None] - upto(
        without(pairs.tokens_PK, fold)[order]
    )
    other_FM = np.maximum(train_sum, 0) / np.maximum(1, train_tokens)
    rest_FM = totals.tokens_FK[:, fold, None] - upto(tokens)
    rest_sum = totals.sum_FK[:, fold, None] - upto(total)
    return np.stack(
        [
            upto(level * tokens) + other_FM * rest_FM,
            upto(level**2 * tokens) + other_FM**2 * rest_FM,
            upto(level * total) + other_FM * rest_sum,
        ]
    )
