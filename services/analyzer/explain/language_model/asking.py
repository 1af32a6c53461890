"""Asks a language model about features: several requests at a time, every answer kept at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from services.analyzer.explain.language_model.agenda import Agenda
from services.analyzer.explain.language_model.client import Away, Client, Unanswered
from services.analyzer.explain.language_model.feature import Interview, Kind, Question
from services.analyzer.explain.language_model.kept import Kept
from services.analyzer.explain.language_model.material import Examples, Held, Spent
from services.analyzer.explain.language_model.reply import Reply
from shared.settings import Settings
from shared.stages.explain import LanguageModel
from shared.stages.stage import Hindered, Leave, Stage

LOOK = 0.2  # seconds between two looks at whether the stage should leave
SAY = 10.0  # seconds between two signs of life while nothing is answered


class Asking:
    """One attempt at all questions; `run` it once."""

    def __init__(
        self,
        stage: Stage,
        model: LanguageModel,
        material: Sequence[tuple[Examples, Held]],
        settings: Settings,
    ) -> None:
        seed = int(stage.parameters.get("seed", 0))
        self._stage = stage
        self._settings = settings
        self._kept = Kept(stage)
        self._interviews = [
            Interview(number, examples, held, seed)
            for number, (examples, held) in enumerate(material)
        ]
        self._agenda = Agenda(self._interviews, model, self._kept)
        self._client = Client(settings, self._kept.without)
        self._flying: dict[Future[Reply], str] = {}
        self._said = (-1, 0.0)  # features, and when that was told

    def run(self) -> Spent:
        """Ask until all is answered or the budget ends.

        Raises Leave when the stage was asked to stop, Hindered when the server is away, StageError
        when it refuses; what was answered is in a checkpoint by then.
        """
        pool = ThreadPoolExecutor(self._settings.explain_concurrency)
        with self._client:
            try:
                self._ask(pool)
            except Away as error:
                self._finish_what_flies()
                for key in sorted(self._agenda.unanswered() - set(self._kept.replies)):
                    self._kept.left_alone(key)
                raise Hindered(
                    f"the language model's server is away ({error}); all answers so far are kept"
                ) from None
            except Exception:
                self._finish_what_flies()
                raise
            finally:
                self._keep()
                pool.shutdown(wait=False, cancel_futures=True)
        return self._spent()

    def _ask(self, pool: ThreadPoolExecutor) -> None:
        while True:
            if self._stage.stopping:
                raise Leave
            self._send(pool)
            if not self._flying:
                return
            done, _ = wait(self._flying, timeout=LOOK, return_when=FIRST_COMPLETED)
            for future in done:
                self._land(future)
            self._keep()
            self._say()

    def _send(self, pool: ThreadPoolExecutor) -> None:
        while len(self._flying) < self._settings.explain_concurrency:
            question = self._agenda.next()
            if question is None:
                return
            self._flying[pool.submit(self._answer, question)] = question.key

    def _answer(self, question: Question) -> Reply:
        levels = question.kind is Kind.SIMULATE
        return self._client.answer(question.messages, question.room, levels)

    def _land(self, future: Future[Reply]) -> None:
        """Keep an answer; whatever ends the stage stays among what flies."""
        try:
            reply = future.result()
        except Unanswered as error:
            self._agenda.failed(self._flying.pop(future), error.since)
            return
        key = self._flying.pop(future)
        self._kept.add(key, reply)
        self._agenda.answered(key, reply)

    def _finish_what_flies(self) -> None:
        """Wait a while for answers that are paid for; nothing new is sent."""
        self._client.halt()
        wait(self._flying, timeout=self._settings.grace / 2)
        for future, key in self._flying.items():
            if future.done() and future.exception() is None:
                self._kept.add(key, future.result())

    def _keep(self) -> None:
        for parameter in sorted(self._client.without - self._kept.without):
            self._kept.do_without(parameter)
        self._kept.save()

    def _say(self) -> None:
        done, now = self._agenda.done, time.monotonic()
        if done > self._said[0] or now - self._said[1] > SAY:
            self._said = (done, now)
            self._stage.progress(done, len(self._interviews), "features")

    def _spent(self) -> Spent:
        self._stage.progress(len(self._interviews), len(self._interviews), "features")
        covered = sum(interview.left <= 0 for interview in self._interviews)
        return Spent(
            answered=[interview.result() for interview in self._interviews],
            requests=self._kept.requests,
            tokens=self._kept.tokens,
            estimated=self._kept.estimated,
            covered=covered / len(self._interviews) if self._interviews else 1.0,
        )
