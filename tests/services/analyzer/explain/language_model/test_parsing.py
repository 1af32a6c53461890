"""Answers of a language model: what is read from them, and what is refused."""

from __future__ import annotations

import json

import pytest

from services.analyzer.explain.language_model.feature_answers import Reason
from services.analyzer.explain.language_model.parsing import (
    Unreadable,
    read_explanation,
    read_levels,
    read_verdicts,
)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("Active on names of cats.", "Active on names of cats."),
        ("  Explanation: names of cats\n", "names of cats"),
        ("**Explanation:** names of cats", "names of cats"),
        ('"names of cats"', "names of cats"),
        ("**names of cats**", "names of cats"),
        ('{"explanation": "names of cats"}', "names of cats"),
        ('```json\n{"explanation": "names of cats"}\n```', "names of cats"),
        ("<think>cats? 9: dogs</think>\n\nnames of cats", "names of cats"),
        ("names\nof \t cats", "names of cats"),
        ("names\x00 of\x1b[31m cats\u202e\u200b\ud800", "names of[31m cats"),
        ("the tokens ` cat` or ` dog`", "the tokens ` cat` or ` dog`"),
        ('"the" and "a"', '"the" and "a"'),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("x" * 200, "x" * 200),
    ],
)
def test_a_sentence_is_read_from_what_stands_around_it(answer: str, sentence: str) -> None:
    assert read_explanation(answer) == sentence


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", Reason.EMPTY),
        (" \n\x00\u202e", Reason.EMPTY),
        ("...!", Reason.EMPTY),
        ("Explanation:", Reason.EMPTY),
        ('{"explanation": ""}', Reason.EMPTY),
        ("x" * 201, Reason.LONG),
        ("word " * 40_000, Reason.LONG),
        ("<think>I wonder", Reason.CUT),
        ('{"explanation": ', Reason.UNREADABLE),
        ('{"explanation": null}', Reason.UNREADABLE),
        ('{"explanation": ["cats"]}', Reason.UNREADABLE),
        ('{"a": "cats", "b": "dogs"}', Reason.UNREADABLE),
        ('{"a":' * 9000, Reason.UNREADABLE),
    ],
)
def test_what_is_no_short_sentence_is_refused(answer: str, reason: Reason) -> None:
    with pytest.raises(Unreadable) as error:
        read_explanation(answer)
    assert error.value.reason == reason


@pytest.mark.parametrize(
    "answer",
    [
        "1: 0\n2: 9\n3: 4",
        "1:0\r\n2:9\r\n3:4\r\n",
        "3: 4\n1: 0\n2: 9",
        "Here are the levels of the 3 tokens:\n\n1: 0\n2: 9\n3: 4\n\nI hope that this helps!",
        "```\n1: 0\n2: 9\n3: 4\n```",
        "<think>1: 9\n2: 9\n3: 9</think>1: 0\n2: 9\n3: 4",
        '1: " the": 0\n2: " 7": 9\n3: "\\" 8": 4',
        '1\t" the"\t0\n2\t" 7"\t9\n3\t"x"\t4',
        "1. 0\n2. 9\n3. 4",
        "- 1: 0\n- 2: **9**\n- 3: 4.",
        "1: 0 (silent)\n2: 9 (the token itself)\n3: 4",
        "1: 0, 2: 9, 3: 4",
        "[0, 9, 4]",
        '{"1": 0, "2": 9, "3": 4}',
        '{"1": "0", "2": "9", "3": "4"}',
        "1: 0.0\n2: 9.0\n3: 4",
    ],
)
def test_levels_are_read_from_lines_lists_and_objects(answer: str) -> None:
    assert read_levels(answer, 3, {}) == [0, 9, 4]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "0 9 4",
        "I cannot do that.",
        "1: 0\n2: 9",
        "1: 0\n2: 9\n3: 4\n4: 1",
        "0: 1\n1: 0\n2: 9\n3: 4",
        "1: 0\n2: 9\n2: 8\n3: 4",
        "1: 0\n2: 9\n3: 4\n3: 4",
        "1: 0\n2: NaN\n3: 4",
        "1: 0\n2: 10\n3: 4",
        "1: 0\n2: -1\n3: 4",
        "1: 0\n2: −1\n3: 4",
        "1: 0\n2: 1e400\n3: 4",
        "1: 0\n2: Infinity\n3: 4",
        "1: 0\n2: 7/9\n3: 4",
        "1: 0\n2: 7 out of 9\n3: 4",
        "1: 0\n2: v2\n3: 4",
        "1: 0\n2: 90%\n3: 4",
        "1: 0\n2: \n3: 4",
        "1: 0\n2: ٣\n3: 4",
        "[0, 9]",
        "[0, 9, 4, 1]",
        "[0, 9, NaN]",
        "[[0, 9, 4]]",
        "[" * 9000,
        '{"levels": [0, 9, 4]',
        "9" * 5000,
        "1: " + "9" * 5000,
        "<think>1: 0\n2: 9\n3: 4",
    ],
)
def test_levels_that_are_not_clear_are_refused(answer: str) -> None:
    with pytest.raises(Unreadable):
        read_levels(answer, 3, {})


@pytest.mark.parametrize(
    "answer", ["1: 0\n2: 9", "well:\n1: 0\n2: 9", "[0, 9]", '1: "a": 0\n2: "b": 9', "1: 0, 2: 9"]
)
def test_an_expected_value_takes_the_place_of_the_digit_that_was_answered(answer: str) -> None:
    place = answer.rindex("9")
    assert read_levels(answer, 2, {place: 7.25}) == [0, 7.25]


@pytest.mark.parametrize(
    "answer",
    [
        "1: yes\n2: no\n3: yes",
        "1: Yes.\n2: No.\n3: YES",
        "1: yes, the cat\n2: no, it is a dog\n3: yes",
        '1: "no cat": yes\n2: "x": no\n3: "y": yes',
        "1: 1\n2: 0\n3: 1",
        "1: true\n2: false\n3: true",
        "[1, 0, 1]",
        '["yes", "no", "yes"]',
        '{"1": "yes", "2": "no", "3": "yes"}',
        "Sure:\n1. yes\n2. no\n3. yes",
    ],
)
def test_verdicts_are_read_from_lines_lists_and_objects(answer: str) -> None:
    assert read_verdicts(answer, 3) == [True, False, True]


@pytest.mark.parametrize(
    "answer",
    [
        "yes\nno\nyes",
        "1: yes\n2: no",
        "1: yes\n2: maybe\n3: yes",
        "1: yes\n2: yes or no\n3: yes",
        "1: yes\n2: 2\n3: yes",
        "1: yes\n2: no\n3: yes\n4: yes",
        "1: yes\n2: no\n2: yes\n3: yes",
    ],
)
def test_verdicts_that_are_not_clear_are_refused(answer: str) -> None:
    with pytest.raises(Unreadable):
        read_verdicts(answer, 3)


@pytest.mark.parametrize(
    "piece", ['"', "\\", '1: "', "[", "{", " ", "\n1", "9", "1: 0,", "*", "- "]
)
def test_a_long_answer_takes_no_long_time(piece: str) -> None:
    answer = (piece * 20_000)[:20_000]
    for reading in (lambda: read_levels(answer, 32, {}), lambda: read_verdicts(answer, 5)):
        with pytest.raises(Unreadable):
            reading()


def test_json_of_the_right_form_round_trips() -> None:
    levels = [float(number % 10) for number in range(32)]
    assert read_levels(json.dumps(levels), 32, {}) == levels
