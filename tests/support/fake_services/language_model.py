"""A server on loopback that speaks the protocol of OpenAI's chat completions, as a test asks.

It explains a feature by the tokens that have high levels in the examples, between backticks, and
simulates, detects and judges marks from such an explanation alone, so that what comes out is right
only if prompts and answers are passed on unharmed.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

MODEL = "planted-model-7b"
KEY = "sk-planted-secret-0123456789"
Kind = Literal["explain", "simulate", "detect", "fuzz"]
# Levels of tokens inside and outside the set, as a model spreads its probability.
INSIDE, OUTSIDE = {9: 0.8, 8: 0.2}, {0: 0.95, 1: 0.05}

# Status, headers and body in place of an answer; None: answer as usual.
Instead = tuple[int, dict[str, str], bytes] | None


class LanguageModelServer:
    """`instead` and `say` are asked before each answer, and may give another one.

    `instead(body, kind)` replaces the whole answer, `say(kind, text)` the model's words. `delay`
    is how long an answer takes, `logprobs` whether they are given, refused with 400, or left out.
    """

    def __init__(self) -> None:
        self.url = ""
        self.delay = 0.0
        self.drops = 0.0  # seconds between two bytes of an answer
        self.logprobs: Literal["given", "refused", "absent"] = "given"
        self.usage = True
        self.thoughts = 0  # tokens that are counted and not shown
        self.instead: Callable[[dict[str, Any], Kind], Instead] = lambda body, kind: None
        self.say: Callable[[Kind, str], Any] = lambda kind, text: text
        self.asked: Counter[str] = Counter()  # by digest of the body
        self.answered: Counter[str] = Counter()
        self.kinds: list[Kind] = []  # of the answers
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()

    def answer(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content for a request."""
        digest = hashlib.sha256(data).hexdigest()
        body = json.loads(data)
        kind = kind_of(body)
        with self.lock:
            self.asked[digest] += 1
            self.bodies.append(body)
        instead = self.instead(body, kind)
        if instead is not None and instead[0] != 200:
            return instead
        if body.get("logprobs") and self.logprobs == "refused":
            return problem(400, "logprobs are not supported", "logprobs")
        time.sleep(self.delay)
        whole = instead or (200, {}, json.dumps(self._completion(body, kind)).encode())
        with self.lock:
            self.answered[digest] += 1
            self.kinds.append(kind)
        return whole

    def _completion(self, body: dict[str, Any], kind: Kind) -> dict[str, Any]:
        text, levels = words(kind, body["messages"][-1]["content"])
        said = self.say(kind, text)
        choice: dict[str, Any] = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": said},
        }
        if body.get("logprobs") and self.logprobs == "given" and said == text:
            choice["logprobs"] = {"content": log_probabilities(text, levels)}
        whole = {"id": "x", "object": "chat.completion", "model": MODEL, "choices": [choice]}
        if self.usage:
            prompt = sum(len(message["content"]) for message in body["messages"]) // 4
            answer = len(str(said)) // 4 + 1 + self.thoughts
            whole["usage"] = {"prompt_tokens": prompt, "completion_tokens": answer}
        return whole


def problem(
    status: int, message: str, parameter: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    """An error as servers give it, with the model's name and the key in it."""
    error = {"message": f"{message} (model {MODEL}, key {KEY})", "param": parameter}
    return status, {"Content-Type": "application/json"}, json.dumps({"error": error}).encode()


# ------------------------------------------------------------------------------ the "model"


def kind_of(body: dict[str, Any]) -> Kind:
    """Which of the prompts this is."""
    system = body["messages"][0]["content"]
    if system.startswith("You name"):
        return "explain"
    if system.startswith("You predict"):
        return "simulate"
    return "fuzz" if system.startswith("You judge marks") else "detect"


def words(kind: Kind, prompt: str) -> tuple[str, list[dict[int, float]]]:
    """What the model says, and the probabilities of the levels of each token it simulates."""
    if kind == "explain":
        rows = re.findall(r'^([0-9])\t(".*")$', prompt, re.MULTILINE)
        strong = sorted({json.loads(token) for level, token in rows if int(level) >= 5})
        return "the tokens " + " or ".join(f"`{token}`" for token in strong), []
    explanation = json.loads(re.search(r'⟦ (".*") ⟧', prompt)[1])  # type: ignore[index]
    chosen = set(re.findall("`([^`]*)`", explanation))
    items = [
        (int(number), item)
        for number, item in re.findall(r'^([0-9]+)\t(".*")$', prompt, re.MULTILINE)
    ]
    if kind == "simulate":
        spread = [INSIDE if json.loads(item) in chosen else OUTSIDE for _, item in items]
        lines = [
            f"{number}: {max(one, key=one.__getitem__)}"
            for (number, _), one in zip(items, spread, strict=True)
        ]
        return "\n".join(lines), spread
    if kind == "detect":
        said = [any(token in json.loads(item) for token in chosen) for _, item in items]
    else:
        said = [
            all(any(token in run for token in chosen) for run in re.findall("⟪(.*?)⟫", item))
            for _, item in items
        ]
    verdicts = [
        f"{number}: {'yes' if yes else 'no'}" for (number, _), yes in zip(items, said, strict=True)
    ]
    return "\n".join(verdicts), []


def log_probabilities(text: str, levels: list[dict[int, float]]) -> list[dict[str, Any]]:
    """Tokens of a simulation as a server lists them: number, colon, space and level, line end."""
    entries: list[dict[str, Any]] = []
    for line, spread in zip(text.split("\n"), levels, strict=True):
        number, level = line.split(": ")
        entries += [entry(part) for part in ((*"\n",) if entries else ()) + (number, ":", " ")]
        entries.append(entry(level, {str(digit): p for digit, p in spread.items()}))
    return entries


def entry(token: str, alternatives: dict[str, float] | None = None) -> dict[str, Any]:
    """One token with its log-probability and its alternatives'."""
    spread = alternatives or {token: 1.0}
    listed = [{"token": one, "logprob": math.log(p), "bytes": None} for one, p in spread.items()]
    return {"token": token, "logprob": math.log(spread[token]), "top_logprobs": listed}


# ----------------------------------------------------------------------------- the server


@contextmanager
def language_model_server() -> Iterator[LanguageModelServer]:
    """A server on a free port of loopback."""
    model = LanguageModelServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body together, or each answer waits 40 ms for an acknowledgement

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            model.headers.append(dict(self.headers.items()))
            if self.path != "/v1/chat/completions":
                self._reply(404, {}, b"")
                return
            self._reply(*model.answer(data))

        def _reply(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in ({"Content-Type": "application/json"} | headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            for at in range(len(content) if model.drops else 0):
                self.wfile.write(content[at : at + 1])
                self.wfile.flush()
                time.sleep(model.drops)
            if not model.drops:
                self.wfile.write(content)

        def handle(self) -> None:
            with suppress(ConnectionError):  # a client that was killed
                super().handle()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    model.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
