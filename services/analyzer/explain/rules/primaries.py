"""Tables of one attribute: of every feature the best set of tokens, of tokens before, of places.

F: features of a block, K: folds, J: conditions, P: pairs of a feature and a value of its table,
Z: firings, R: rows of what a table lists (token ids or conditions).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.sparse import csr_matrix

from services.analyzer.explain.rules.evidence import ALWAYS, Counts, Evidence
from services.analyzer.explain.rules.gates import Meetings, gated_correlations
from services.analyzer.explain.rules.value_sets import (
    Pairs,
    Totals,
    best_sets,
    correlation,
    final_levels,
    grouped,
    levels_left_out,
    mean_without,
    shrunk,
    sums_of,
)
from shared.arrays import FloatArray, IntArray

Kind = Literal["token", "before", "flat"]


@dataclass(frozen=True)
class Block:
    """The firings of some features on the even contexts: feature (from 0), place in N, strength."""

    feature_Z: IntArray
    place_Z: IntArray
    activation_Z: FloatArray
    fold_Z: IntArray
    totals: Totals
    all_tokens: FloatArray
    all_sum: FloatArray

    @property
    def features(self) -> int:
        """F."""
        return len(self.all_sum)


@dataclass(frozen=True)
class Primary:
    """One table for every feature of a block (that of a feature may be empty).

    The values of kind "flat" are conditions. level_PK is what the other folds tell, level_P what
    all do. pair_Z is the pair of each firing, or -1. `counts` are the values' by fold.
    """

    kind: Kind
    pairs: Pairs
    level_PK: FloatArray
    level_P: FloatArray
    pair_Z: IntArray
    counts: list[Counts]


def block_of(
    evidence: Evidence, feature_Z: IntArray, place_Z: IntArray, activation_Z: FloatArray, count: int
) -> Block:
    """A block of `count` features, with its sums."""
    folds = evidence.folds
    fold_Z = evidence.fold_N[place_Z]
    cell_Z = feature_Z * folds + fold_Z
    shape = (count, folds)
    sums = [sums_of(cell_Z, weight, shape) for weight in (activation_Z, activation_Z**2)]
    tokens_FK = np.broadcast_to(evidence.tokens_of_fold, shape)
    totals = Totals(tokens_FK, sums[0], sums[1])
    by_condition = [counts[[ALWAYS]].toarray()[0] for counts in evidence.by_attribute["flat"]]
    all_tokens = np.broadcast_to(np.stack(by_condition), (count, folds, evidence.columns.count))
    all_sum = summed(evidence, cell_Z, place_Z, activation_Z, count)
    return Block(feature_Z, place_Z, activation_Z, fold_Z, totals, all_tokens, all_sum)


def summed(
    evidence: Evidence, cell_Z: IntArray, place_Z: IntArray, weight_Z: FloatArray, count: int
) -> FloatArray:
    """Sums of weights over the tokens of each fold that meet each condition: [F, K, J].

    cell_Z is feature x K + fold. About 8 conditions hold at a token, so it takes 8 Z additions.
    """
    tokens = evidence.holds_NJ.shape[0]
    rows = count * evidence.folds
    spread = csr_matrix((weight_Z, (cell_Z, place_Z)), (rows, tokens))
    found: FloatArray = (spread @ evidence.holds_NJ).toarray()
    return found.reshape(count, evidence.folds, -1)


# --------------------------------------------------------------------------------- the tables


def set_primary(evidence: Evidence, block: Block, kind: Literal["token", "before"]) -> Primary:
    """The best set of tokens, or of tokens before, of every feature."""
    value_N = evidence.token_N if kind == "token" else evidence.before_N
    value_Z = value_N[block.place_Z]
    known = grouped(block.feature_Z, value_Z, block.fold_Z, block.activation_Z, evidence.folds)
    if kind == "before":  # the start of a context is no token
        known = known.some(np.flatnonzero(known.value_P < evidence.vocabulary))
    counts = evidence.by_attribute[kind]
    tokens_PK = np.stack(
        [rows[:, [ALWAYS]].toarray()[known.value_P, 0] for rows in counts], axis=-1
    )
    known = Pairs(known.feature_P, known.value_P, known.sum_PK, known.fired_PK, tokens_PK)
    pairs = best_sets(known, block.totals)
    return _primary(kind, block, pairs, pair_of(pairs, block.feature_Z, value_Z), counts)


def flat_primary(evidence: Evidence, block: Block) -> Primary:
    """The condition, the places in a context or the corpora that tell each feature best.

    A condition is compared as a gate of an empty table: nothing but the two means.
    """
    columns = evidence.columns
    none = np.zeros_like(block.all_sum)
    empty = Meetings(none, none, none, none, none, none, block.all_tokens, block.all_sum)
    r_FJ = gated_correlations(empty, block.totals)
    r_FJ[:, [ALWAYS, *columns.positions, *columns.domains]] = -1
    groups = [columns.positions, *([columns.domains] if columns.corpora > 1 else [])]
    r_FG = [r_FJ.max(1), *(_partition_correlations(block, list(group)) for group in groups)]
    best_F = np.argmax(np.stack(r_FG, -1), 1)
    chosen = np.full((block.features, max(map(len, groups))), -1)
    chosen[:, 0] = np.argmax(r_FJ, 1)
    for number, group in enumerate(groups, 1):
        chosen[best_F == number, : len(group)] = group
    return _flat(evidence, block, chosen)


def _partition_correlations(block: Block, columns: list[int]) -> FloatArray:
    """Cross-validated Pearson [F] of the means of conditions of which one holds at every token."""
    total, tokens = block.all_sum[:, :, columns], block.all_tokens[:, :, columns]
    p, pp, py = (np.zeros((block.features, 1)) for _ in range(3))
    for fold in range(total.shape[1]):
        level = shrunk(
            total.sum(1) - total[:, fold],
            tokens.sum(1) - tokens[:, fold],
            mean_without(block.totals, fold)[:, None],
        )
        p += (level * tokens[:, fold]).sum(1, keepdims=True)
        pp += (level**2 * tokens[:, fold]).sum(1, keepdims=True)
        py += (level * total[:, fold]).sum(1, keepdims=True)
    return correlation(block.totals, p, pp, py)[:, 0]


def _flat(evidence: Evidence, block: Block, column_FX: IntArray) -> Primary:
    """The table of some conditions (-1: none) of each feature, of which at most one holds."""
    feature_P, slot_P = np.nonzero(column_FX >= 0)
    column_P = column_FX[feature_P, slot_P]
    counts = evidence.by_attribute["flat"]
    tokens_PK = np.stack([rows.diagonal()[column_P] for rows in counts], axis=-1)
    pairs = Pairs(
        feature_P,
        column_P,
        block.all_sum[feature_P, :, column_P],
        np.full(tokens_PK.shape, np.inf),
        tokens_PK,
    )
    first_F = np.searchsorted(feature_P, np.arange(block.features))
    column_Z = column_FX[block.feature_Z, 0]
    slot_Z = np.where(evidence.dense[block.place_Z, column_Z], 0, -1)
    partitions = (
        (evidence.columns.positions, evidence.cell_N),
        (evidence.columns.domains, evidence.corpus_N),
    )
    for columns, value_N in partitions:
        several = np.flatnonzero(column_Z == columns.start)
        slot_Z[several] = value_N[block.place_Z[several]]
    pair_Z = np.where(slot_Z >= 0, first_F[block.feature_Z] + slot_Z, -1)
    return _primary("flat", block, pairs, pair_Z, counts)


def _primary(
    kind: Kind, block: Block, pairs: Pairs, pair_Z: IntArray, counts: list[Counts]
) -> Primary:
    return Primary(
        kind,
        pairs,
        levels_left_out(pairs, block.totals),
        final_levels(pairs, block.totals),
        pair_Z,
        counts,
    )


def pair_of(pairs: Pairs, feature_Z: IntArray, value_Z: IntArray) -> IntArray:
    """The place in `pairs` of each feature and value [Z]; -1 where it is none of them."""
    if not len(pairs.feature_P):
        return np.full(len(feature_Z), -1)
    span = int(max(pairs.value_P.max(), value_Z.max(initial=0))) + 1
    keys, wanted = pairs.feature_P * span + pairs.value_P, feature_Z * span + value_Z
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)


# ------------------------------------------------------------------------- with conditions


def meetings(evidence: Evidence, block: Block, primary: Primary) -> Meetings:
    """The sums of a table's tokens at every condition."""
    parts = []
    every = sum(primary.counts[1:], primary.counts[0])
    for fold in range(evidence.folds):
        level_P, here = primary.level_PK[:, fold], primary.counts[fold]
        expected = weighted(primary, block.features, level_P, here)
        total = weighted(primary, block.features, level_P, every)
        square = weighted(primary, block.features, level_P**2, here)
        listed = weighted(primary, block.features, np.ones(len(level_P)), here)
        parts.append((expected, square, total - expected, listed))
    expected, square, train, listed = (np.stack(list(part), 1) for part in zip(*parts, strict=True))
    inside = np.flatnonzero(primary.pair_Z >= 0)
    cell = block.feature_Z[inside] * evidence.folds + block.fold_Z[inside]
    place, strength = block.place_Z[inside], block.activation_Z[inside]
    level_Z = primary.level_PK[primary.pair_Z[inside], block.fold_Z[inside]]
    product = summed(evidence, cell, place, strength * level_Z, block.features)
    listed_sum = summed(evidence, cell, place, strength, block.features)
    return Meetings(
        expected, square, train, product, listed, listed_sum, block.all_tokens, block.all_sum
    )


def weighted(primary: Primary, features: int, weight_P: FloatArray, counts: Counts) -> FloatArray:
    """Sums [F, J] of the tables' counts, each value weighted."""
    pairs = primary.pairs
    shape = (features, counts.shape[0])
    table = csr_matrix((weight_P, (pairs.feature_P, pairs.value_P)), shape)
    found: FloatArray = (table @ counts).toarray()
    return found
