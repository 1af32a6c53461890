"""What the tests of the experiment routes share: a small spec, and states made by hand."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.app import create_app
from api.backend import Backend
from shared.records.artifacts import Manifest
from shared.records.attempts import Attempt, Ending, Failure, now
from shared.settings import Settings

SPEC: dict[str, Any] = {
    "version": 1,
    "name": "small",
    "tokenizer": {"train": {"vocab_size": 512, "corpora": ["stories"]}},
    "corpora": {
        "stories": {"builtin": "stories", "max_tokens": 20_000},
        "lua": {"builtin": "lua", "max_tokens": 20_000},
    },
    "block": 64,
    "models": {
        "base": {
            "pretrain": {
                "corpora": ["stories"],
                "epochs": 1,
                "batch": 8,
                "architecture": {"hidden": 32, "mlp": 64, "heads": 2, "kv_heads": 1, "layers": 1},
            }
        },
        "lua": {"finetune": {"parent": "base", "corpora": ["lua"]}},
        "more": {"finetune": {"parent": "base", "corpora": ["stories"]}},
        "merged": {"merge": {"method": "slerp", "at_zero": "more", "at_one": "lua", "t": 0.5}},
    },
}


def changed(**paths: Any) -> dict[str, Any]:
    """SPEC with values replaced; a path is written a__b__c."""
    spec = json.loads(json.dumps(SPEC))
    for path, value in paths.items():
        *parents, last = path.split("__")
        place = spec
        for name in parents:
            place = place[name]
        place[last] = value
    return spec


def submit(client: TestClient, spec: dict[str, Any] = SPEC, **headers: str) -> str:
    """Submit a spec; returns the id of the experiment."""
    answer = client.post("/v1/experiments", json=spec, headers=headers)
    assert answer.is_success, answer.text
    number: str = answer.json()["id"]
    return number


class World:
    """Brings the stages of experiments into states, as workers would."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        backend.experiments.survey.fresh = 0.0  # tests look at once

    @staticmethod
    def wait(seconds: float) -> None:
        """Let a reader that looks now and then have a look."""
        time.sleep(seconds)

    def keys(self, number: str) -> list[str]:
        """The stages of an experiment in the order of its plan."""
        return [stage.key for stage in self.backend.experiments.get(number).plan.stages]

    def start(self, key: str, attempt: str, **progress: Any) -> None:
        """An attempt takes the lease and begins."""
        self.backend.leases.acquire(key, attempt)
        self.backend.leases.renew(key, attempt, progress)
        self.note(key, attempt)

    def note(self, key: str, attempt: str, ending: Ending | None = None, **more: Any) -> None:
        """Record an attempt."""
        fields = {"attempt": attempt, "host": "box", "started": now(), "ending": ending, **more}
        self.backend.book.write(key, Attempt(**fields))

    def end(self, key: str, attempt: str, ending: Ending, log: bytes, **more: Any) -> None:
        """An attempt ends with a log and gives its lease back."""
        self.backend.book.keep_log(key, attempt, log)
        self.note(key, attempt, ending, ended=now(), **more)
        self.backend.leases.release(key, attempt)

    def fail(self, key: str, attempt: str, reason: str) -> None:
        """A stage fails for good."""
        self.backend.book.fail(Failure(key=key, reason=reason, attempt=attempt, failed=now()))

    def finish(self, number: str, *keys: str, attempt: str = "a1") -> None:
        """These stages of an experiment are done; all of them when none is named."""
        for stage in self.backend.experiments.get(number).plan.stages:
            if not keys or stage.key in keys:
                self.backend.artifacts.commit(manifest_of(stage.model_dump(), attempt))


def manifest_of(stage: dict[str, Any], attempt: str) -> Manifest:
    """A manifest without files."""
    planned = {name: stage[name] for name in ("key", "kind", "version", "parameters", "inputs")}
    return Manifest(
        **planned,
        files={},
        results={"loss": 1.5},
        attempt=attempt,
        started=now(),
        finished=now(),
        seconds=2.5,
        cpu_seconds=2.0,
        peak_memory_bytes=3_000_000,
        host="box",
        hardware={"cores": 2},
        libraries={"torch": "2"},
        log="",
    )


@contextlib.contextmanager
def serving(settings: Settings, port: int = 0) -> Iterator[tuple[str, FastAPI]]:
    """A real server in a thread of this process; its URL and application."""
    app = create_app(settings)
    listener = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        while not server.started:
            time.sleep(0.01)
        yield url, app
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def events_in(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Server-sent events out of the lines of a stream: event, data, id."""
    event: dict[str, Any] = {}
    for line in lines:
        if not line and event:
            yield event
            event = {}
        name, _, value = line.partition(": ")
        if name:
            event[name] = json.loads(value) if name == "data" else value


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    """All events of a stream that has ended."""
    return list(events_in(iter(answer.text.splitlines())))
