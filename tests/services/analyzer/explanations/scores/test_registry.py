"""Declared scores and the code that computes them: neither is without the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from services.analyzer.explanations import scores as folder
from services.analyzer.explanations.marks import marks_of
from services.analyzer.explanations.scores.balanced_accuracy import balanced_accuracies
from services.analyzer.explanations.scores.registry import (
    all_scores,
    computed_scores,
    computes,
    quizzes,
)
from services.analyzer.explanations.scores.trial import Quiz, Trial, Verdicts
from shared.arrays import FloatArray
from shared.lineage.explanations.scores import MAIN, SCORES, Score
from tests.support.explanations.held_out_windows import SEED, planted, windows_of
from tests.support.planted import codes_of

HELPERS = {"__init__", "registry", "trial", "balanced_accuracy"}


def trial(share: float = 0.3, features: int = 12) -> Trial:
    """Answers that are right but for a share of them (none of feature 0), and such predictions."""
    windows = windows_of(codes_of(planted(4, features, density=0.1)).by_feature())
    bounds = windows.bounds(np.arange(features))
    marks = marks_of(windows, bounds, SEED)
    rng = np.random.default_rng(1)

    def answered(quiz: Quiz) -> Verdicts:
        wrong_W = rng.random(len(quiz.right_W)) < share
        return Verdicts(quiz, quiz.right_W ^ wrong_W, np.arange(features) > 0)

    shape = windows.activations_WK.shape
    wrong_WK, noise_WK = rng.random(shape) < share, 9 * rng.random(shape, np.float32)
    return Trial(
        windows=windows,
        bounds_N=bounds,
        marks=marks,
        predicted_WK=np.where(wrong_WK, noise_WK, windows.activations_WK),
        verdicts={name: answered(quiz) for name, quiz in quizzes(windows, marks).items()},
    )


def test_each_declared_score_has_a_file_of_code_and_each_file_a_declaration() -> None:
    files = {path.stem for path in Path(*folder.__path__).glob("*.py")} - HELPERS
    assert files == set(SCORES) == set(computed_scores())


def test_a_score_has_no_second_code() -> None:
    computed_scores()
    with pytest.raises(ValueError, match="simulation has code already"):
        computes(MAIN)(lambda trial: np.zeros(len(trial.bounds_N) - 1))


def test_no_two_scores_share_a_column() -> None:
    assert len({score.column for score in SCORES.values()}) == len(SCORES)


def defined(values: Mapping[str, FloatArray], score: Score) -> FloatArray:
    return values[score.name][~np.isnan(values[score.name])]


@pytest.mark.parametrize("score", SCORES.values(), ids=list(SCORES))
def test_scores_lie_in_the_declared_range_and_their_direction_is_the_declared_one(
    score: Score,
) -> None:
    right, mixed = (defined(all_scores(trial(share)), score) for share in (0.0, 0.3))
    for values in (right, mixed):
        assert len(values) > 0
        assert (values >= score.lowest).all()
        assert (values <= score.highest).all()
    best = score.highest if score.higher_is_better else score.lowest
    np.testing.assert_allclose(right, best)
    assert abs(mixed.mean() - best) > 0.05


@pytest.mark.parametrize("score", SCORES.values(), ids=list(SCORES))
def test_what_knows_nothing_scores_about_as_chance_is_declared(score: Score) -> None:
    known = trial(0.5, features=60)
    blind = np.random.default_rng(2).random(known.predicted_WK.shape, np.float32)
    guessed = Trial(known.windows, known.bounds_N, known.marks, blind, known.verdicts)
    assert abs(defined(all_scores(guessed), score).mean() - score.chance) < 0.1


def test_verdicts_count_for_the_features_and_the_windows_that_were_asked_about() -> None:
    one = trial()
    found = all_scores(one)
    for name in ("detection", "fuzzing"):
        quiz, yes_W = one.verdicts[name].quiz, one.verdicts[name].yes_W
        expected = balanced_accuracies(quiz.right_W, yes_W, one.bounds_N, quiz.asked())
        assert np.isnan(found[name][0])
        np.testing.assert_array_equal(found[name][1:], expected[1:])
