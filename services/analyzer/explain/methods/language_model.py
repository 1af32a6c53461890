"""Explanations by a language model: what it is shown of each feature, and what it answered.

N: chosen features, W: held-out windows, E: examples, K: tokens of a window.
"""

from __future__ import annotations

import numpy as np

from services.analyzer.explain.language_model import (
    Examples,
    FeatureAnswers,
    HeldOutWindows,
    ask,
)
from services.analyzer.explain.outcome import Outcome
from services.analyzer.explain.task import Task, example_windows
from shared.arrays import IntArray
from shared.stages.explain import ExplainParameters
from shared.stages.stage import Stage, StageError


def explain(stage: Stage, task: Task, parameters: ExplainParameters) -> Outcome:
    """The language model's explanation of each feature, and its answers about the windows.

    Features without examples or without held-out firings cannot be scored and cost no question.
    Those that the budget did not reach have a failure that says so and do not count as covered.
    Raises StageError where the parameters name no language model, and what `ask` raises.
    """
    model = parameters.language_model
    if model is None:
        raise StageError("language_model: the method language_model needs one")
    outcome = Outcome.of(task)
    numbers = [n for n, failure in enumerate(outcome.failure_N) if failure is None]
    features = [shown_of(task, number, parameters.examples, parameters.seed) for number in numbers]
    answers = ask(stage, model, features)
    for number, answer in zip(numbers, answers.features, strict=True):
        _take(outcome, task, number, answer)
    outcome.requests, outcome.tokens = answers.requests, answers.tokens
    not_tried = len(numbers) * (1 - answers.covered)
    outcome.covered = 1 - not_tried / max(1, len(task.features_N))
    return outcome


def _take(outcome: Outcome, task: Task, number: int, answer: FeatureAnswers) -> None:
    """What was answered about the n-th chosen feature."""
    own = task.own(number)
    outcome.explanation_N[number] = answer.explanation
    outcome.failure_N[number] = None if answer.failure is None else str(answer.failure)
    if answer.predicted_WK is not None:
        outcome.predicted_WK[own] = answer.predicted_WK * task.scale[number]
    for score, yes_W in answer.verdicts.items():
        if yes_W is not None:
            outcome.verdicts[score].given_N[number] = True
            outcome.verdicts[score].yes_W[own] = yes_W


def shown_of(task: Task, number: int, examples: int, seed: int) -> tuple[Examples, HeldOutWindows]:
    """What the language model is shown of the n-th chosen feature."""
    places_EK, levels_EK = example_windows(task, number, examples, seed)
    own = task.own(number)
    shown = Examples(
        feature=int(task.features_N[number]),
        texts_EK=_texts(task, places_EK),
        levels_EK=levels_EK,
    )
    windows = HeldOutWindows(
        texts_WK=_texts(task, task.windows.places()[own]),
        active_W=task.windows.fires()[own],
        marks_WK=task.marks.marks_WK[own],
        marked_right_W=task.marks.right_W[own],
    )
    return shown, windows


def _texts(task: Task, places: IntArray) -> list[list[str]]:
    """The texts of the tokens at places of the stream, a list for each row."""
    ids = np.asarray(task.stream.tokens_CT.reshape(-1)[places], np.int64)
    return [[task.texts[number] for number in row] for row in ids.tolist()]
