"""What is to be explained and on what it is scored, and what came of it: the same for both methods.

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
from shared.arrays import BoolArray, Float32Array, FloatArray, IntArray
from shared.data.token_stream import HeldOut
from shared.stages.explain import ExplainParameters

MARKS = 3  # what a seed is for, beside those of windows.py

# Why a feature has no explanation or no score, whatever the method.
NO_EXAMPLES = "it never fires in the contexts that give examples"
NO_WINDOWS = "it never fires in the held-out contexts"
NO_RULE = "no rule predicts it"
SAME_TRUTH = "its activation is the same on all held-out tokens"
SAME_PREDICTION = "the explanation predicts the same for all held-out tokens"


@dataclass(frozen=True)
class Marks:
    """Tokens marked in each window, for fuzzing: those on which the feature fires, or others.

    Nothing is asked about windows without marks: those of a feature that fires in none, and those
    that have no silent token to mark.
    """

    marks_WK: BoolArray
    right_W: BoolArray

    def asked(self) -> BoolArray:
        """Windows that have marks [W]."""
        return np.asarray(self.marks_WK.any(axis=1))


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


@dataclass
class Outcome:
    """What a method says of each chosen feature; filled feature by feature.

    predicted_WK are simulated activations (NaN without a simulation); detected_W and fuzzed_W say
    that the feature is held to fire in the window, and on its marked tokens: they count for
    features in detection_N and fuzzing_N. `requests` and `tokens` were spent, `covered` is the
    share of the features that were tried.
    """

    explanation_N: list[str | None]
    failure_N: list[str | None]
    rule_N: list[str | None]
    predicted_WK: Float32Array
    detected_W: BoolArray
    detection_N: BoolArray
    fuzzed_W: BoolArray
    fuzzing_N: BoolArray
    requests: int = 0
    tokens: int = 0
    covered: float = 1.0

    @classmethod
    def of(cls, task: Task) -> Outcome:
        """Nothing was said yet; features that no method can score have their failure."""
        count, windows = len(task.features_N), len(task.windows.start_W)
        failure: list[str | None] = np.select(
            [task.maximum_N == 0, ~task.tested], [NO_EXAMPLES, NO_WINDOWS], ""
        ).tolist()
        return cls(
            explanation_N=[None] * count,
            failure_N=[reason or None for reason in failure],
            rule_N=[None] * count,
            predicted_WK=np.full(task.windows.activations_WK.shape, np.nan, np.float32),
            detected_W=np.zeros(windows, bool),
            detection_N=np.zeros(count, bool),
            fuzzed_W=np.zeros(windows, bool),
            fuzzing_N=np.zeros(count, bool),
        )


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


def marks_of(windows: Windows, bounds_N: IntArray, seed: int) -> Marks:
    """Marks for fuzzing, in every window of every feature.

    Of the windows in which the feature fires, the first, third .. (active ones from strong to weak,
    then random ones) are right: the tokens on which it fires are marked. In all other windows as
    many silent tokens are marked as in the right ones, in turn, drawn with the seed; so the number
    of marks tells nothing.
    """
    fires_WK = windows.activations_WK > 0
    marks_WK = np.zeros_like(fires_WK)
    right_W = np.zeros(len(fires_WK), bool)
    for begin, end in zip(bounds_N[:-1].tolist(), bounds_N[1:].tolist(), strict=True):
        firing = begin + np.flatnonzero(fires_WK[begin:end].any(axis=1))
        if len(firing) == 0:
            continue
        right = firing[::2]
        right_W[right] = True
        marks_WK[right] = fires_WK[right]
        wrong = np.setdiff1d(np.arange(begin, end), right)
        counts = np.resize(fires_WK[right].sum(axis=1), len(wrong))
        rng = np.random.default_rng([seed, MARKS, int(windows.feature_W[begin])])
        # Ranks of random numbers: silent tokens come first, in a drawn order.
        order = np.argsort(fires_WK[wrong] + rng.random((len(wrong), fires_WK.shape[1])), axis=1)
        rank = np.argsort(order, axis=1)
        marks_WK[wrong] = (rank < counts[:, None]) & ~fires_WK[wrong]
    return Marks(marks_WK, right_W)


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
