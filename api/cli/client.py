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

PATIENCE = 60.0  # seconds for which a server that has answered before may be away
AWAY = (502, 503, 504)  # what stands before a server that restarts says
SPEC = {"Content-Type": "application/yaml"}
ENDED = ("complete", "failed", "cancelled")

Result = TypeVar("Result")


class Refused(Exception):
    """The server refused the input; the text says why, a line per problem."""


class _AwayError(Exception):
    """Something behind the server is away."""


def _checked(answer: httpx.Response) -> httpx.Response:
    """The answer itself, if it is a good one."""
    if answer.status_code in AWAY:
        raise _AwayError(f"status {answer.status_code}")
    if answer.is_client_error or answer.is_redirect:
        answer.read()
        raise Refused(_detail(answer))
    return answer.raise_for_status()


def _detail(answer: httpx.Response) -> str:
    try:
        said = answer.json()
        return str(said.get("detail") or said["title"])
    except (ValueError, KeyError, AttributeError):
        return f"{answer.url}: {answer.status_code} {answer.reason_phrase}"


class Client:
    """Talks to one Lineament server, and waits for it when it is away for a moment.

    Every method raises Refused when the server refuses, and Unreachable (api.cli.patience) when it
    does not answer: at once if it never did. `say` is told when waiting begins; `tend` is called
    now and then while there is nothing to do, by the thread that called.

    The API key comes from LINEAMENT_API_KEY: on a command line everybody on the machine reads it.
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
        """The result of the attempt, repeated while the server is away. It must be harmless to
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
        made: dict[str, Any] = self._json("POST", "/v1/experiments", content=spec, headers=SPEC)
        return made

    def plan(self, spec: bytes) -> dict[str, Any]:
        """What submitting would do; Refused if the spec is wrong."""
        path = "/v1/experiments/plan"
        plan: dict[str, Any] = self._json("POST", path, content=spec, headers=SPEC)
        return plan

    def experiments(self, most: int, **filters: Any) -> tuple[list[dict[str, Any]], list[str]]:
        """The newest experiments, `most` of them at most, and a sentence for each among them that
        the server cannot read; filters as in the API.
        """
        found: list[dict[str, Any]] = []
        unreadable: list[str] = []
        cursor: str | None = None
        while len(found) < most:
            params = {"size": min(100, most - len(found)), "cursor": cursor, **filters}
            given = {name: value for name, value in params.items() if value is not None}
            page = self._json("GET", "/v1/experiments", params=given)
            found += page["items"]
            unreadable += [one["reason"] for one in page.get("unreadable", ())]
            cursor = page["next_page"]
            if cursor is None:
                break
        return found, unreadable

    def experiment(self, number: str) -> dict[str, Any]:
        """One experiment."""
        experiment: dict[str, Any] = self._json("GET", f"/v1/experiments/{number}")
        return experiment

    def cancel(self, number: str) -> dict[str, Any]:
        """Stop working on an experiment."""
        experiment: dict[str, Any] = self._json("POST", f"/v1/experiments/{number}/cancel")
        return experiment

    def retry(self, number: str) -> dict[str, Any]:
        """Take an experiment up again."""
        experiment: dict[str, Any] = self._json("POST", f"/v1/experiments/{number}/retry")
        return experiment

    def stages(self, number: str) -> list[dict[str, Any]]:
        """Its stages."""
        stages: list[dict[str, Any]] = self._json("GET", f"/v1/experiments/{number}/stages")
        return stages

    def events(self, number: str) -> Iterator[Event]:
        """The experiment's events until it has ended, over restarts of the server."""
        seen: dict[str, str] = {}
        patience = self._patience()
        while True:
            heard, trouble = False, "the stream of events ended"
            try:
                for event in self._stream(number, seen):
                    heard, patience = True, self._patience()
                    if event.id is not None:
                        seen = {"Last-Event-ID": event.id}
                    yield event
                    if event.name == "experiment" and event.data["state"] in ENDED:
                        return
            except (httpx.TransportError, _AwayError) as error:
                trouble = str(error)
            if heard:  # a connection that worked was cut: as a rule the next one works
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
        given = {name: value for name, value in params.items() if value is not None}
        path = f"/v1/experiments/{number}/stages/{key}/log"
        patience = self._patience()
        try:
            # Nothing is written for as long as the stage has nothing to say.
            with self._http.stream("GET", path, params=given, timeout=None) as answer:
                yield from _checked(answer).iter_raw()
        except (httpx.TransportError, _AwayError) as error:
            patience.fail(error)

    def upload(self, name: str, path: Path, text_column: str) -> dict[str, Any]:
        """Upload a file, streamed, with its checksum; Refused if it cannot be used."""
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
        # Streamed by the server: the object store may have no address that this machine knows.
        params = {"redirect": False}
        with (
            self._http.stream("GET", f"/v1/artifacts/{key}/files/{name}", params=params) as answer,
            path.open("wb") as handle,
        ):
            for piece in _checked(answer).iter_bytes():
                handle.write(piece)
