"""Detection: is the explanation enough to tell windows in which the feature fires from others?

Paulo, Mallen, Juang and Belrose 2024, "Automatically Interpreting Millions of Features in Large
Language Models", arXiv 2410.13928.
"""

from __future__ import annotations

import numpy as np

from services.analyzer.explanations.held_out import Windows
from services.analyzer.explanations.marks import Marks
from services.analyzer.explanations.scores.registry import asks
from services.analyzer.explanations.scores.trial import Quiz
from shared.lineage.explanations.scores import SCORES


@asks(SCORES["detection"])
def detection(windows: Windows, marks: Marks) -> Quiz:  # noqa: ARG001  (an Ask)
    """Does the feature fire anywhere in the window?"""
    shown_WK = np.ones(windows.activations_WK.shape, bool)
    return Quiz(shown_WK=shown_WK, right_W=windows.fires())
