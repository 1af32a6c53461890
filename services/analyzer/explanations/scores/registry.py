"""Which code computes which score: every file of this folder that decorates a function.

`@computes(score)` stands before the function that computes a declared score from a Trial. A score
that counts right answers to a yes-or-no question has `@asks(score)` before the question instead:
rules and language models are then asked it, and the score is their balanced accuracy.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from services.analyzer.explanations.held_out import Windows
from services.analyzer.explanations.marks import Marks
from services.analyzer.explanations.scores.balanced_accuracy import balanced_accuracies
from services.analyzer.explanations.scores.trial import Quiz, Trial, Verdicts
from shared.arrays import FloatArray
from shared.lineage.explanations.scores import SCORES, Score

Compute = Callable[[Trial], FloatArray]  # [N], NaN where undefined
Ask = Callable[[Windows, Marks], Quiz]

_COMPUTES: dict[str, Compute] = {}
_ASKS: dict[str, Ask] = {}


def computes(score: Score) -> Callable[[Compute], Compute]:
    """The decorated function computes the score of every feature [N].

    Raises ValueError for a second one.
    """

    def register(function: Compute) -> Compute:
        if score.name in _COMPUTES:
            raise ValueError(f"score {score.name} has code already")
        _COMPUTES[score.name] = function
        return function

    return register


def asks(score: Score) -> Callable[[Ask], Ask]:
    """The decorated function gives the question whose right answers the score counts."""

    def register(function: Ask) -> Ask:
        computes(score)(lambda trial: _accuracies(trial, trial.verdicts[score.name]))
        _ASKS[score.name] = function
        return function

    return register


def _accuracies(trial: Trial, verdicts: Verdicts) -> FloatArray:
    quiz = verdicts.quiz
    accuracy_N = balanced_accuracies(quiz.right_W, verdicts.yes_W, trial.bounds_N, quiz.asked())
    return np.where(verdicts.given_N, accuracy_N, np.nan)


@cache
def _load() -> None:
    """Import the files of this folder, which register what they compute."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"{package}.{module.name}")


def computed_scores() -> Mapping[str, Compute]:
    """The code of every declared score, by name and in their order; KeyError if one has none."""
    _load()
    return {name: _COMPUTES[name] for name in SCORES}


def quizzes(windows: Windows, marks: Marks) -> dict[str, Quiz]:
    """The question of each score that asks one about windows, by name."""
    _load()
    return {name: _ASKS[name](windows, marks) for name in SCORES if name in _ASKS}


def all_scores(trial: Trial) -> dict[str, FloatArray]:
    """Every score of every feature [N], by name; NaN where undefined or not measured."""
    return {name: compute(trial) for name, compute in computed_scores().items()}
