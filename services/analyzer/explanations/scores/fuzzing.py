"""Fuzzing: is the explanation enough to tell the tokens of the feature from others of the window?

Paulo, Mallen, Juang and Belrose 2024, "Automatically Interpreting Millions of Features in Large
Language Models", arXiv 2410.13928.
"""

from __future__ import annotations

from services.analyzer.explanations.held_out import Windows
from services.analyzer.explanations.marks import Marks
from services.analyzer.explanations.scores.registry import asks
from services.analyzer.explanations.scores.trial import Quiz
from shared.lineage.explanations.scores import SCORES


@asks(SCORES["fuzzing"])
def fuzzing(windows: Windows, marks: Marks) -> Quiz:  # noqa: ARG001  (an Ask)
    """Are the marked tokens those on which the feature fires?"""
    return Quiz(shown_WK=marks.marks_WK, right_W=marks.right_W)
