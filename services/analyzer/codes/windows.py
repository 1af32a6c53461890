"""The firings of a feature that are shown, and the window of tokens around each.

W: shown firings (windows), K: tokens of a window, M: firings of one feature. Positions count
tokens of the whole stream.
"""

from __future__ import annotations

import numpy as np

from shared.arrays import AnyFloatArray, FloatArray, IntArray

BINS = 10  # equal parts of a feature's range of activation, (0, maximum]
# A model reads from left to right: what made the feature fire stands before the token.
SHARE_BEFORE = 2 / 3
# The strongest windows are first sought among this many firings for each window. Few features fire
# in such bursts that more are needed, and sorting all firings of a common feature takes longest.
LOOKED_AT = 32


def window_starts(positions: IntArray, context: int, window: int) -> IntArray:
    """Where the window of `window` <= `context` tokens around each position begins.

    It has the shape of `positions`. Two thirds of a window lie before its position; windows
    are moved so that none leaves its context.
    """
    inside = positions % context
    start = np.clip(inside - int(window * SHARE_BEFORE), 0, context - window)
    return positions - inside + start


def top_firings(
    positions_M: IntArray, values_M: AnyFloatArray, starts_M: IntArray, count: int, window: int
) -> IntArray:
    """Up to `count` firings [W] (places in M), strongest first, whose windows do not overlap.

    Equal activations are taken in the order of their positions.
    """
    size = min(len(values_M), LOOKED_AT * count)
    while True:
        among = _strongest(values_M, size)
        left = among[np.lexsort((positions_M[among], -values_M[among]))]
        chosen: list[np.int64] = []
        while len(left) and len(chosen) < count:
            chosen.append(left[0])
            left = left[np.abs(starts_M[left] - starts_M[left[0]]) >= window]
        if len(chosen) == count or len(among) == len(values_M):
            return np.array(chosen, np.int64)
        size = len(values_M)


def _strongest(values_M: AnyFloatArray, size: int) -> IntArray:
    """The `size` strongest firings (places in M), with all that equal the weakest of them."""
    if size >= len(values_M) or size == 0:
        return np.arange(min(size, len(values_M)))
    weakest = np.partition(values_M, len(values_M) - size)[len(values_M) - size]
    return np.flatnonzero(values_M >= weakest)


def bins_of(values_M: AnyFloatArray, maximum: float | FloatArray | None = None) -> IntArray:
    """The bin 0 .. 9 of each activation [M]; the maximum is in the last one.

    The maximum is that of the values unless given, as one number or as one for each value.
    """
    top = values_M.max() if maximum is None else maximum
    scaled: FloatArray = BINS * (values_M / np.asarray(top, np.float64))
    return np.minimum(scaled.astype(np.int64), BINS - 1)


def sample_firings(values_M: AnyFloatArray, count: int, seed: tuple[int, ...]) -> IntArray:
    """Up to `count` different firings [W] (places in M), spread over ten equal bins of activation.

    Every bin that is not empty gives one firing before any gives a second; `seed` decides which
    bins and which firings. The strongest come first.
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
