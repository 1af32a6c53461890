"""What a second condition adds to a table of levels, for all features and conditions at once.

F: features of a block, K: folds, J: conditions, P: pairs of a feature and a value of its table,
Z: firings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.analyzer.explain.rules.value_sets import Totals, correlation, shrunk
from shared.arrays import FloatArray

# Tokens at the mean level of the table that a gate's factor is drawn towards 1 by.
DRAWN = 2.0


@dataclass(frozen=True)
class Meetings:
    """Sums over the tokens of each fold at which a condition holds ([F, K, J]).

    Of the table's tokens, those of fold k at the levels that the other folds tell: expected,
    expected_square and product (level times activation); expected_train, the same levels over the
    other folds. `listed` and `listed_sum` count the table's tokens and sum their activations;
    `all_tokens` and `all_sum` those of every token.
    The first condition of J holds always.
    """

    expected: FloatArray
    expected_square: FloatArray
    expected_train: FloatArray
    product: FloatArray
    listed: FloatArray
    listed_sum: FloatArray
    all_tokens: FloatArray
    all_sum: FloatArray


@dataclass(frozen=True)
class Cells:
    """Factors and other levels of each feature and condition, where it holds and where not."""

    inside: FloatArray
    outside: FloatArray
    other_inside: FloatArray
    other_outside: FloatArray


def gated_correlations(found: Meetings, totals: Totals) -> FloatArray:
    """Cross-validated Pearson [F, J] of each table with each condition as its gate.

    Column 0 is the table without a gate.
    """
    p, pp, py = (np.zeros_like(found.expected[:, 0]) for _ in range(3))
    for fold in range(found.expected.shape[1]):
        cells = _cells(found.expected_train[:, fold], *_known(found, totals, fold))
        rest = found.all_tokens[:, fold] - found.listed[:, fold]
        rest_sum = found.all_sum[:, fold] - found.listed_sum[:, fold]
        for inside, factor, other in (
            (True, cells.inside, cells.other_inside),
            (False, cells.outside, cells.other_outside),
        ):
            p += factor * _side(found.expected[:, fold], inside) + other * _side(rest, inside)
            pp += factor**2 * _side(found.expected_square[:, fold], inside)
            pp += other**2 * _side(rest, inside)
            py += factor * _side(found.product[:, fold], inside) + other * _side(rest_sum, inside)
    return correlation(totals, p, pp, py)


def final_cells(expected_FJ: FloatArray, found: Meetings, totals: Totals) -> Cells:
    """The cells as all folds tell them; expected_FJ are the sums of the final levels."""
    return _cells(expected_FJ, *_known(found, totals, None))


def _known(
    found: Meetings, totals: Totals, fold: int | None
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """What all folds, or all but one, know: the last five arguments of _cells."""

    def known(values_FKJ: FloatArray) -> FloatArray:
        total: FloatArray = values_FKJ.sum(1)
        return total if fold is None else total - values_FKJ[:, fold]

    mean_F1 = known(totals.sum_FK[..., None]) / np.maximum(1, known(totals.tokens_FK[..., None]))
    sums = (found.listed, found.listed_sum, found.all_tokens, found.all_sum)
    return (*(known(values_FKJ) for values_FKJ in sums), mean_F1)  # type: ignore[return-value]


def _side(values_FJ: FloatArray, inside: bool) -> FloatArray:
    """Sums where the condition holds, or where it does not."""
    return values_FJ if inside else values_FJ[:, :1] - values_FJ


def _cells(
    expected_FJ: FloatArray,
    listed_FJ: FloatArray,
    listed_sum_FJ: FloatArray,
    all_FJ: FloatArray,
    all_sum_FJ: FloatArray,
    mean_F1: FloatArray,
) -> Cells:
    """Factors (true over expected sum of the table's tokens) and the means of the others."""
    drawn_F1 = DRAWN * expected_FJ[:, :1] / np.maximum(1, listed_FJ[:, :1]) + 1e-12
    rest_FJ, rest_sum_FJ = all_FJ - listed_FJ, np.maximum(all_sum_FJ - listed_sum_FJ, 0)
    factors, others = [], []
    for inside in (True, False):
        true, expected = _side(listed_sum_FJ, inside), _side(expected_FJ, inside)
        factors.append((np.maximum(true, 0) + drawn_F1) / (expected + drawn_F1))
        total = np.maximum(_side(rest_sum_FJ, inside), 0)
        others.append(shrunk(total, _side(rest_FJ, inside), mean_F1))
    factors[0][:, 0] = 1  # without a gate the levels are as they are
    return Cells(*factors, *others)
