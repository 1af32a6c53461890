"""The server that is asked: the `openai` client, with patience and limits of our own.

No sentence, log or answer that comes from here holds the server's address, the model or the key.
"""

from __future__ import annotations

import email.utils
import json
import logging
import random
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import httpx2  # what openai sends by; it lets some of its errors through
import openai

from services.analyzer.explain.language_model.prompts import Messages
from services.analyzer.explain.language_model.reply import Reply, read_reply
from shared.stages.explainer_settings import ExplainerSettings
from shared.stages.stage import StageError

TRIES = 5  # of a request that the server fails, before others go first
LIMITED_TRIES = 30  # of one that it puts off
PATIENCE = 120.0  # seconds without any answer after which the server is away
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between two tries
LARGEST_ANSWER = 8 << 20  # bytes
TOP = 20  # alternatives to each token that are asked for; servers allow no more
MALFORMED = (400, 422)
NEEDLESS = ("logprobs", "temperature", "max_tokens")  # parameters that a server may refuse

_REFUSALS = {
    401: "refused the key (401): look at LINEAMENT_EXPLAIN_KEY",
    403: "does not allow this key to ask (403): look at LINEAMENT_EXPLAIN_KEY",
    404: "does not know the model or the path (404): look at LINEAMENT_EXPLAIN_URL and _MODEL",
}
_TOO_LONG = ("context length", "context_length", "context window", "too long", "maximum context")
_LOGGERS = ("openai", "httpx", "httpx2", "httpcore", "httpcore2")  # they would name the server


class Unanswered(Exception):
    """The server failed this request several times, first at `since`; it may answer others."""

    def __init__(self, since: float) -> None:
        super().__init__(since)
        self.since = since


class Away(Exception):
    """The server has answered nothing for so long that waiting has no use; says why."""


class Halted(Exception):
    """The stage is about to end: the request was not sent."""


class _TryAgain(Exception):
    """A failure that may pass: what it was, and the seconds that the server asks for."""

    def __init__(self, why: str, wait: float | None = None, limited: bool = False) -> None:
        super().__init__(why)
        self.why, self.wait, self.limited = why, wait, limited


class Client:
    """Asks the server of the settings; safe to use from many threads.

    `without` are the parameters that it is known to refuse; more are added as it refuses them.
    """

    def __init__(self, settings: ExplainerSettings, without: Iterable[str]) -> None:
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        key = settings.key.get_secret_value()
        self._model = settings.model
        self._key = key
        self._timeout = settings.timeout
        self._patience = max(PATIENCE, 3 * settings.timeout)
        self._headers = _headers(key)
        self._openai = openai.OpenAI(
            base_url=settings.url,
            api_key=key or "none",
            timeout=settings.timeout,
            max_retries=0,
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
        )
        self.without = frozenset(without)
        self._halt = threading.Event()
        self._not_before = 0.0
        self.answered_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._halt.set()
        self._openai.close()

    def halt(self) -> None:
        """Send nothing any more; what waits to try again raises Halted."""
        self._halt.set()

    def answer(self, messages: Messages, room: int, levels: bool) -> Reply:
        """The server's answer, of at most `room` tokens; with `levels`, log-probabilities too.

        Raises Unanswered, Away, Halted, or StageError when it refuses for good.
        """
        prompt = sum(len(message["content"]) for message in messages)
        tries, limited, since = 0, 0, float("inf")
        while True:
            self._wait_for_leave_to_send()
            try:
                data = self._send(messages, room, levels)
            except _TryAgain as failure:
                since = min(since, time.monotonic())
                limited += failure.limited
                tries += not failure.limited
                self._pause(failure, tries + limited)
                if tries >= TRIES or limited >= LIMITED_TRIES:
                    raise Unanswered(since) from None
                continue
            self.answered_at = time.monotonic()
            reply = read_reply(data, prompt)
            # A server that repeats the key must not bring it into an artifact.
            return Reply("", reply.tokens, reply.estimated) if self._tells(reply.text) else reply

    def _tells(self, text: str) -> bool:
        return bool(self._key) and self._key in text

    # -------------------------------------------------------------------------- waiting

    def _wait_for_leave_to_send(self) -> None:
        while (left := self._not_before - time.monotonic()) > 0 and not self._halt.is_set():
            self._halt.wait(left)
        if self._halt.is_set():
            raise Halted

    def _pause(self, failure: _TryAgain, tries: int) -> None:
        """Wait before the next try: as long as the server says, or longer each time, at random."""
        now = time.monotonic()
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(tries - 1, 10))
        seconds = random.uniform(longest / 2, longest)  # noqa: S311  (only spreads requests)
        if failure.wait is not None:
            seconds = failure.wait + random.uniform(0, 0.1)  # noqa: S311
        silent = now - self.answered_at
        if silent + seconds > self._patience:
            raise Away(failure.why)
        if failure.limited:
            self._not_before = max(self._not_before, now + seconds)
        self._halt.wait(seconds)

    # -------------------------------------------------------------------------- sending

    def _send(self, messages: Messages, room: int, levels: bool) -> bytes:
        """The body of the server's answer; parameters that it refuses are left out from then on."""
        while True:
            body = self._body(messages, room, levels)
            try:
                return self._post(body)
            except openai.APIStatusError as error:
                parameter = self._to_leave_out(error, body)
                if parameter is None:
                    raise _failure(error) from None
            except openai.APITimeoutError:
                raise _TryAgain("it took too long to answer") from None
            except (openai.OpenAIError, httpx2.HTTPError):
                raise _TryAgain("it could not be reached") from None
            self.without |= {parameter}

    def _body(self, messages: Messages, room: int, levels: bool) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._model, "messages": messages}
        body["max_completion_tokens" if "max_tokens" in self.without else "max_tokens"] = room
        if "temperature" not in self.without:
            body["temperature"] = 0
        if levels and "logprobs" not in self.without:
            body |= {"logprobs": True, "top_logprobs": TOP}
        return body

    def _post(self, body: dict[str, Any]) -> bytes:
        deadline = time.monotonic() + self._timeout
        create = self._openai.chat.completions.with_streaming_response.create
        with create(**body, extra_headers=self._headers) as response:
            parts: list[bytes] = []
            size = 0
            for part in _guarded(response.iter_bytes()):
                parts.append(part)
                size += len(part)
                if size > LARGEST_ANSWER:
                    return b""  # no completion
                if time.monotonic() > deadline:
                    raise _TryAgain("it took too long to answer")
            return b"".join(parts)

    def _to_leave_out(self, error: openai.APIStatusError, body: dict[str, Any]) -> str | None:
        """The parameter that the server refuses: the one it names, else log-probabilities."""
        if error.status_code not in MALFORMED:
            return None
        said = _said(error)
        if any(words in said for words in _TOO_LONG):
            return None
        named = [name for name in NEEDLESS if name in said and name in body]
        return named[0] if named else "logprobs" if "logprobs" in body else None


def _headers(key: str) -> Any:
    """Nothing of the environment that is meant for another server, and no empty key."""
    headers: dict[str, openai.Omit] = {
        "OpenAI-Organization": openai.Omit(),
        "OpenAI-Project": openai.Omit(),
    }
    if not key:
        headers["Authorization"] = openai.Omit()
    return headers


def _guarded(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The parts of an answer; it may break off, or be packed wrongly."""
    try:
        yield from parts
    except httpx2.HTTPError:
        raise _TryAgain("its answer broke off") from None


def _said(error: openai.APIStatusError) -> str:
    return json.dumps(error.body, default=str)[:4000].lower()


def _failure(error: openai.APIStatusError) -> Exception:
    """What a status means: try again, or give up with a sentence."""
    status = error.status_code
    if status == 429:
        wait = retry_after(error.response.headers.get("retry-after"))
        return _TryAgain("it allows no more requests for now (429)", wait, limited=True)
    if status >= 500 or status in (408, 409, 425):
        wait = retry_after(error.response.headers.get("retry-after"))
        return _TryAgain(f"it failed ({status})", wait)
    if status in MALFORMED and any(words in _said(error) for words in _TOO_LONG):
        return StageError(
            "a prompt is longer than the language model of this server can read: use one with a "
            "longer context"
        )
    why = _REFUSALS.get(status, f"refused a request ({status})")
    return StageError(f"the language model's server {why}")


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or a date; None without one."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return seconds if 0 <= seconds < float("inf") else None
