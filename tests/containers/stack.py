"""The stack of docker-compose.yml on an engine, as its operator and its users see it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.containers.engine import Engine
from tests.containers.files import ROOT
from tests.support.s3_servers import free_port

PROJECT = "lineament-test"
UP_SECONDS = 300  # until everything is healthy
SCRAPE_SECONDS = 5  # of observability/prometheus/prometheus.yml
FILES = ("docker-compose.yml", "tests/containers/compose.test.yml")


@dataclass
class Stack:
    """One run of the stack. `left_out` are services whose images are not here."""

    engine: Engine
    compose: list[str]
    left_out: set[str]
    port: int = field(default_factory=free_port)
    prometheus_port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """The API, as this machine reaches it."""
        return f"http://localhost:{self.port}"

    def run(self, *arguments: str, check: bool = True) -> str:
        """What a compose command says."""
        command = [*self.compose, "--project-name", PROJECT, "--project-directory", str(ROOT)]
        for file in FILES:
            command += ["--file", str(ROOT / file)]
        ports = {
            "API_PORT": str(self.port),
            "PROMETHEUS_PORT": str(self.prometheus_port),
            "GRAFANA_PORT": str(free_port()),
            "ALERTMANAGER_PORT": str(free_port()),
            "WORKER_MEMORY": "6g",
            "S3_ACCESS_KEY": "test",  # the S3 server of the tests knows no other for presigned URLs
            "S3_SECRET_KEY": "test",
        }
        done = subprocess.run(
            [*command, "--env-file", os.devnull, *arguments],
            env=self.engine.environment | ports,
            capture_output=True,
            text=True,
            timeout=UP_SECONDS + 60,
        )
        if check and done.returncode:
            raise RuntimeError(f"compose {' '.join(arguments)}: {done.stderr[-4000:]}")
        return done.stdout

    def services(self) -> list[str]:
        """The services that can run here."""
        found = self.run("config", "--services").split()
        return sorted(set(found) - self.left_out)

    def up(self) -> None:
        """Start everything and wait until it is healthy."""
        wait = ["--wait", "--wait-timeout", str(UP_SECONDS)]
        self.run("up", "--detach", "--no-build", "--pull", "never", *wait, *self.services())

    def down(self) -> None:
        """Remove containers, networks and volumes."""
        self.run("down", "--volumes", "--remove-orphans", "--timeout", "60")

    def container(self, service: str) -> str:
        """The id of the container of a service."""
        return self.run("ps", "--all", "--quiet", service).strip()

    def inspect(self, service: str, form: str) -> str:
        """A fact about the container of a service."""
        return self.engine.docker("inspect", "--format", form, self.container(service))

    def kill(self, service: str) -> None:
        """SIGKILL to the first process of a container, as the kernel does when memory is short.

        `docker kill` would be an operator's wish, after which the engine starts nothing again.
        """
        if self.engine.own:
            os.kill(int(self.inspect(service, "{{.State.Pid}}")), signal.SIGKILL)
        else:  # it may be on another machine
            self.run("kill", "--signal", "KILL", service)
            self.run("up", "--detach", "--no-build", "--pull", "never", "--no-deps", service)

    def came_back(self, service: str) -> bool:
        """True when a killed container is healthy again; it may have looked so before it ended."""
        health, restarts = self.inspect(
            service, "{{.State.Health.Status}} {{.RestartCount}}"
        ).split()
        return health == "healthy" and (restarts != "0" or not self.engine.own)

    def command(self, *arguments: str) -> str:
        """What the lineament command says, asked from outside of the containers."""
        environment = {key: value for key, value in os.environ.items() if "LINEAMENT" not in key}
        done = subprocess.run(
            [sys.executable, "-m", "api", *arguments, "--server", self.url],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            said = (done.stdout + done.stderr)[-4000:]
            raise AssertionError(
                f"lineament {' '.join(arguments)} ended with {done.returncode}: {said}"
            )
        return done.stdout.strip()

    def get(self, path: str) -> Any:
        """A resource of the API; none while it is away."""
        answer = httpx.get(f"{self.url}{path}", timeout=30)
        answer.raise_for_status()
        return answer.json()

    def asked(self, query: str) -> list[dict[str, Any]]:
        """What Prometheus answers to a query."""
        url = f"http://localhost:{self.prometheus_port}/api/v1/query"
        answer = httpx.get(url, params={"query": query}, timeout=30)
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def over_time(self, query: str, began: float, ended: float) -> list[dict[str, Any]]:
        """What Prometheus answers to a query from one moment (Unix time) to another."""
        url = f"http://localhost:{self.prometheus_port}/api/v1/query_range"
        moments = {"start": str(began), "end": str(ended), "step": str(SCRAPE_SECONDS)}
        answer = httpx.get(url, params={"query": query, **moments}, timeout=30)
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def python(self, service: str, program: str) -> str:
        """What a Python program says inside a container."""
        return self.run("exec", "-T", service, "python", "-c", program).strip()


def until(condition: Callable[[], Any], what: str, seconds: float) -> Any:
    """The first answer that is true; AssertionError when there is none in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := condition():
                return found
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")


def report_of(directory: Path) -> bool:
    """True when a whole report lies there."""
    return all((directory / name).is_file() for name in ("report.html", "results.json"))
