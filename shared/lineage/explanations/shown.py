"""Explanations as readers see them: with the user's names of corpora, and harmless in a table."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shared.lineage.explanations.methods import METHODS, MethodName

NUMBERED = re.compile(r"corpus #(\d{1,4})\b")
FORMULAS = "=+-@\t\r"  # a spreadsheet computes a cell that begins with one of these


def shown(text: str | None, method: MethodName, corpora: Sequence[str]) -> str | None:
    """A stored explanation as readers see it; `corpora` are the names of the tracking's corpora."""
    return name_corpora(text, corpora) if METHODS[method].numbers_corpora else text


def name_corpora(text: str | None, corpora: Sequence[str]) -> str | None:
    """The text of a rule with the names of a tracking's corpora instead of "corpus #0".

    A stage knows no names: they are the user's, and no part of its key.
    """

    def named(found: re.Match[str]) -> str:
        number = int(found[1])
        return f"corpus {corpora[number]}" if number < len(corpora) else found[0]

    return NUMBERED.sub(named, text) if text and "corpus #" in text else text


def harmless(text: str | None) -> str | None:
    """The text, with an apostrophe before it where a spreadsheet would compute it."""
    return f"'{text}" if text and text[0] in FORMULAS else text
