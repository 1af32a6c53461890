"""What is kept of a server's answer."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from services.analyzer.explain.language_model.feature_answers import Reason
from services.analyzer.explain.language_model.reply import Reply, expected_digits, read_reply
from tests.support.fake_services.language_model import entry


def completion(content: Any, **choice: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": content}, "finish_reason": "stop", **choice}]}


def test_the_expected_value_is_the_mean_over_the_digits_that_were_possible() -> None:
    random = np.random.default_rng(0)
    weights = random.dirichlet(np.ones(11))
    listed = {str(digit): float(weights[digit]) for digit in range(10)}
    logprobs = {"content": [entry(":"), entry(" "), entry("4", listed | {"x": float(weights[10])})]}

    found = expected_digits(": 4", logprobs)

    exact = float(np.arange(10) @ (weights[:10] / weights[:10].sum()))
    assert found == {2: pytest.approx(exact, abs=1e-12)}


def test_a_digit_with_a_space_is_the_same_digit_and_a_number_above_nine_is_none() -> None:
    alternatives = {" 2": 0.5, "2": 0.25, "4": 0.125, "12": 0.125}
    found = expected_digits("1: 2", {"content": [entry("1:"), entry(" 2", alternatives)]})
    assert found == {0: pytest.approx(1.0), 3: pytest.approx((0.75 * 2 + 0.125 * 4) / 0.875)}


def test_tokens_around_the_text_do_not_shift_it() -> None:
    logprobs = {"content": [entry("\n\n"), entry("7", {"7": 0.5, "9": 0.5}), entry("<|end|>")]}
    assert expected_digits("7", logprobs) == {0: pytest.approx(8.0)}


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        [],
        {"content": None},
        {"content": ["7"]},
        {"content": [{"token": 7, "logprob": -1}]},
        {"content": [entry("8")]},  # another text
        {"content": [{"token": "7", "logprob": float("nan")}]},
        {"content": [{"token": "7", "logprob": 5.0}]},
        {"content": [{"token": "7", "logprob": "0"}]},
        {"content": [{"token": "7", "logprob": -math.inf}]},
        {"content": [entry("7", {"7": 0.9, "6": 0.9})]},  # no probabilities
    ],
)
def test_log_probabilities_that_make_no_sense_give_no_expected_value(logprobs: Any) -> None:
    assert expected_digits("7", logprobs) == {}


def test_a_reply_comes_back_from_what_is_kept() -> None:
    reply = Reply("1: 7\ud800é", 12, True, None, {3: 6.123456789012345})
    line = json.dumps(reply.to_json())
    assert line.isascii()
    assert Reply.from_json(json.loads(line)) == reply


def test_tokens_are_those_that_the_server_counted() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 23, "total_tokens": 5}
    reply = read_reply(json.dumps(completion("a") | {"usage": usage}).encode(), 7000)
    assert (reply.tokens, reply.estimated) == (123, False)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        "many",
        {"prompt_tokens": -5, "completion_tokens": 1},
        {"prompt_tokens": 1.5, "completion_tokens": 1},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": 10**30, "completion_tokens": 1},
        {"prompt_tokens": 0, "completion_tokens": 0},
    ],
)
def test_tokens_that_the_server_did_not_count_are_estimated_and_said_so(usage: Any) -> None:
    reply = read_reply(json.dumps(completion("a" * 350) | {"usage": usage}).encode(), 7000)
    assert (reply.tokens, reply.estimated) == (2100, True)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.BROKEN),
        (b"<html>504</html>", Reason.BROKEN),
        (b"\xff\xfe\x00", Reason.BROKEN),
        (b"[" * 100_000, Reason.BROKEN),
        (b"null", Reason.BROKEN),
        (b"[]", Reason.BROKEN),
        (b'{"choices": []}', Reason.BROKEN),
        (b'{"choices": {"0": 1}}', Reason.BROKEN),
        (b'{"choices": [7]}', Reason.BROKEN),
        (b'{"choices": [{"message": null}]}', Reason.BROKEN),
        (json.dumps(completion(["a"])).encode(), Reason.BROKEN),
        (json.dumps(completion(5)).encode(), Reason.BROKEN),
        (json.dumps(completion("x" * 200_000)).encode(), Reason.LONG),
        (json.dumps(completion("1: 7", finish_reason="length")).encode(), Reason.CUT),
        (json.dumps(completion("", finish_reason="content_filter")).encode(), Reason.REFUSED),
        (
            json.dumps(completion(None, message={"content": None, "refusal": "no"})).encode(),
            Reason.REFUSED,
        ),
        (json.dumps(completion("", finish_reason=["a"])).encode(), None),
        (json.dumps(completion(None)).encode(), None),
    ],
)
def test_what_is_no_answer_is_broken_and_nothing_of_it_is_kept(
    data: bytes, reason: Reason | None
) -> None:
    reply = read_reply(data, 100)
    assert reply.broken == reason
    assert reply.text == ""
    assert reply.tokens > 0
