"""A rule in words, for a reader who has never seen one.

Tokens stand in back quotes with spaces and line breaks visible, as on the report's pages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from services.analyzer.explain.rules.classes import CLASSES, NUMBER_OF
from services.analyzer.explain.rules.places import CLASS, CLASS_BEFORE
from services.analyzer.explain.rules.rule import Gate, Rule

LISTED = 12  # tokens of a table that are named, the strongest first; the others are counted
LISTED_GATE = 6  # tokens of a gate that are named
LONGEST = 24  # characters of a token that are shown
WEAKER = 0.5  # share of the strongest level below which a token is said to be weaker
# Share of the table's mean level from which the tokens outside it are not silent: the rule then
# says only where the feature is stronger.
ELSEWHERE = 0.25
_VISIBLE = {" ": "·", "\n": "↵", "\t": "⇥"}


@dataclass(frozen=True)
class Words:
    """Names that rules are written with: the vocabulary's texts and the corpora's names."""

    texts: Sequence[str]
    corpora: Sequence[str]

    def token(self, number: int) -> str:
        """A token in back quotes; one without a text by its number."""
        text = self.texts[number] if 0 <= number < len(self.texts) else ""
        return f"`{shown(text)}`" if text else f"`(token {number})`"

    def corpus(self, number: int) -> str:
        """A corpus by its name, or by its number where none is known."""
        known = number < len(self.corpora)
        return f"corpus {self.corpora[number]}" if known else f"corpus #{number}"


def shown(text: str) -> str:
    """A token that can be read on one line: nothing invisible, nothing that moves its neighbours.

    Spaces, line breaks and tabs get signs, other characters that do not print their escapes.
    """
    cut = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return "".join(_sign(character) for character in cut)


def _sign(character: str) -> str:
    if character in _VISIBLE:
        return _VISIBLE[character]
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


def worded(rule: Rule, words: Words) -> Rule:
    """The rule with its text."""
    main = _table(rule, words)
    return replace(rule, text=main if rule.gate is None else main + _gate(rule.gate, words))


# ------------------------------------------------------------------------------- the table


def _table(rule: Rule, words: Words) -> str:
    if rule.attribute in ("token", "before"):
        return _tokens(rule, words)
    if rule.attribute == "position":
        return _cells(rule, _positions)
    if rule.attribute == "corpus":
        return _cells(rule, lambda cells: _corpora(cells, words))
    level, low = rule.levels[0], rule.other
    holds, strong, weak = level >= low, max(level, low), min(level, low)
    text = _subject(rule.attribute, holds)
    return f"any token, but stronger on {text}" if weak >= ELSEWHERE * strong else text


def _subject(attribute: str, holds: bool) -> str:
    """A token for which a yes-or-no attribute holds, or does not."""
    if attribute == "line":
        return "the first token of a line" if holds else "a token that is not the first of a line"
    phrase = _phrase(attribute)
    if attribute.startswith(CLASS_BEFORE):
        return f"a token after {phrase}" if holds else f"a token that is not after {phrase}"
    return phrase if holds else f"a token that is not {phrase}"


def _phrase(attribute: str) -> str:
    return CLASSES[NUMBER_OF[attribute.partition(":")[2]]].phrase


def _tokens(rule: Rule, words: Words) -> str:
    order = np.argsort(-np.array(rule.levels), kind="stable").tolist()
    levels = np.array(rule.levels)[order]
    values = [rule.values[place] for place in order]
    strong = int((levels >= WEAKER * levels[0]).sum())
    text = tokens_listed(values[:strong], LISTED, words)
    if strong < len(values):
        text += ", weaker on " if rule.attribute == "token" else ", weaker after "
        text += tokens_listed(values[strong:], max(0, LISTED - strong), words)
    many = len(values) > 1
    if rule.attribute == "before":
        text = f"a token after {text}"
    else:
        text = f"the tokens {text}" if many and strong > 1 else f"the token {text}"
    mean = float(levels.mean()) if len(levels) else 0.0
    return f"any token, but stronger on {text}" if rule.other >= ELSEWHERE * mean else text


def tokens_listed(values: Sequence[int], most: int, words: Words) -> str:
    """Tokens joined by commas and "or", no more than `most`; the others are counted."""
    if most == 0:
        return f"{len(values)} {'others' if len(values) > 1 else 'other'}"
    names = [words.token(value) for value in values[:most]]
    if len(values) > most:
        return f"{', '.join(names)} and {len(values) - most} more"
    return either(names)


def either(names: Sequence[str]) -> str:
    """Names joined by commas and "or"."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _cells(rule: Rule, name: Callable[[list[int]], str]) -> str:
    """A table that lists every value: the strong ones are named."""
    levels = np.array(rule.levels)
    strong = levels >= WEAKER * levels.max()
    text = name(np.array(rule.values)[strong].tolist())
    if strong.all():  # every value is strong, so only the strongest can be said to stand out
        return f"any token, but strongest on {name([rule.values[int(levels.argmax())]])}"
    rest = float(levels[~strong].max())
    return f"any token, but stronger on {text}" if rest >= ELSEWHERE * levels.max() else text


def _positions(cells: list[int]) -> str:
    parts = ["the first token of a context"] if cells[0] == 0 else []
    eighths = [cell for cell in cells if cell]
    for _, run in groupby(enumerate(eighths), lambda pair: pair[1] - pair[0]):
        ends = [cell for _, cell in run]
        where = f"eighth {ends[0]}" if len(ends) == 1 else f"eighths {ends[0]} to {ends[-1]}"
        parts.append(f"a token in {where} of its context")
    return either(parts)


def _corpora(cells: list[int], words: Words) -> str:
    return f"a token of {either([words.corpus(cell) for cell in cells])}"


# -------------------------------------------------------------------------------- the gate


def _gate(gate: Gate, words: Words) -> str:
    """What the gate adds: where the tokens that the table names are expected to be strong."""
    holds = gate.inside >= gate.outside
    strong, weak = max(gate.inside, gate.outside), min(gate.inside, gate.outside)
    text = _condition(gate, holds, words)
    return f", more strongly {text}" if weak >= ELSEWHERE * strong else f", {text}"


def _condition(gate: Gate, holds: bool, words: Words) -> str:
    no = "" if holds else "not "
    if gate.attribute == "line":
        return f"{no}at the start of a line"
    if gate.attribute == "before":
        return f"{no}after {tokens_listed(gate.values, LISTED_GATE, words)}"
    if gate.attribute == "position":
        cell = gate.values[0]
        return f"{no}in eighth {cell} of its context" if cell else f"{no}first in its context"
    if gate.attribute == "corpus":
        name = words.corpus(gate.values[0])
        return f"in {name}" if holds else f"outside {name}"
    phrase = _phrase(gate.attribute)
    if gate.attribute.startswith(CLASS):
        return f"if it is {no}{phrase}"
    return f"{no}after {phrase}"
