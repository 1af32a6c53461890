"""All processes of an installation, started like a cluster's: Valkey, an S3 server behind a faulty
proxy, the API, the reconciler and two workers. Whatever dies is started again, as a cluster would.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from redis import Redis
from redis.exceptions import RedisError

from api.embedded import valkey_binary
from shared.settings import Settings
from shared.stages.kinds import SERVICES
from shared.store import Store
from tests.support.proxy import FaultyProxy
from tests.support.s3_servers import free_port, start_ministack, stop

MARK = "LINEAMENT_FAULTS_MARK"  # environment variable by which leftover processes are known
WORKERS = ("worker-1", "worker-2")
START_SECONDS = 60


@dataclass
class Program:
    """A process of the installation and how to start it."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None


@dataclass
class Cluster:
    """The running installation. `local` keeps the objects in a directory instead of S3."""

    directory: Path
    local: Path | None = None
    checkpoint: float = 0.3
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        self.failpoints = self.directory / "failpoints"
        self.failpoints.mkdir(parents=True)
        (self.directory / "logs").mkdir()
        self.redis_port, self.s3_port, self.proxy_port, self.api_port = (
            free_port() for _ in "1234"
        )
        self.url = f"http://127.0.0.1:{self.api_port}"
        self.redis = Redis.from_url(self._redis_url, decode_responses=True, protocol=2)
        self.proxy = None if self.local else FaultyProxy(self.proxy_port, self.s3_port)
        self._s3: subprocess.Popen[bytes] | None = None
        self.programs = {program.name: program for program in self._programs()}

    @property
    def _redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.redis_port}/0"

    def environment(self, name: str, port: int) -> dict[str, str]:
        """What a process of that name is configured with."""
        data = self.local or self.directory / "data" / name
        data.mkdir(parents=True, exist_ok=True)
        inherited = {key: value for key, value in os.environ.items() if "LINEAMENT" not in key}
        s3 = {
            "LINEAMENT_S3_ENDPOINT": f"127.0.0.1:{port}",
            "LINEAMENT_S3_BUCKET": "faults",
            "LINEAMENT_S3_ACCESS_KEY": "test",
            "LINEAMENT_S3_SECRET_KEY": "test",
            "LINEAMENT_S3_SECURE": "false",
        }
        return {
            **inherited,
            MARK: self.mark,
            "LINEAMENT_DATA": str(data),
            "LINEAMENT_REDIS_URL": self._redis_url,
            "LINEAMENT_FAILPOINTS": str(self.failpoints),
            "LINEAMENT_CHECKPOINT": str(self.checkpoint),
            "LINEAMENT_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
            **({} if self.local else s3),
        }

    def _programs(self) -> Iterator[Program]:
        (self.directory / "valkey").mkdir()
        valkey = [valkey_binary(), "--port", str(self.redis_port), "--bind", "127.0.0.1"]
        valkey += ["--appendonly", "yes", "--dir", str(self.directory / "valkey")]
        yield Program("redis", valkey, {**os.environ, MARK: self.mark})
        yield self._python("api", ["-m", "api.server", "--port", str(self.api_port)])
        yield self._python("reconciler", ["-m", "shared.experiments.reconciler"])
        for name in WORKERS:
            options = [f"--hostname={name}", f"--queues={','.join(SERVICES)}"]
            yield self._python(name, ["-m", "shared.worker.app", *options])

    def _python(self, name: str, arguments: list[str]) -> Program:
        return Program(name, [sys.executable, *arguments], self.environment(name, self.proxy_port))

    # -------------------------------------------------------------------- processes

    def start(self) -> None:
        """Start everything and wait until it answers."""
        if self.proxy is not None:
            (self.directory / "ministack").mkdir()
            self._s3 = start_ministack(self.directory / "ministack", self.s3_port)
        for name in self.programs:
            self.run(name)
            if name == "redis":
                self.until(self._redis_answers, "Redis to answer")
        self.until(self._api_answers, "the API to answer")

    def run(self, name: str, **environment: str) -> None:
        """Start a process, or start it again; `environment` is added to its own."""
        program = self.programs[name]
        assert program.process is None or program.process.poll() is not None, f"{name} runs"
        with (self.directory / "logs" / f"{name}.log").open("ab") as output:
            program.process = subprocess.Popen(
                program.command,
                env={**program.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process of the installation (not to its children)."""
        process = self.programs[name].process
        assert process is not None
        process.send_signal(number)

    def kill(self, *names: str) -> None:
        """SIGKILL, and wait until the process is gone."""
        for name in names:
            self.send(name, signal.SIGKILL)
        for name in names:
            process = self.programs[name].process
            assert process is not None
            process.wait(10)

    def revive(self) -> None:
        """Start again whatever is not running."""
        for name, program in self.programs.items():
            if program.process is not None and program.process.poll() is not None:
                self.run(name)

    def family(self, name: str) -> list[psutil.Process]:
        """A process and all that descend from it: worker, pool process, spawner, stage."""
        process = self.programs[name].process
        assert process is not None
        try:
            top = psutil.Process(process.pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def stop(self) -> None:
        """End everything."""
        for program in self.programs.values():
            for process in reversed(self.family(program.name)) if program.process else []:
                _signal(process, signal.SIGKILL)
            if program.process is not None:
                program.process.wait(10)
        if self._s3 is not None:
            stop(self._s3)
        if self.proxy is not None:
            self.proxy.close()
        self.redis.close()

    # -------------------------------------------------------------------- what is there

    def store(self) -> Store:
        """The store itself, not through the proxy."""
        if self.local:
            return Settings(data=self.local).open_store()
        return Settings(
            data=self.directory / "data" / "reader",
            s3_endpoint=f"127.0.0.1:{self.s3_port}",
            s3_bucket="faults",
            s3_access_key="test",
            s3_secret_key="test",
            s3_secure=False,
        ).open_store()

    def leases(self) -> dict[str, str]:
        """The attempt that holds each leased stage, by stage key."""
        prefix = "lineament:lease:"
        found = {}
        for name in self.redis.scan_iter(f"{prefix}*"):
            if holder := self.redis.get(name):
                found[name.removeprefix(prefix)] = str(holder)
        return found

    def marked(self) -> list[psutil.Process]:
        """Every process that this cluster started, directly or not, wherever it hangs now."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def wipe(self) -> None:
        """Back to an empty store and an empty Redis; workers stay, with empty caches."""
        self.revive()
        self.kill("api", "reconciler")
        for path in self.failpoints.iterdir():
            path.unlink()
        store = self.store()
        for folder in ("experiments/", "stages/", "idempotency/"):
            for info in list(store.list(folder)):
                store.delete(info.name)
        self.until(self._redis_answers, "Redis to answer")
        self.redis.flushall()
        for name in WORKERS:
            shutil.rmtree(self.directory / "data" / name / "cache", ignore_errors=True)
        self.revive()
        self.until(self._api_answers, "the API to answer")

    def until(
        self, condition: Callable[[], bool], what: str, seconds: float = START_SECONDS
    ) -> float:
        """Wait for a condition; returns the seconds it took, AssertionError after `seconds`."""
        began = time.monotonic()
        while not condition():
            waited = time.monotonic() - began
            assert waited < seconds, f"waited {waited:.0f} s in vain for {what}"
            time.sleep(0.05)
        return time.monotonic() - began

    def _redis_answers(self) -> bool:
        try:
            return bool(self.redis.ping())
        except (RedisError, OSError):
            return False

    def _api_answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).is_success
        except httpx.HTTPError:
            return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
