"""The scores of an explanation, each declared once.

The code of a score is `services/analyzer/explanations/scores/NAME.py`; a test holds the two
together. Columns of tables, means in results and fields over REST follow from the declarations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """How well an explanation predicts when its feature is active."""

    name: str  # of the file with its code
    column: str  # its name in files, results.json, tables and answers over REST
    description: str  # one sentence
    cell: str  # what its column holds, in the contract of the stage `explain`
    question: str  # what it asks of an explanation, as the end of a sentence
    unit: str  # what it is, with an article
    units: str  # the same in the plural
    lowest: float
    highest: float
    chance: float  # what an explanation that knows nothing gets
    higher_is_better: bool = True


SCORES: Mapping[str, Score] = {
    score.name: score
    for score in (
        Score(
            name="simulation",
            column="score",
            description="Pearson's r of predicted and true activations on held-out windows.",
            cell="Pearson of simulation and activation over the tokens of the held-out windows; "
            "null where it is undefined",
            question="how strongly the feature fires on each token",
            unit="a correlation",
            units="correlations",
            lowest=-1.0,
            highest=1.0,
            chance=0.0,
        ),
        Score(
            name="detection",
            column="detection",
            description="Balanced accuracy of telling windows with the feature from others.",
            cell="balanced accuracy; null where not measured",
            question="which windows hold the feature",
            unit="a balanced accuracy",
            units="balanced accuracies",
            lowest=0.0,
            highest=1.0,
            chance=0.5,
        ),
        Score(
            name="fuzzing",
            column="fuzzing",
            description="Balanced accuracy of telling right marks on tokens from wrong ones.",
            cell="balanced accuracy; null where not measured",
            question="whether the marked tokens are its own",
            unit="a balanced accuracy",
            units="balanced accuracies",
            lowest=0.0,
            highest=1.0,
            chance=0.5,
        ),
    )
}
"""All scores by name, in the order of their columns."""

MAIN = SCORES["simulation"]
"""The score that explanations are ranked by, and whose mean has an interval."""

OTHERS = tuple(score for score in SCORES.values() if score is not MAIN)
COLUMNS = tuple(score.column for score in SCORES.values())

MEANS = tuple(
    name
    for score in SCORES.values()
    for name in ((score.column, "interval") if score is MAIN else (score.column,))
)
"""The names of means over features: every column, and the interval of the main one's mean."""
