"""What is to be explained, and on what it is scored: the same for every method.

N: chosen features, W: held-out windows, K: tokens of a window, E: examples of one feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.analyzer.codes.codes import Codes, FeatureMajor
from services.analyzer.explanations.held_out import (
    EXAMPLES,
    LEVELS,
    Watch,
    Windows,
    half,
    held_out_windows,
    levels_of,
    spread_starts,
)
from services.analyzer.explanations.marks import Marks, marks_of
from shared.arrays import BoolArray, FloatArray, IntArray
from shared.data.token_stream import HeldOut
from shared.stages.explain import ExplainParameters


@dataclass(frozen=True)
class Task:
    """The chosen features with their held-out windows.

    `features_N` ascend; the windows of the n-th are bounds_N[n] .. bounds_N[n + 1]. `maximum_N` is
    the largest activation in the even contexts, 0 where the feature is silent there.
    """

    codes: Codes
    by_feature: FeatureMajor
    stream: HeldOut
    texts: Sequence[str]
    features_N: IntArray
    maximum_N: FloatArray
    windows: Windows
    bounds_N: IntArray
    marks: Marks

    @property
    def tested(self) -> BoolArray:
        """Features [N] that fire in the odd contexts: they have active windows."""
        feature_W = self.windows.feature_W[self.windows.active_W]
        return np.isin(self.features_N, feature_W)

    @property
    def scale(self) -> FloatArray:
        """The activation of one level [N], and 1 where there are no examples."""
        return np.where(self.maximum_N > 0, self.maximum_N, 1) / LEVELS

    def own(self, number: int) -> slice:
        """The windows of the n-th chosen feature."""
        return slice(int(self.bounds_N[number]), int(self.bounds_N[number + 1]))


def task_of(
    codes: Codes,
    stream: HeldOut,
    texts: Sequence[str],
    features_N: IntArray,
    parameters: ExplainParameters,
    watch: Watch,
) -> Task:
    """The task of explaining these features (ascending). `watch(done, total)` is called."""
    by_feature = codes.only(features_N).by_feature()
    context = parameters.context
    windows = held_out_windows(
        by_feature,
        features_N,
        context,
        min(parameters.window, context),
        parameters.active_windows,
        parameters.random_windows,
        parameters.seed,
        watch,
    )
    bounds_N = windows.bounds(features_N)
    maximum = [
        half(by_feature, feature, context, odd=False)[1].max(initial=0)
        for feature in features_N.tolist()
    ]
    # A model may know more ids than its tokenizer has tokens.
    missing = max(0, int(stream.tokens_CT.max(initial=0)) + 1 - len(texts))
    return Task(
        codes=codes,
        by_feature=by_feature,
        stream=stream,
        texts=[*texts, *[""] * missing],
        features_N=features_N,
        maximum_N=np.array(maximum, np.float64),
        windows=windows,
        bounds_N=bounds_N,
        marks=marks_of(windows, bounds_N, parameters.seed),
    )


def example_windows(
    task: Task, number: int, count: int, seed: int
) -> tuple[IntArray, npt.NDArray[np.int64]]:
    """Examples of the n-th chosen feature: places [E, K] in the even contexts and levels [E, K].

    Up to `count`, spread over ten equal bins of its activation, the maximum first.
    """
    feature, context = int(task.features_N[number]), task.stream.tokens_CT.shape[1]
    window = task.windows.activations_WK.shape[1]
    positions_M, values_M = half(task.by_feature, feature, context, odd=False)
    start_E = spread_starts(
        positions_M, values_M, context, window, count, (seed, EXAMPLES, feature)
    )
    places_EK = start_E[:, None] + np.arange(window)
    activations_EK = task.by_feature.at(feature, places_EK)
    return places_EK, levels_of(activations_EK, float(task.maximum_N[number]))
