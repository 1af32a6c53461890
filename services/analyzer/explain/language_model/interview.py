"""What is asked about one feature, and what comes of the answers.

First an explanation; with it the level of every token of each held-out window, then verdicts on
batches of windows. A broken answer ends only its own kind of question.

W: held-out windows of one feature, K: tokens of a window.
"""

from __future__ import annotations

from collections import deque
from functools import cached_property

import numpy as np
import numpy.typing as npt

from services.analyzer.explain.language_model import prompts
from services.analyzer.explain.language_model.excerpts import Examples, HeldOutWindows
from services.analyzer.explain.language_model.feature_answers import FeatureAnswers, Reason
from services.analyzer.explain.language_model.parsing import (
    LONGEST,
    Unreadable,
    read_explanation,
    read_levels,
    read_verdicts,
)
from services.analyzer.explain.language_model.questions import (
    THINKING,
    VERDICTS,
    Kind,
    Question,
)
from services.analyzer.explain.language_model.reply import Reply

BATCH = 5  # windows that are judged by one request
EXPLANATION, LINE = 80, 6  # tokens of an explanation, and of the line for an item


class Interview:
    """The questions about one feature; their answers may come in any order.

    `left` counts the questions that have no outcome yet, those included that an explanation will
    lead to.
    """

    def __init__(self, number: int, examples: Examples, windows: HeldOutWindows, seed: int) -> None:
        self._number = number
        self._examples = examples
        self._windows = windows
        self._explanation: str | None = None
        self._failures: dict[Kind, Reason] = {}
        self._ready: deque[Question] = deque()
        count, tokens = windows.marks_WK.shape
        self._levels_WK = np.zeros((count, tokens), np.float32)
        self._yes_W = {kind: np.zeros(count, bool) for kind in VERDICTS}
        # Windows in which the feature fires come first: their order must not give that away.
        order_W = np.random.default_rng((seed, examples.feature)).permutation(count)
        marked_W = np.asarray(windows.marks_WK.any(axis=1))
        self._batches = {
            Kind.DETECT: _batches(order_W),
            Kind.FUZZ: _batches(order_W[marked_W[order_W]]),
        }
        self.requests: int = 1 + count + sum(map(len, self._batches.values()))
        self.left: int = self.requests

    @cached_property
    def tokens(self) -> int:
        """Tokens of all questions and their answers, about."""
        later = self._about("x" * LONGEST)
        return self._first().expects + sum(question.expects for question in later)

    def begin(self) -> None:
        """Make the first question ready."""
        self._ready.append(self._first())

    @property
    def has_ready(self) -> bool:
        """True when there is a question that can be asked now."""
        return bool(self._ready)

    def next(self) -> Question | None:
        """The next question that can be asked now, and whose answer is of use."""
        while self._ready:
            question = self._ready.popleft()
            if question.kind not in self._failures:
                return question
            self.left -= 1
        return None

    def take(self, question: Question, reply: Reply) -> None:
        """Read an answer; an explanation makes the questions about it ready."""
        try:
            if reply.broken is not None:
                raise Unreadable(Reason(reply.broken))
            self._read(question, reply)
        except Unreadable as error:
            self.fail(question, error.reason)
        else:
            self.left -= 1

    def fail(self, question: Question, reason: Reason) -> None:
        """There will be no answer to the question that could be used."""
        self._failures.setdefault(question.kind, reason)
        self.left = 0 if question.kind is Kind.EXPLAIN else self.left - 1

    def _first(self) -> Question:
        messages = prompts.explain(self._examples.texts_EK, self._examples.levels_EK)
        return self._question(Kind.EXPLAIN, (), messages, EXPLANATION)

    def _read(self, question: Question, reply: Reply) -> None:
        windows = list(question.windows)
        match question.kind:
            case Kind.EXPLAIN:
                self._explanation = read_explanation(reply.text)
                self._ready.extend(self._about(self._explanation))
            case Kind.SIMULATE:
                tokens = self._levels_WK.shape[1]
                self._levels_WK[windows[0]] = read_levels(reply.text, tokens, reply.expected)
            case Kind.DETECT | Kind.FUZZ:
                self._yes_W[question.kind][windows] = read_verdicts(reply.text, len(windows))

    def _about(self, explanation: str) -> list[Question]:
        """All questions about an explanation, in order."""
        texts, marks = self._windows.texts_WK, self._windows.marks_WK
        tokens = self._levels_WK.shape[1]
        questions = [
            self._question(
                Kind.SIMULATE, (number,), prompts.simulate(explanation, text), LINE * tokens
            )
            for number, text in enumerate(texts)
        ]
        for batch in self._batches[Kind.DETECT]:
            messages = prompts.detect(explanation, [texts[number] for number in batch])
            questions.append(self._question(Kind.DETECT, batch, messages, LINE * len(batch)))
        for batch in self._batches[Kind.FUZZ]:
            shown = [texts[number] for number in batch]
            messages = prompts.fuzz(explanation, shown, [marks[number] for number in batch])
            questions.append(self._question(Kind.FUZZ, batch, messages, LINE * len(batch)))
        return questions

    def _question(
        self, kind: Kind, windows: tuple[int, ...], messages: prompts.Messages, answer: int
    ) -> Question:
        return Question(self._number, kind, windows, messages, answer + THINKING)

    def result(self) -> FeatureAnswers:
        """What is known of the feature once nothing is asked any more.

        Of a feature that was not asked all, only the explanation: scores over some of the windows
        would be others than those of the rest.
        """
        cut = self.left > 0
        whole = self._explanation is not None and not cut
        reasons = [Reason.BUDGET] if cut else [self._failures[k] for k in sorted(self._failures)]
        simulated = whole and Kind.SIMULATE not in self._failures
        return FeatureAnswers(
            feature=self._examples.feature,
            explanation=self._explanation,
            predicted_WK=self._levels_WK if simulated else None,
            verdicts={
                score: self._verdicts(kind) if whole else None for kind, score in VERDICTS.items()
            },
            failure=reasons[0].value if reasons else None,
        )

    def _verdicts(self, kind: Kind) -> npt.NDArray[np.bool_] | None:
        """The answers [W] to one kind of question; None where none was asked, or one failed."""
        known = kind not in self._failures and self._batches[kind]
        return self._yes_W[kind] if known else None


def _batches(order_W: npt.NDArray[np.int64]) -> list[tuple[int, ...]]:
    numbers = order_W.tolist()
    return [tuple(numbers[at : at + BATCH]) for at in range(0, len(numbers), BATCH)]
