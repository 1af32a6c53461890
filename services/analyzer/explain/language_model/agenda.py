"""Which question comes next: features in order, none begun that the budget could not finish."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from services.analyzer.explain.language_model.answer_store import AnswerStore
from services.analyzer.explain.language_model.feature_answers import Reason
from services.analyzer.explain.language_model.interview import Interview
from services.analyzer.explain.language_model.questions import Question
from services.analyzer.explain.language_model.reply import Reply
from shared.stages.explain import LanguageModel

GIVE_UP = 3  # times that the server went away on the very last requests


class Agenda:
    """All interviews of a stage. Questions are handed out once, and each outcome reported once.

    A question that was answered in an earlier attempt is answered from the store. One that the
    server fails goes last: if it fails again while others are answered, it is the question's fault.
    """

    def __init__(
        self, interviews: Sequence[Interview], model: LanguageModel, store: AnswerStore
    ) -> None:
        self._interviews = interviews
        self._model = model
        self._store = store
        self._begun = 0
        self._open: list[Interview] = []
        self._later: deque[Question] = deque()
        self._failed_at: dict[str, float] = {}  # by key: when it first failed in this attempt
        self._answered_at = float("-inf")
        self._under_way: dict[str, list[Question]] = {}  # by key; two windows may be the same text
        self._used: set[str] = set()  # keys whose answers were used in this attempt
        self._used_tokens = 0
        self._ratio = 1.0  # the worst of tokens over tokens expected
        self._over = False

    @property
    def _lives(self) -> bool:
        """The server has answered in this attempt."""
        return self._answered_at > float("-inf")

    @property
    def done(self) -> int:
        """Features of which nothing is left to ask."""
        return sum(interview.left <= 0 for interview in self._interviews[: self._begun])

    def next(self) -> Question | None:
        """The next question to send; None while all wait for answers, and at the end."""
        while (question := self._candidate()) is not None:
            key = question.key
            if key in self._store.replies:
                self._deliver(question, key, self._store.replies[key])
            elif key in self._under_way:
                self._under_way[key].append(question)
            elif self._store.away[key] and self._others():
                self._failed_at[key] = time.monotonic()
                self._later.append(question)
            elif self._store.away[key] >= GIVE_UP and not self._lives:
                self._fail(question)
            elif self._affordable(question):
                self._under_way[key] = [question]
                return question
            else:
                self._over = True
        return None

    def answered(self, key: str, reply: Reply) -> None:
        """A question that was handed out has its answer."""
        self._answered_at = time.monotonic()
        for question in self._under_way.pop(key):
            self._deliver(question, key, reply)

    def failed(self, key: str, since: float) -> None:
        """The server failed a question several times, first at `since`.

        It goes last. If it fails again, and others were answered since, it always will.
        """
        lost = self._answered_at > self._failed_at.get(key, float("inf"))
        self._failed_at.setdefault(key, since)
        for question in self._under_way.pop(key):
            if lost:
                self._fail(question)
            else:
                self._later.append(question)

    def unanswered(self) -> set[str]:
        """Keys of questions that were handed out, or failed, and have no answer."""
        return {*self._under_way, *(question.key for question in self._later)}

    # ------------------------------------------------------------------------- outcomes

    def _deliver(self, question: Question, key: str, reply: Reply) -> None:
        if key not in self._used:
            self._used.add(key)
            self._used_tokens += reply.tokens
            self._ratio = max(self._ratio, reply.tokens / question.expects)
        self._interviews[question.feature].take(question, reply)

    def _fail(self, question: Question) -> None:
        self._interviews[question.feature].fail(question, Reason.SILENT)

    # ---------------------------------------------------------------------------- order

    def _candidate(self) -> Question | None:
        question = self._ready() or self._first_of_next()
        if question is None and self._later and not self._under_way:
            return self._later.popleft()
        return question

    def _ready(self) -> Question | None:
        self._open = [interview for interview in self._open if interview.left > 0]
        for interview in self._open:
            if (question := interview.next()) is not None:
                return question
        return None

    def _first_of_next(self) -> Question | None:
        if self._begun == len(self._interviews) or not self._has_room():
            return None
        interview = self._interviews[self._begun]
        self._begun += 1
        self._open.append(interview)
        interview.begin()
        return interview.next()

    def _others(self) -> bool:
        """True when something else is left that the server has not failed yet."""
        more = self._begun < len(self._interviews) and self._has_room()
        return more or bool(self._under_way) or any(one.has_ready for one in self._open)

    # --------------------------------------------------------------------------- budget

    def _has_room(self) -> bool:
        """True when the budget allows all questions of the next feature, beside those begun."""
        if self._over:  # nothing is sent any more; what was answered before is used
            return True
        requests, tokens = self._model.requests, self._model.tokens
        new = self._interviews[self._begun]
        if requests is not None:
            left = sum(interview.left for interview in self._open) + new.requests
            if len(self._used) + left > requests:
                return False
        if tokens is None:
            return True
        shares = [one.tokens * one.left / one.requests for one in self._open]
        return self._used_tokens + self._ratio * (sum(shares) + new.tokens) <= tokens

    def _affordable(self, question: Question) -> bool:
        """True when the budget allows one more request, after those under way."""
        requests, tokens = self._model.requests, self._model.tokens
        if self._over:
            return False
        if requests is not None and self._store.requests + len(self._under_way) >= requests:
            return False
        if tokens is None:
            return True
        under_way = sum(questions[0].expects for questions in self._under_way.values())
        return self._store.tokens + self._ratio * (under_way + question.expects) <= tokens
