"""How stored explanations of features are told: with the user's names, and harmless in a table."""

from __future__ import annotations

import re
from collections.abc import Sequence

NUMBERED = re.compile(r"corpus #(\d{1,4})\b")
FORMULAS = "=+-@\t\r"  # a spreadsheet computes a cell that begins with one of these


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
