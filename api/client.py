"""A small REST client for the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx


class Refused(Exception):
    """The server refused the input; the text says why, a line per problem."""


class Client:
    """Talks to one Lineament server."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60)

    def _json(self, method: str, path: str, **options: Any) -> Any:
        answer = self._http.request(method, path, **options)
        if answer.status_code in (404, 413, 422):
            raise Refused(answer.json().get("detail", answer.text))
        answer.raise_for_status()
        return answer.json()

    def submit(self, spec: bytes) -> dict[str, Any]:
        """Submit a spec; Refused if it is wrong."""
        experiment: dict[str, Any] = self._json("POST", "/v1/experiments", content=spec)
        return experiment

    def plan(self, spec: bytes) -> dict[str, Any]:
        """What submitting would do; Refused if the spec is wrong."""
        plan: dict[str, Any] = self._json("POST", "/v1/experiments/plan", content=spec)
        return plan

    def retry(self, number: str) -> None:
        """Take an experiment up again."""
        self._json("POST", f"/v1/experiments/{number}/retry")

    def experiment(self, number: str) -> dict[str, Any]:
        """One experiment."""
        experiment: dict[str, Any] = self._json("GET", f"/v1/experiments/{number}")
        return experiment

    def stages(self, number: str) -> list[dict[str, Any]]:
        """Its stages."""
        stages: list[dict[str, Any]] = self._json("GET", f"/v1/experiments/{number}/stages")
        return stages

    def upload(self, name: str, path: Path, text_column: str) -> dict[str, Any]:
        """Upload a file, streamed; Refused if it cannot be used."""
        with path.open("rb") as handle:
            info: dict[str, Any] = self._json(
                "PUT",
                f"/v1/corpora/{name}",
                content=handle,
                params={"text_column": text_column},
                timeout=None,
            )
        return info

    def save_artifact(self, key: str, directory: Path) -> None:
        """Write all files of an artifact under a directory."""
        manifest = self._json("GET", f"/v1/artifacts/{key}")
        for name in manifest["files"]:
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._http.stream("GET", f"/v1/artifacts/{key}/files/{name}") as answer:
                answer.raise_for_status()
                with path.open("wb") as handle:
                    for piece in answer.iter_bytes():
                        handle.write(piece)
