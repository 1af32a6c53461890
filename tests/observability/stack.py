"""A running installation with a real Prometheus beside it.

`python -m tests.observability.stack SPEC` runs a spec and prints for every query of every dashboard
what it found: the number of series, and the last value of one of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.observability.support import (
    PROMETHEUS,
    Expression,
    binary,
    expressions,
    last_values,
    table,
)

SCRAPE = "200ms"  # the stages of a tiny experiment last less than a second
WINDOW = "10s"
PATIENCE = 600  # seconds for the experiment


def two_free_ports() -> int:
    """The first of two ports that follow each other and are free."""
    while True:
        with socket.socket() as one, socket.socket() as next_:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
            with contextlib.suppress(OSError):
                next_.bind(("127.0.0.1", port + 1))
                return port


@dataclass
class Stack:
    """An experiment that has run, and the Prometheus that watched it."""

    place: Path
    url: str
    began: float
    ended: float = 0.0

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of Prometheus' API."""
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30)
        assert answer.is_success, answer.text
        return answer.json()["data"]

    def range(self, query: str) -> list[dict[str, Any]]:
        """The series of a query over the whole run."""
        moments = {"start": str(self.began), "end": str(self.ended), "step": "0.5"}
        result: list[dict[str, Any]] = self.ask("query_range", query=query, **moments)["result"]
        return result

    def look(self, one: Expression) -> tuple[float, ...]:
        """What a panel's query gives: the last value of each series."""
        return last_values(self.range(one.over(WINDOW)))

    def logged(self, name: str) -> list[dict[str, Any]]:
        """The log of a process, without what Celery says to root before there is a log."""
        text = (self.place / "data" / "logs" / f"{name}.log").read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def _configuration(place: Path, targets: dict[str, str]) -> Path:
    """Prometheus for this stack, with the rules of the real one."""
    path = place / "prometheus.yml"
    path.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": SCRAPE, "evaluation_interval": "1s"},
                "rule_files": [str(PROMETHEUS / "rules" / "*.yml")],
                "scrape_configs": [
                    {"job_name": job, "static_configs": [{"targets": [target]}]}
                    for job, target in targets.items()
                ],
            }
        )
    )
    return path


@contextlib.contextmanager
def _prometheus(place: Path, targets: dict[str, str]) -> Iterator[str]:
    port = two_free_ports()
    command = [
        binary("prometheus"),
        f"--config.file={_configuration(place, targets)}",
        f"--storage.tsdb.path={place / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(300):
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{url}/-/ready").is_success:
                    break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def watched_run(spec: Path, place: Path, **settings: str) -> Iterator[Stack]:
    """Run a spec with Prometheus watching; the stack after it has ended well."""
    port = two_free_ports()
    environment = os.environ | {"LINEAMENT_METRICS_PORT": str(port), **settings}
    command = ("run", spec, "--data", place / "data", "--report", place / "report")
    began = time.time()
    running = subprocess.Popen(
        [sys.executable, "-m", "api", *map(str, command)],
        stdout=subprocess.DEVNULL,
        stderr=(place / "errors").open("w"),
        env=environment,
    )
    try:
        server = place / "data" / "server.json"
        while not server.exists():
            assert running.poll() is None, (place / "errors").read_text()
            time.sleep(0.05)
        targets = {
            "lineament-api": json.loads(server.read_text())["url"].removeprefix("http://"),
            "lineament-trainer": f"127.0.0.1:{port}",
            "lineament-reconciler": f"127.0.0.1:{port + 1}",
        }
        with _prometheus(place, targets) as url:
            stack = Stack(place, url, began)
            assert running.wait(PATIENCE) == 0, (place / "errors").read_text()
            stack.ended = time.time()
            yield stack
    finally:
        if running.poll() is None:
            running.terminate()
            running.wait(60)


def main() -> None:
    """Print the table."""
    with (
        tempfile.TemporaryDirectory() as place,
        watched_run(Path(sys.argv[1]), Path(place)) as stack,
    ):
        for line in table([(one, stack.look(one)) for one in expressions()]):
            print(line)


if __name__ == "__main__":
    main()
