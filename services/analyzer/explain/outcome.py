"""What a method says of each chosen feature, and what it cost.

N: chosen features, W: held-out windows, K: tokens of a window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from services.analyzer.explain.task import Task
from services.analyzer.explanations.scores.registry import quizzes
from services.analyzer.explanations.scores.trial import Trial, Verdicts
from shared.arrays import Float32Array

# Why a feature has no explanation or no score, whatever the method.
NO_EXAMPLES = "it never fires in the contexts that give examples"
NO_WINDOWS = "it never fires in the held-out contexts"
NO_RULE = "no rule predicts it"
SAME_TRUTH = "its activation is the same on all held-out tokens"
SAME_PREDICTION = "the explanation predicts the same for all held-out tokens"


@dataclass
class Outcome:
    """The explanations of all chosen features; filled feature by feature.

    `rule_N` is JSON of the rules, None of other explanations. `predicted_WK` are simulated
    activations (NaN without a simulation). `verdicts` answer the questions that scores ask, by the
    names of the scores. `requests` and `tokens` were spent, `covered` is the share of the features
    that were tried.
    """

    explanation_N: list[str | None]
    failure_N: list[str | None]
    rule_N: list[str | None]
    predicted_WK: Float32Array
    verdicts: Mapping[str, Verdicts]
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
            verdicts={
                name: Verdicts(quiz, np.zeros(windows, bool), np.zeros(count, bool))
                for name, quiz in quizzes(task.windows, task.marks).items()
            },
        )

    def on_trial(self, task: Task) -> Trial:
        """What scores look at."""
        return Trial(task.windows, task.bounds_N, task.marks, self.predicted_WK, self.verdicts)

    def explain_missing_scores(self, task: Task, without_score: list[int]) -> None:
        """Give a failure to each of these features that has an explanation all the same.

        They have no simulation score, so their true or their predicted activations are constant.
        """
        for number in without_score:
            if self.failure_N[number] is None:
                truth_WK = task.windows.activations_WK[task.own(number)]
                same = truth_WK.min(initial=np.inf) == truth_WK.max(initial=-np.inf)
                self.failure_N[number] = SAME_TRUTH if same else SAME_PREDICTION
