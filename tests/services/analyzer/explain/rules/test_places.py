"""Attributes of tokens and their places, as rules ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from services.analyzer.explain.rules import Gate, Rule
from services.analyzer.explain.rules.places import values_at
from shared.data.token_stream import HeldOut


def at(attribute: str, texts: Sequence[str], tokens: Sequence[int]) -> list[Any]:
    stream = HeldOut(np.array([tokens]), np.zeros(1, np.int64))
    return values_at(attribute, stream, texts, np.arange(len(tokens))).tolist()


def test_lines_start_after_a_break_and_nothing_but_white_space() -> None:
    texts = ["x", "\n", "  ", "):\n    ", "\nfoo", "\t", ""]
    assert at("line", texts, [0, 1, 0, 0]) == [0, 0, 1, 0]
    assert at("line", texts, [0, 1, 2, 5, 2, 0, 2, 0]) == [0, 0, 0, 0, 0, 1, 0, 0]
    assert at("line", texts, [0, 3, 0]) == [0, 0, 1]
    assert at("line", texts, [4, 0, 3, 4]) == [1, 0, 0, 1]
    assert at("line", texts, [2, 0, 1, 1, 0]) == [0, 0, 0, 0, 1]
    # A token that ends a line and holds words starts one only if it is first in it.
    assert at("line", texts, [1, 3, 0]) == [0, 1, 1]


def test_positions_are_the_first_token_and_eighths() -> None:
    assert at("position", ["x"], [0] * 16) == [0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8]
    assert at("position", ["x"], [0, 0, 0]) == [0, 3, 6]


def test_the_token_before_stays_in_its_context() -> None:
    stream = HeldOut(np.array([[1, 2], [3, 4]]), np.array([0, 5]))
    assert values_at("before", stream, [], np.array([[0, 1], [2, 3]])).tolist() == [
        [-1, 1],
        [-1, 3],
    ]
    assert values_at("corpus", stream, [], np.arange(4)).tolist() == [0, 0, 5, 5]


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("digits", ["7", " 42"], ["a7", "", " ", "\\xe2"]),
        ("capitalised", [" The", "A"], ["the", "HTML", "T2"]),
        ("capitals", [" HTML"], ["A", "Html", "42"]),
        ("lower", [" the", "x"], ["The", "x_y", "4"]),
        ("underscore", ["my_name", "_"], ["-", "name"]),
        ("camel", ["getName"], ["GetX Y", "name", "Name"]),
        ("punctuation", [").", " ++"], ["a.", " ", ""]),
        ("operator", [" ==", "!="], ["(", "=a", ""]),
        ("opening", [" (", "f("], [")", "( "[:0]]),
        ("quote", ['"', "('"], ["a", ""]),
        ("newline", ["\n", "x\n"], [" ", "\\n"]),
        ("space", ["  ", "\t"], ["\n", "", "a "]),
        ("starts_word", [" word"], ["word", " 5", " "]),
        ("continues", ["word"], [" word", "5"]),
        ("special", ["<|endoftext|>", "</s>", "<s>"], ["<", "< a >", "a"]),
        ("ends_ing", [" going"], ["ing", "goings"]),
        ("non_ascii", ["é"], ["e", ""]),
    ],
)
def test_classes_hold_what_they_say(name: str, inside: list[str], outside: list[str]) -> None:
    assert at(f"class:{name}", inside, range(len(inside))) == [1] * len(inside)
    assert at(f"class:{name}", outside, range(len(outside))) == [0] * len(outside)


def test_a_rule_of_an_unknown_attribute_is_refused() -> None:
    stream = HeldOut(np.zeros((1, 2), np.int64), np.zeros(1, np.int64))
    for name in ("class:nothing", "colour", "class_after:digits"):
        rule = Rule("?", name, (1,), (1.0,), 0.0, 0.5, Gate("line", (1,), 1, 0, 0, 0))
        with pytest.raises(ValueError, match="no rule asks for"):
            rule.simulate(stream, [], np.arange(2))
