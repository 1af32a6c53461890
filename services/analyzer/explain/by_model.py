"""Explanations by a language model: what it is shown of each feature, and what it answered.

N: chosen features, W: held-out windows, E: examples, K: tokens of a window.
"""

from __future__ import annotations

import numpy as np

from services.analyzer.explain.language_model import Answered, Examples, Held, ask
from services.analyzer.explain.task import Outcome, Task, example_windows
from shared.arrays import IntArray
from shared.stages.explain import LanguageModel
from shared.stages.stage import Stage


def explain_by_model(
    stage: Stage, task: Task, model: LanguageModel, examples: int, seed: int
) -> Outcome:
    """The language model's explanation of each feature, and its answers about the windows.

    Features without examples or without held-out firings cannot be scored and cost no question.
    Those that the budget did not reach have a failure that says so and do not count as covered.
    """
    outcome = Outcome.of(task)
    numbers = [n for n, failure in enumerate(outcome.failure_N) if failure is None]
    spent = ask(stage, model, [material(task, number, examples, seed) for number in numbers])
    for number, answer in zip(numbers, spent.answered, strict=True):
        _take(outcome, task, number, answer)
    outcome.requests, outcome.tokens = spent.requests, spent.tokens
    not_tried = len(numbers) * (1 - spent.covered)
    outcome.covered = 1 - not_tried / max(1, len(task.features_N))
    return outcome


def _take(outcome: Outcome, task: Task, number: int, answer: Answered) -> None:
    own = task.own(number)
    outcome.explanation_N[number] = answer.explanation
    outcome.failure_N[number] = None if answer.failure is None else str(answer.failure)
    if answer.predicted_WK is not None:
        outcome.predicted_WK[own] = answer.predicted_WK * task.scale[number]
    if answer.detected_W is not None:
        outcome.detection_N[number] = True
        outcome.detected_W[own] = answer.detected_W
    if answer.fuzzed_W is not None:
        outcome.fuzzing_N[number] = True
        outcome.fuzzed_W[own] = answer.fuzzed_W


def material(task: Task, number: int, examples: int, seed: int) -> tuple[Examples, Held]:
    """What the language model is shown of the n-th chosen feature."""
    places_EK, levels_EK = example_windows(task, number, examples, seed)
    own = task.own(number)
    shown = Examples(
        feature=int(task.features_N[number]),
        texts_EK=_texts(task, places_EK),
        levels_EK=levels_EK,
    )
    held = Held(
        texts_WK=_texts(task, task.windows.places()[own]),
        active_W=task.windows.fires()[own],
        marks_WK=task.marks.marks_WK[own],
        marked_right_W=task.marks.right_W[own],
    )
    return shown, held


def _texts(task: Task, places: IntArray) -> list[list[str]]:
    """The texts of the tokens at places of the stream."""
    ids = np.asarray(task.stream.tokens_CT.reshape(-1)[places], np.int64)
    return [[task.texts[number] for number in row] for row in ids.tolist()]
