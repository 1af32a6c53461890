"""The methods that explain features, each declared once.

The code of a method is `services/analyzer/explain/methods/NAME.py`; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MethodName = Literal["rule", "language_model"]


@dataclass(frozen=True)
class Method:
    """One way of explaining features."""

    name: MethodName  # in roles, results, tables and answers over REST
    label: str  # who explained, as readers are told
    adverb: str  # the same in a sentence: the features are explained ..
    needs_language_model: bool  # it asks one about some features; otherwise it explains all of them
    numbers_corpora: bool  # its explanations call a corpus by its number in the stage's inputs


METHODS: Mapping[MethodName, Method] = {
    method.name: method
    for method in (
        Method(
            name="rule",
            label="rules",
            adverb="by rules",
            needs_language_model=False,
            numbers_corpora=True,
        ),
        Method(
            name="language_model",
            label="language model",
            adverb="by the language model",
            needs_language_model=True,
            numbers_corpora=False,
        ),
    )
}
"""All methods by name, in the order in which they are shown.

Where several explained a feature, the last one's explanation names it.
"""

BASELINE = METHODS["rule"]
"""What the other methods are compared with, on the features that both explained."""
