"""The gate of a set of tokens that is learnt, not given: the tokens that stood before.

F: features of a block, K: folds, J: conditions (here 0: always, 1: the token before is in the set),
P: pairs of a feature and a token of its table, U: pairs of a feature and a token before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.analyzer.explain.rules.evidence import Evidence
from services.analyzer.explain.rules.gates import Meetings
from services.analyzer.explain.rules.primaries import Block, Primary, pair_of
from services.analyzer.explain.rules.value_sets import Pairs, Totals, best_sets, grouped, sums_of
from shared.arrays import FloatArray, IntArray

EXPANDED = 4_000_000  # pairs of tokens that are counted at a time


@dataclass(frozen=True)
class Crossing:
    """Every pair of a feature's table with every pair of its tokens before: places in P and U."""

    at_P: IntArray
    at_U: IntArray

    @classmethod
    def of(cls, feature_P: IntArray, feature_U: IntArray) -> Crossing:
        """The crossings of two lists of features, both ascending."""
        first = np.searchsorted(feature_U, feature_P)
        count = np.searchsorted(feature_U, feature_P, side="right") - first
        at_P = np.repeat(np.arange(len(feature_P)), count)
        begin = np.cumsum(count) - count
        return cls(at_P, np.arange(len(at_P)) - np.repeat(begin - first, count))


def before_sets(evidence: Evidence, block: Block, primary: Primary) -> Pairs:
    """The tokens before that a feature wants where the token is in its table."""
    inside = np.flatnonzero(primary.pair_Z >= 0)
    feature, fold = block.feature_Z[inside], block.fold_Z[inside]
    before, strength = evidence.before_N[block.place_Z[inside]], block.activation_Z[inside]
    found = grouped(feature, before, fold, strength, evidence.folds)
    found = found.some(np.flatnonzero(found.value_P < evidence.vocabulary))
    ones = np.ones((len(primary.pairs.value_P), evidence.folds))
    tokens_UK = _met(evidence, primary.pairs, found, [ones])[0]
    known = Pairs(found.feature_P, found.value_P, found.sum_PK, found.fired_PK, tokens_UK)
    tokens_FK = _by_feature(primary.pairs.feature_P, primary.pairs.tokens_PK, block.features)
    cell, shape = feature * evidence.folds + fold, tokens_FK.shape
    sums = [sums_of(cell, weight, shape) for weight in (strength, strength**2)]
    return best_sets(known, Totals(tokens_FK, sums[0], sums[1]))


def before_meetings(
    evidence: Evidence, block: Block, primary: Primary, sets: Pairs, plain: Meetings
) -> tuple[Meetings, FloatArray]:
    """The sums of a table at "always" and "the token before is in the set" (J is 2).

    `plain` are those of the given conditions. Also returned: the final levels' sums [F, 2].
    """
    features, folds = block.features, evidence.folds
    table = primary.pairs
    level_PK, level_P1 = primary.level_PK, primary.level_P[:, None]
    ones = np.ones_like(level_PK)
    met = _met(evidence, table, sets, [level_PK, level_PK**2, ones, level_P1 * ones], level_PK)
    expected, square, listed, final, total = (
        _by_feature(sets.feature_P, sums_UK, features) for sums_UK in met
    )
    before_Z = evidence.before_N[block.place_Z]
    holds = np.flatnonzero(pair_of(sets, block.feature_Z, before_Z) >= 0)
    inside = holds[primary.pair_Z[holds] >= 0]
    level_Z = primary.level_PK[primary.pair_Z[inside], block.fold_Z[inside]]

    def fired(at: IntArray, weight: FloatArray) -> FloatArray:
        cell = block.feature_Z[at] * folds + block.fold_Z[at]
        return sums_of(cell, weight, (features, folds))

    product = fired(inside, block.activation_Z[inside] * level_Z)
    listed_sum = fired(inside, block.activation_Z[inside])
    all_sum = fired(holds, block.activation_Z[holds])
    all_tokens = _by_feature(sets.feature_P, _tokens(evidence, sets), features)
    held = (expected, square, total - expected, product, listed, listed_sum, all_tokens, all_sum)
    always = (getattr(plain, name)[..., 0] for name in Meetings.__dataclass_fields__)
    both = [np.stack(pair, -1) for pair in zip(always, held, strict=True)]
    final_always = sums_of(table.feature_P, primary.level_P * table.tokens_PK.sum(1), (features,))
    return Meetings(*both), np.stack([final_always, final.sum(1)], -1)


def _tokens(evidence: Evidence, sets: Pairs) -> FloatArray:
    """How many tokens of each fold stand after each token of the sets [U, K]."""
    counts = [rows[:, [0]].toarray()[sets.value_P, 0] for rows in evidence.by_attribute["before"]]
    return np.stack(counts, -1)


def _by_feature(feature_P: IntArray, values_PK: FloatArray, features: int) -> FloatArray:
    """Sums of pairs by feature: [F, K]."""
    columns = [sums_of(feature_P, column, (features,)) for column in values_PK.T]
    return np.stack(columns, -1)


def _met(
    evidence: Evidence,
    table: Pairs,
    before: Pairs,
    weights_PK: list[FloatArray],
    every_PK: FloatArray | None = None,
) -> list[FloatArray]:
    """For each weight, its sum over a feature's table of the tokens of each fold that have each
    token before: [U, K]. Last, with every_PK: its sum over the tokens of all folds.

    O(size of the table x size of the set) look-ups for each feature.
    """
    found = [np.zeros((len(before.feature_P), evidence.folds)) for _ in weights_PK]
    overall = np.zeros((len(before.feature_P), evidence.folds))
    sizes_U = np.bincount(table.feature_P, minlength=int(before.feature_P.max(initial=-1)) + 1)
    ends = np.cumsum(sizes_U[before.feature_P])
    cuts = np.searchsorted(ends, np.arange(EXPANDED, ends[-1] if len(ends) else 0, EXPANDED))
    for part in np.split(np.arange(len(ends)), cuts):
        cross = Crossing.of(before.feature_P[part], table.feature_P)
        at_U, at_P = part[cross.at_P], cross.at_U
        some, count_K = evidence.following.of(table.value_P[at_P], before.value_P[at_U])
        at_U, at_P = at_U[some], at_P[some]
        for fold in range(evidence.folds):
            for sums, weight in zip(found, weights_PK, strict=True):
                add = weight[at_P, fold] * count_K[:, fold]
                sums[:, fold] += sums_of(at_U, add, (len(sums),))
            if every_PK is not None:
                add = every_PK[at_P, fold] * count_K.sum(1)
                overall[:, fold] += sums_of(at_U, add, (len(overall),))
    return found if every_PK is None else [*found, overall]
