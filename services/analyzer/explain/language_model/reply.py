"""One answer of the server, reduced to what is used of it; nothing that it sends is trusted."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.analyzer.explain.language_model.feature_answers import Reason

LONGEST_TEXT = 20_000  # characters
MOST_TOKENS = 10_000_000  # of one answer; a server that counts more has not counted
DIGITS = "0123456789"
CHARACTERS_PER_TOKEN = 3.5  # an estimate, where the server does not count
# What servers write for a finish that was no free choice of the model.
_FINISHES = {"length": Reason.CUT, "content_filter": Reason.REFUSED}


@dataclass(frozen=True)
class Reply:
    """What a server answered. `broken` is a Reason, or None for an answer that can be read.

    `expected` gives the expected value of an answered digit by its place in `text`. `tokens` are
    prompt and completion together; `estimated` says that the server did not tell.
    """

    text: str
    tokens: int
    estimated: bool = False
    broken: str | None = None
    expected: Mapping[int, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What a line of the answer store holds."""
        values: dict[str, Any] = {"text": self.text, "tokens": self.tokens}
        if self.estimated:
            values["estimated"] = True
        if self.broken is not None:
            values["broken"] = self.broken
        if self.expected:
            values["expected"] = sorted(self.expected.items())
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Reply:
        """The reply that a line holds."""
        return cls(
            text=values["text"],
            tokens=values["tokens"],
            estimated=values.get("estimated", False),
            broken=values.get("broken"),
            expected={int(place): float(value) for place, value in values.get("expected", [])},
        )


def read_reply(data: bytes, prompt: int) -> Reply:
    """The reply in the body of an answer to a prompt of `prompt` characters; it never raises."""
    try:
        whole = json.loads(data)
        choice = whole["choices"][0]
        message = choice["message"]
        content, refusal = message.get("content"), message.get("refusal")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return Reply("", estimate(prompt, 0), estimated=True, broken=Reason.BROKEN)
    text = content if isinstance(content, str) else ""
    tokens = _tokens(whole.get("usage"))
    broken = _FINISHES.get(str(choice.get("finish_reason")))
    if content is not None and not isinstance(content, str):
        broken = Reason.BROKEN
    elif refusal and not text:
        broken = Reason.REFUSED
    elif len(text) > LONGEST_TEXT:
        broken = Reason.LONG
    return Reply(
        text="" if broken else text,
        tokens=estimate(prompt, len(text)) if tokens is None else tokens,
        estimated=tokens is None,
        broken=broken,
        expected={} if broken else expected_digits(text, choice.get("logprobs")),
    )


def estimate(prompt: int, answer: int) -> int:
    """Tokens of a prompt and an answer with so many characters, about."""
    return math.ceil((prompt + answer) / CHARACTERS_PER_TOKEN)


def _tokens(usage: Any) -> int | None:
    """Prompt and completion tokens as the server counted them; None when it did not."""
    if not isinstance(usage, dict):
        return None
    counts = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
    if not all(type(count) is int and 0 <= count <= MOST_TOKENS for count in counts):
        return None
    return sum(count for count in counts if count is not None) or None


def expected_digits(text: str, logprobs: Any) -> dict[int, float]:
    """The expected value of each token that is one digit, by the digit's place in the text.

    The mean over the alternatives that are digits 0..9, weighted by their probabilities, which are
    made to sum to one (Bills et al. 2023, "Language models can explain neurons in language
    models", simulate so). Where the server's tokens do not make up the text, or its numbers are no
    probabilities, there is none.
    """
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return {}
    tokens = [str(entry.get("token")) for entry in content if isinstance(entry, dict)]
    if len(tokens) < len(content):
        return {}
    shift = "".join(tokens).find(text)
    if shift < 0:
        return {}
    found: dict[int, float] = {}
    place = -shift
    for token, entry in zip(tokens, content, strict=True):
        if _digit(token) is not None:
            value = _expectation(entry)
            if value is not None:
                found[place + token.index(token.strip(" \t\n:"))] = value
        place += len(token)
    return found


def _expectation(entry: Mapping[str, Any]) -> float | None:
    mass = [0.0] * 10
    for token, probability in _alternatives(entry):
        digit = _digit(token)
        if digit is not None:
            mass[digit] += probability
    total = math.fsum(mass)
    if not 0 < total <= 1.01:  # rounding of a server, no more
        return None
    return math.fsum(digit * weight for digit, weight in enumerate(mass)) / total


def _alternatives(entry: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The answered token and its alternatives, each once, with their probabilities."""
    listed = entry.get("top_logprobs")
    seen = set()
    for one in (*(listed if isinstance(listed, list) else ()), entry):
        token = one.get("token") if isinstance(one, dict) else None
        value = one.get("logprob") if isinstance(one, dict) else None
        if not isinstance(token, str) or token in seen:
            continue
        if isinstance(value, int | float) and value <= 1e-3:  # NaN is not
            seen.add(token)
            yield token, math.exp(value)


def _digit(token: str) -> int | None:
    bare = token.strip(" \t\n:")
    return int(bare) if len(bare) == 1 and bare in DIGITS else None
