"""A small REST client for the command line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx

from api.cli.patience import FIRST_PAUSE, Patience
from api.cli.sse import Event, read_events
from shared.records.artifacts import sha256_of

PATIENCE = 60.0  # seconds to wait for a server that has answered before
AWAY = (502, 503, 504)  # a proxy's while the server restarts, or ours without store or Redis
SPEC = {"Content-Type": "application/yaml"}
ENDED = ("complete", "failed", "cancelled")

Result = TypeVar("Result")


class Refused(Exception):
    """The server refused the input; the text says why, a line per problem."""


class _AwayError(Exception):
    """The server, or something that it needs, does not answer at the moment."""


def _checked(answer: httpx.Response) -> httpx.Response:
    """The answer if it is a success; raises Refused for a 3xx or 4xx, _AwayError for AWAY."""
    if answer.status_code in AWAY:
        raise _AwayError(f"status {answer.status_code}")
    if answer.is_client_error or answer.is_redirect:
        answer.read()
        raise Refused(_detail(answer))
    return answer.raise_for_status()


def _detail(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
        return str(problem.get("detail") or problem["title"])
    except (ValueError, KeyError, AttributeError):
        return f"{answer.url}: {answer.status_code} {answer.reason_phrase}"


def _without_none(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


class Client:
    """A client of one Lineament server that waits when the server is away for a moment.

    Every method raises Refused when the server refuses the request, and Unreachable
    (api.cli.patience) when it does not answer: at once if it has never answered. `say` is called
    with a sentence when waiting begins; `tend` is called from time to time while the calling thread
    waits.

    The API key is read from LINEAMENT_API_KEY: on a command line, everybody on the machine could
    read it.
    """

    def __init__(
        self,
        url: str,
        say: Callable[[str], None] = lambda _: None,
        tend: Callable[[], None] = lambda: None,
    ) -> None:
        key = os.environ.get("LINEAMENT_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url, timeout=60, headers=headers)
        self._url = url
        self._say = say
        self.tend = tend
        self._answered = False

    def _patience(self) -> Patience:
        return Patience(self._url, PATIENCE if self._answered else 0.0, self._say)

    def _patiently(self, attempt: Callable[[], Result]) -> Result:
        """Repeat `attempt` while the server is away, and return its result. It must be harmless to
        carry it out twice, as every request of this client is.
        """
        patience = self._patience()
        while True:
            try:
                result = attempt()
                self._answered = True
                return result
            except (httpx.TransportError, _AwayError) as error:
                patience.wait(error)
                self.tend()

    def _json(self, method: str, path: str, **options: Any) -> Any:
        answer = self._patiently(lambda: _checked(self._http.request(method, path, **options)))
        return answer.json()

    def submit(self, spec: bytes) -> dict[str, Any]:
        """Submit a spec; Refused if it is wrong."""
        path = "/v1/experiments"
        experiment: dict[str, Any] = self._json("POST", path, content=spec, headers=SPEC)
        return experiment

    def plan(self, spec: bytes) -> dict[str, Any]:
        """What submitting would do; Refused if the spec is wrong."""
        path = "/v1/experiments/plan"
        plan: dict[str, Any] = self._json("POST", path, content=spec, headers=SPEC)
        return plan

    def experiments(self, most: int, **filters: Any) -> tuple[list[dict[str, Any]], list[str]]:
        """Up to `most` of the newest experiments, and a sentence for each one among them that the
        server cannot read. `filters` are the query parameters of the API.
        """
        experiments: list[dict[str, Any]] = []
        unreadable: list[str] = []
        cursor: str | None = None
        while len(experiments) < most:
            params = {"size": min(100, most - len(experiments)), "cursor": cursor, **filters}
            page = self._json("GET", "/v1/experiments", params=_without_none(params))
            experiments += page["items"]
            unreadable += [view["reason"] for view in page.get("unreadable", ())]
            cursor = page["next_page"]
            if cursor is None:
                break
        return experiments, unreadable

    def experiment(self, number: str) -> dict[str, Any]:
        """One experiment."""
        experiment: dict[str, Any] = self._json("GET", f"/v1/experiments/{number}")
        return experiment

    def cancel(self, number: str) -> dict[str, Any]:
        """Cancel an experiment."""
        experiment: dict[str, Any] = self._json("POST", f"/v1/experiments/{number}/cancel")
        return experiment

    def retry(self, number: str) -> dict[str, Any]:
        """Resume a failed or cancelled experiment."""
        experiment: dict[str, Any] = self._json("POST", f"/v1/experiments/{number}/retry")
        return experiment

    def stages(self, number: str) -> list[dict[str, Any]]:
        """The stages of an experiment."""
        stages: list[dict[str, Any]] = self._json("GET", f"/v1/experiments/{number}/stages")
        return stages

    def events(self, number: str) -> Iterator[Event]:
        """The experiment's events until it has ended, across restarts of the server."""
        resume: dict[str, str] = {}
        patience = self._patience()
        while True:
            received, trouble = False, "the stream of events ended"
            try:
                for event in self._stream(number, resume):
                    received, patience = True, self._patience()
                    if event.id is not None:
                        resume = {"Last-Event-ID": event.id}
                    yield event
                    if event.name == "experiment" and event.data["state"] in ENDED:
                        return
            except (httpx.TransportError, _AwayError) as error:
                trouble = str(error)
            if received:  # a working connection was cut: as a rule the next one works
                time.sleep(FIRST_PAUSE)
            else:
                patience.wait(trouble)

    def _stream(self, number: str, headers: dict[str, str]) -> Iterator[Event]:
        path = f"/v1/experiments/{number}/events"
        with self._http.stream("GET", path, headers=headers) as answer:
            lines = _checked(answer).iter_lines()
            self._answered = True
            yield from read_events(lines)

    def log(
        self, number: str, key: str, attempt: str | None, tail: int | None, follow: bool
    ) -> Iterator[bytes]:
        """The log of a stage, in pieces; with `follow` until the attempt ends."""
        params = {"attempt": attempt, "tail": tail, "follow": follow}
        query = _without_none(params)
        path = f"/v1/experiments/{number}/stages/{key}/log"
        patience = self._patience()
        try:
            # No timeout: nothing arrives for as long as the stage writes nothing.
            with self._http.stream("GET", path, params=query, timeout=None) as answer:
                yield from _checked(answer).iter_raw()
        except (httpx.TransportError, _AwayError) as error:
            patience.fail(error)

    def upload(self, name: str, path: Path, text_column: str) -> dict[str, Any]:
        """Stream a file to the server with its checksum; Refused if it cannot be used."""
        digest = sha256_of(path)

        def attempt() -> httpx.Response:
            with path.open("rb") as handle:
                return _checked(
                    self._http.put(
                        f"/v1/corpora/{name}",
                        content=handle,
                        params={
                            "text_column": text_column,
                            "filename": path.name,
                            "sha256": digest,
                        },
                        timeout=None,
                    )
                )

        info: dict[str, Any] = self._patiently(attempt).json()
        return info

    def save_artifact(self, key: str, directory: Path) -> None:
        """Write all files of an artifact under a directory."""
        manifest = self._json("GET", f"/v1/artifacts/{key}")
        for name in manifest["files"]:
            self._patiently(partial(self._save, key, name, directory / name))

    def _save(self, key: str, name: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Streamed by the server: this machine may be unable to reach the object store.
        params = {"redirect": False}
        with (
            self._http.stream("GET", f"/v1/artifacts/{key}/files/{name}", params=params) as answer,
            path.open("wb") as handle,
        ):
            for piece in _checked(answer).iter_bytes():
                handle.write(piece)
