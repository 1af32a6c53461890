"""Windows of the stream: examples from its even contexts, held-out windows from its odd ones.

W: windows, K: tokens of a window, M: firings of one feature, E: examples of one feature, F:
features. Positions count tokens of the whole stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.analyzer.codes.codes import FeatureMajor
from services.analyzer.codes.windows import BINS, bins_of, window_starts
from shared.arrays import AnyFloatArray, BoolArray, IntArray

LEVELS = 9  # the highest level that an activation is shown in; 0 is silence
EVERY = 256  # features between two calls of the one that watches
# What a seed is for, so that draws for one thing do not depend on those for another.
EXAMPLES, ACTIVE, RANDOM = 0, 1, 2

Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class Windows:
    """W windows of K tokens, grouped by feature, features ascending.

    number_W counts within the feature: active windows first, from strong to weak, then random ones
    in the order of the stream. start_W is the first token's place in the stream, active_W says that
    the window was chosen because the feature fires there; activations_WK are the feature's own.
    """

    feature_W: IntArray
    number_W: IntArray
    start_W: IntArray
    active_W: BoolArray
    activations_WK: npt.NDArray[np.float32]

    def places(self) -> IntArray:
        """The place in the stream of every token [W, K]."""
        return self.start_W[:, None] + np.arange(self.activations_WK.shape[1])

    def fires(self) -> BoolArray:
        """In which windows the feature fires [W]; in a random one it may, too."""
        return np.asarray((self.activations_WK > 0).any(axis=1))

    def bounds(self, features: IntArray) -> IntArray:
        """Where the windows of each feature begin, and the last one's end: [F + 1].

        Raises ValueError where there are windows of a feature that is not in `features`, which
        ascend.
        """
        counts_F = np.searchsorted(self.feature_W, features, side="right") - np.searchsorted(
            self.feature_W, features, side="left"
        )
        if counts_F.sum() != len(self.feature_W):
            raise ValueError("there are windows of other features")
        return np.concatenate([[0], np.cumsum(counts_F)])


def held_out_windows(
    codes: FeatureMajor,
    features: IntArray,
    context: int,
    window: int,
    active: int,
    random: int,
    seed: int,
    watch: Watch = lambda *_: None,
) -> Windows:
    """Windows of `window` <= `context` tokens of the odd contexts, for each of the features.

    Up to `active` of them around firings, spread over ten equal bins of activation, the strongest
    always; and up to `random` more, drawn from all other places without looking at the feature. No
    two windows of a feature begin at the same token. They depend on the seed and on the feature
    alone, not on which others are asked for. `watch(done, total)` is called while it works.
    """
    contexts = codes.tokens // context
    starts: list[IntArray] = []
    counts: list[int] = []
    for done, feature in enumerate(features.tolist()):
        if done % EVERY == 0:
            watch(done, len(features))
        positions_M, values_M = half(codes, feature, context, odd=True)
        chosen = spread_starts(
            positions_M, values_M, context, window, active, (seed, ACTIVE, feature)
        )
        drawn = random_starts(chosen, contexts, context, window, random, (seed, RANDOM, feature))
        starts += [chosen, drawn]
        counts += [len(chosen), len(drawn)]
    start_W = np.concatenate([*starts, np.empty(0, np.int64)])
    return _windows(codes, features, start_W, np.array(counts, np.int64).reshape(-1, 2), window)


def _windows(
    codes: FeatureMajor, features: IntArray, start_W: IntArray, counts_F2: IntArray, window: int
) -> Windows:
    """The windows that begin at start_W: of each feature, counts_F2 active and random ones."""
    total_F = counts_F2.sum(axis=1)
    begin_F = np.cumsum(total_F) - total_F
    number_W = np.arange(len(start_W)) - np.repeat(begin_F, total_F)
    activations_WK = np.zeros((len(start_W), window), np.float32)
    for feature, begin, count in zip(features, begin_F, total_F, strict=True):
        part = slice(begin, begin + count)
        places_WK = start_W[part, None] + np.arange(window)
        activations_WK[part] = codes.at(int(feature), places_WK)
    return Windows(
        feature_W=np.repeat(features, total_F),
        number_W=number_W,
        start_W=start_W,
        active_W=number_W < np.repeat(counts_F2[:, 0], total_F),
        activations_WK=activations_WK,
    )


def half(
    codes: FeatureMajor, feature: int, context: int, *, odd: bool
) -> tuple[IntArray, AnyFloatArray]:
    """The feature's firings in the odd or in the even contexts: positions [M] and values [M]."""
    positions_Z, values_Z = codes.of(feature)
    own_Z = (positions_Z // context) % 2 == int(odd)
    return positions_Z[own_Z].astype(np.int64), values_Z[own_Z]


def spread_starts(
    positions_M: IntArray,
    values_M: AnyFloatArray,
    context: int,
    window: int,
    count: int,
    seed: tuple[int, ...],
) -> IntArray:
    """Starts of up to `count` windows around different firings [<= count], the strongest's first.

    The others are drawn with `seed`: every bin of activation that is not empty gives one before any
    gives a second. They follow from strong to weak. No start comes twice.
    """
    if len(values_M) == 0 or count == 0:
        return np.empty(0, np.int64)
    order_M = _by_turns(values_M, seed)
    strongest = int(np.argmax(values_M))
    order_M = np.concatenate([[strongest], order_M[order_M != strongest]])
    starts_M = window_starts(positions_M[order_M], context, window)
    _, first = np.unique(starts_M, return_index=True)
    chosen = np.sort(first)[:count]
    from_strong = np.lexsort((starts_M[chosen], -values_M[order_M[chosen]].astype(np.float64)))
    return starts_M[chosen[from_strong]]


def _by_turns(values_M: AnyFloatArray, seed: tuple[int, ...]) -> IntArray:
    """All firings in an order in which the bins of activation take turns, drawn with `seed`."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(values_M))
    turn_of_bin = rng.permutation(BINS)
    turn_M = turn_of_bin[bins_of(values_M)[shuffled]].astype(np.int8)
    grouped = np.argsort(turn_M, kind="stable")
    sizes = np.bincount(turn_M, minlength=BINS)
    round_M = np.arange(len(values_M)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    order: IntArray = shuffled[grouped[np.argsort(round_M * BINS + turn_M[grouped])]]
    return order


def random_starts(
    taken: IntArray, contexts: int, context: int, window: int, count: int, seed: tuple[int, ...]
) -> IntArray:
    """Starts [<= count] of windows of the odd contexts, ascending, none of them in `taken`.

    Every other start is as likely as any; fewer come back only where there are no more.
    """
    slots = context - window + 1
    free = (contexts // 2) * slots
    size = min(free, count + len(taken))  # so many that enough are left when all taken are drawn
    drawn = np.random.default_rng(seed).choice(free, size, replace=False)
    starts = (2 * (drawn // slots) + 1) * context + drawn % slots
    chosen: IntArray = np.sort(starts[~np.isin(starts, taken)][:count])
    return chosen


def levels_of(activations: npt.NDArray[np.float32], maximum: float) -> npt.NDArray[np.int64]:
    """Activations in levels 0 .. 9, in their shape: 0 where silent, 9 the maximum and above it.

    Levels 1 .. 9 are nine equal parts of (0, maximum]. The published code of the paper's authors
    put the maximum itself into no level at all.
    """
    scaled = np.ceil(LEVELS * (activations.astype(np.float64) / maximum))
    return np.minimum(scaled, LEVELS).astype(np.int64)
