"""Which firings of a feature are shown, and the window of tokens around each.

W: shown firings (windows), K: tokens of a window, M: firings of one feature. Positions count
tokens of the whole stream.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from services.analyzer.codes import FloatArray, IntArray

BINS = 10  # equal parts of a feature's range of activation, (0, maximum]
# A model reads from left to right: what made the feature fire stands before the token.
SHARE_BEFORE = 2 / 3

Values = npt.NDArray[np.floating[Any]]


def window_starts(positions: IntArray, context: int, window: int) -> IntArray:
    """Where the window of `window` <= `context` tokens around each position begins.

    Two thirds of it lie before the position; windows are moved so that none leaves its context.
    """
    inside = positions % context
    start = np.clip(inside - int(window * SHARE_BEFORE), 0, context - window)
    return positions - inside + start


def top_firings(
    positions_M: IntArray, values_M: Values, starts_M: IntArray, count: int, window: int
) -> IntArray:
    """Up to `count` firings (places in M), strongest first, no two of whose windows overlap.

    Equal activations are taken in the order of their positions.
    """
    left = np.lexsort((positions_M, -values_M))
    chosen: list[np.int64] = []
    while len(left) and len(chosen) < count:
        chosen.append(left[0])
        left = left[np.abs(starts_M[left] - starts_M[left[0]]) >= window]
    return np.array(chosen, np.int64)


def bins_of(values_M: Values) -> IntArray:
    """The bin 0 .. 9 of each activation; the maximum is in the last one."""
    scaled: FloatArray = BINS * (values_M / np.float64(values_M.max()))
    return np.minimum(scaled.astype(np.int64), BINS - 1)


def sample_firings(values_M: Values, count: int, seed: tuple[int, ...]) -> IntArray:
    """Up to `count` different firings (places in M), spread over ten equal bins of activation.

    Every bin that is not empty gives one firing before any gives a second; which bins and which
    firings is drawn with `seed`. Strongest first.
    """
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(values_M))
    turn_of_bin = rng.permutation(BINS)
    bin_M = bins_of(values_M)[shuffled]
    grouped = np.argsort(bin_M, kind="stable")
    sizes = np.bincount(bin_M, minlength=BINS)
    begin = np.cumsum(sizes) - sizes
    round_M = np.arange(len(values_M)) - np.repeat(begin, sizes)
    order = np.lexsort((turn_of_bin[bin_M[grouped]], round_M))[:count]
    chosen = shuffled[grouped[order]]
    return chosen[np.lexsort((chosen, -values_M[chosen]))]
