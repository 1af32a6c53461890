"""Rules in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from services.analyzer.explain.rules import Gate, Rule
from services.analyzer.explain.rules.wording import Words, worded
from shared.lineage.explanations.shown import name_corpora

WORDS = Words(
    ["\n", " a", "b", "\t", "\x1b[31m", "`", "\u202e", "x" * 60, *map(str, range(8, 40))], []
)


def said(attribute: str, values: Sequence[int], levels: Sequence[float], **more: Any) -> str:
    given = {"other": 0.0, "correlation": 0.5, "gate": None} | more
    return worded(Rule("", attribute, tuple(values), tuple(levels), **given), WORDS).text


def test_tokens_are_shown_on_one_line_with_nothing_invisible() -> None:
    text = said("token", range(8), [9.0, 8, 8, 8, 8, 8, 8, 8])
    assert text == (
        "the tokens `↵`, `·a`, `b`, `⇥`, `\\x1b[31m`, ```, `\\u202e` or `xxxxxxxxxxxxxxxxxxxxxxx…`"
    )


def test_levels_are_said_only_where_they_differ_much() -> None:
    assert said("token", [0, 1], [5.0, 4.0]) == "the tokens `↵` or `·a`"
    assert said("token", [0, 1], [1.0, 4.0]) == "the token `·a`, weaker on `↵`"
    assert said("before", [0, 1, 2], [1.0, 4.0, 4]) == "a token after `·a` or `b`, weaker after `↵`"


def test_long_lists_are_counted() -> None:
    text = said("token", range(8, 38), [2.0] * 30)
    assert text.endswith("`18`, `19` and 18 more")
    assert said("before", range(8, 28), [2.0] * 13 + [0.5] * 7).endswith(
        "`18`, `19` and 1 more, weaker after 7 others"
    )
    gate = Gate("before", tuple(range(8, 20)), 1, 0, 0, 0)
    assert said("token", [2], [2.0], gate=gate).endswith("`12`, `13` and 6 more")
    mixed = said("token", range(8, 38), [2.0] * 10 + [0.5] * 20)
    assert mixed.endswith("`16` or `17`, weaker on `18`, `19` and 18 more")


def test_a_rule_claims_silence_elsewhere_only_where_the_feature_is_nearly_silent() -> None:
    assert said("token", [1], [2.0], other=1.0) == "any token, but stronger on the token `·a`"
    assert said("class:digits", [1], [0.2], other=3.0) == "a token that is not a number"
    assert said("class:digits", [1], [2.0], other=3.0) == (
        "any token, but stronger on a token that is not a number"
    )
    assert said("line", [1], [0.0], other=1.0) == "a token that is not the first of a line"
    assert said("corpus", [0, 1], [1.0, 0.9]) == "any token, but strongest on a token of corpus #0"
    assert said("position", range(9), [1, 0, 1, 1, 1, 0, 0, 0, 1]) == (
        "the first token of a context, a token in eighths 2 to 4 of its context or "
        "a token in eighth 8 of its context"
    )


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        (Gate("line", (1,), 1, 0.1, 0, 0), ", at the start of a line"),
        (Gate("line", (1,), 1, 0.5, 0, 0), ", more strongly at the start of a line"),
        (Gate("line", (1,), 0.1, 1, 0, 0), ", not at the start of a line"),
        (Gate("before", (1, 0), 1, 0, 0, 0), ", after `·a` or `↵`"),
        (Gate("position", (0,), 1, 0, 0, 0), ", first in its context"),
        (Gate("position", (3,), 0, 1, 0, 0), ", not in eighth 3 of its context"),
        (Gate("corpus", (7,), 1, 0, 0, 0), ", in corpus #7"),
        (Gate("corpus", (7,), 0, 1, 0, 0), ", outside corpus #7"),
        (Gate("class:digits", (1,), 1, 0, 0, 0), ", if it is a number"),
        (Gate("class_before:digits", (1,), 0, 1, 0, 0), ", not after a number"),
    ],
)
def test_a_gate_says_where_the_table_is_strong(gate: Gate, words: str) -> None:
    assert said("token", [2], [1.0], gate=gate) == "the token `b`" + words


def test_corpora_take_their_names_later_and_tokens_keep_theirs() -> None:
    words = Words(["corpus #0"], [])
    gate = Gate("corpus", (1,), 1, 0, 0, 0)
    text = worded(Rule("", "token", (0,), (1.0,), 0.0, 0.5, gate), words).text
    assert text == "the token `corpus·#0`, in corpus #1"
    assert name_corpora(text, ["a", "stories"]) == "the token `corpus·#0`, in corpus stories"
    assert name_corpora(text, ["a"]) == text
    assert said("corpus", [0, 1, 2], [1.0, 0.9, 0.1]) == "a token of corpus #0 or corpus #1"
