"""The questions about a feature, which give away nothing that is true of its windows."""

from __future__ import annotations

import numpy as np

from services.analyzer.explain.language_model.excerpts import Examples, HeldOutWindows
from services.analyzer.explain.language_model.interview import BATCH, Interview
from services.analyzer.explain.language_model.questions import VERDICTS, Kind, Question
from services.analyzer.explain.language_model.reply import Reply
from services.analyzer.explanations.marks import marks_of
from services.analyzer.explanations.scores.registry import quizzes
from shared.lineage.explanations.scores import SCORES
from tests.support.explanations.held_out_windows import planted as planted_codes
from tests.support.explanations.held_out_windows import windows_of
from tests.support.explanations.planted_features import planted
from tests.support.planted import codes_of


def asked(examples: Examples, windows: HeldOutWindows) -> list[Question]:
    """All questions about a feature."""
    interview = Interview(0, examples, windows, seed=1)
    interview.begin()
    first = interview.next()
    assert first is not None
    interview.take(first, Reply("cats", 1))
    found = [first]
    while (question := interview.next()) is not None:
        found.append(question)
    assert len(found) == interview.requests
    return found


def test_each_window_is_simulated_once_and_judged_once_of_each_kind() -> None:
    [(examples, windows)] = planted(1, windows=12)
    questions = asked(examples, windows)
    assert [question.kind for question in questions] == sorted(one.kind for one in questions)
    for kind in (Kind.SIMULATE, Kind.DETECT, Kind.FUZZ):
        numbers = [number for one in questions if one.kind is kind for number in one.windows]
        assert sorted(numbers) == list(range(12))
    assert max(len(one.windows) for one in questions) == BATCH


def test_windows_are_judged_in_an_order_that_does_not_tell_which_fire() -> None:
    [(examples, windows)] = planted(1, windows=40)
    order = [n for one in asked(examples, windows) if one.kind is Kind.DETECT for n in one.windows]
    assert order != sorted(order)


def test_what_is_true_of_held_out_windows_changes_no_prompt() -> None:
    [(examples, windows)] = planted(1, windows=8)
    lie = HeldOutWindows(
        windows.texts_WK, ~windows.active_W, windows.marks_WK, ~windows.marked_right_W
    )
    assert asked(examples, windows) == asked(examples, lie)


def test_a_window_without_a_mark_is_not_judged_for_its_marks() -> None:
    [(examples, windows)] = planted(1, windows=8)
    windows.marks_WK[3] = False
    fuzzed = [n for one in asked(examples, windows) if one.kind is Kind.FUZZ for n in one.windows]
    assert sorted(fuzzed) == [0, 1, 2, 4, 5, 6, 7]


def test_every_score_that_asks_about_windows_has_its_kind_of_question() -> None:
    windows = windows_of(codes_of(planted_codes(0)).by_feature())
    marks = marks_of(windows, windows.bounds(np.arange(12)), 1)
    assert set(VERDICTS.values()) == set(quizzes(windows, marks)) <= set(SCORES)
