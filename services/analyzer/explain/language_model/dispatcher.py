"""Sends the questions, several at a time, and stores every answer as it arrives."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from services.analyzer.explain.language_model.agenda import Agenda
from services.analyzer.explain.language_model.agreement import check
from services.analyzer.explain.language_model.answer_store import AnswerStore
from services.analyzer.explain.language_model.endpoint import Away, Client, Unanswered
from services.analyzer.explain.language_model.excerpts import Examples, HeldOutWindows
from services.analyzer.explain.language_model.feature_answers import Answers
from services.analyzer.explain.language_model.interview import Interview
from services.analyzer.explain.language_model.questions import Kind, Question
from services.analyzer.explain.language_model.reply import Reply
from shared.stages.explain import LanguageModel
from shared.stages.stage import Hindered, Leave, Stage

STOP_CHECK = 0.2  # seconds between two looks at whether the stage should leave
REPORT = 10.0  # seconds between two progress events while nothing is answered


def ask(
    stage: Stage, model: LanguageModel, features: Sequence[tuple[Examples, HeldOutWindows]]
) -> Answers:
    """Ask the language model that this worker is set to about features, in the given order.

    Answers are stored in the stage's checkpoints as they arrive: what an earlier attempt was
    answered is not asked again, and counts towards the budget. Raises Leave when the stage was
    asked to stop, Hindered when the server stays away, StageError when it refuses or the worker's
    settings are not those that the stage was planned with.
    """
    check(stage.explainer, model)
    return Dispatcher(stage, model, features).run()


class Dispatcher:
    """One attempt at all questions; `run` it once."""

    def __init__(
        self,
        stage: Stage,
        model: LanguageModel,
        features: Sequence[tuple[Examples, HeldOutWindows]],
    ) -> None:
        seed = int(stage.parameters.get("seed", 0))
        self._stage = stage
        self._settings = stage.explainer
        self._store = AnswerStore(stage)
        self._interviews = [
            Interview(number, examples, windows, seed)
            for number, (examples, windows) in enumerate(features)
        ]
        self._agenda = Agenda(self._interviews, model, self._store)
        self._client = Client(self._settings, self._store.without)
        self._in_flight: dict[Future[Reply], str] = {}
        self._reported = (-1, 0.0)  # features that were done at the last progress event, and when

    def run(self) -> Answers:
        """Ask until all is answered or the budget ends.

        Raises Leave when the stage was asked to stop, Hindered when the server is away, StageError
        when it refuses; what was answered is in a checkpoint by then.
        """
        pool = ThreadPoolExecutor(self._settings.concurrency)
        with self._client:
            try:
                self._ask_all(pool)
            except Away as error:
                self._finish_in_flight()
                for key in sorted(self._agenda.unanswered() - set(self._store.replies)):
                    self._store.left_alone(key)
                raise Hindered(
                    f"the language model's server is away ({error}); all answers so far are kept"
                ) from None
            except Exception:
                self._finish_in_flight()
                raise
            finally:
                self._save()
                pool.shutdown(wait=False, cancel_futures=True)
        return self._collect()

    def _ask_all(self, pool: ThreadPoolExecutor) -> None:
        while True:
            if self._stage.stopping:
                raise Leave
            self._send(pool)
            if not self._in_flight:
                return
            done, _ = wait(self._in_flight, timeout=STOP_CHECK, return_when=FIRST_COMPLETED)
            for future in done:
                self._land(future)
            self._save()
            self._report()

    def _send(self, pool: ThreadPoolExecutor) -> None:
        while len(self._in_flight) < self._settings.concurrency:
            question = self._agenda.next()
            if question is None:
                return
            self._in_flight[pool.submit(self._request, question)] = question.key

    def _request(self, question: Question) -> Reply:
        levels = question.kind is Kind.SIMULATE
        return self._client.answer(question.messages, question.room, levels)

    def _land(self, future: Future[Reply]) -> None:
        """Store an answer; a request that ended the stage stays in flight."""
        try:
            reply = future.result()
        except Unanswered as error:
            self._agenda.failed(self._in_flight.pop(future), error.since)
            return
        key = self._in_flight.pop(future)
        self._store.add(key, reply)
        self._agenda.answered(key, reply)

    def _finish_in_flight(self) -> None:
        """Wait a while for answers that are paid for; nothing new is sent."""
        self._client.halt()
        wait(self._in_flight, timeout=self._settings.grace / 2)
        for future, key in self._in_flight.items():
            if future.done() and future.exception() is None:
                self._store.add(key, future.result())

    def _save(self) -> None:
        for parameter in sorted(self._client.without - self._store.without):
            self._store.do_without(parameter)
        self._store.save()

    def _report(self) -> None:
        done, now = self._agenda.done, time.monotonic()
        if done > self._reported[0] or now - self._reported[1] > REPORT:
            self._reported = (done, now)
            self._stage.progress(done, len(self._interviews), "features")

    def _collect(self) -> Answers:
        self._stage.progress(len(self._interviews), len(self._interviews), "features")
        covered = sum(interview.left <= 0 for interview in self._interviews)
        return Answers(
            features=[interview.result() for interview in self._interviews],
            requests=self._store.requests,
            tokens=self._store.tokens,
            estimated=self._store.estimated,
            covered=covered / len(self._interviews) if self._interviews else 1.0,
        )
