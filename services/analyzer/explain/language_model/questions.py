"""One request to the language model: what is asked, of which windows, and how much it may cost."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import IntEnum

from services.analyzer.explain.language_model.prompts import Messages
from services.analyzer.explain.language_model.reply import estimate

# Tokens that an answer may take above what its form needs: some models think aloud.
THINKING = 1000


class Kind(IntEnum):
    """Kinds of questions, in the order in which they are asked."""

    EXPLAIN = 0
    SIMULATE = 1
    DETECT = 2
    FUZZ = 3


VERDICTS = {Kind.DETECT: "detection", Kind.FUZZ: "fuzzing"}
"""The score that each kind of yes-or-no question is asked for."""


@dataclass(frozen=True)
class Question:
    """One request: `windows` are those that it is about, `room` the tokens an answer may take."""

    feature: int  # place among those that are asked about
    kind: Kind
    windows: tuple[int, ...]
    messages: Messages
    room: int

    @property
    def key(self) -> str:
        """The sha256 (hex) of what is asked, without the names that are settings."""
        body = json.dumps([self.messages, self.room, int(self.kind)], separators=(",", ":"))
        return hashlib.sha256(body.encode()).hexdigest()

    @property
    def expects(self) -> int:
        """Tokens of the prompt and of an answer that does not think aloud, about."""
        prompt = sum(len(message["content"]) for message in self.messages)
        return estimate(prompt, 0) + self.room - THINKING
