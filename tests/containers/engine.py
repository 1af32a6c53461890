"""A Docker engine in which containers have networks: the one that runs, or one of our own.

The one of tests/support/docker_engine.py has no networks, which compose needs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 60


class NotHere(Exception):
    """This machine cannot run the test; the text says why."""


@dataclass(frozen=True)
class Engine:
    """A Docker engine. `own` is true for one that was started here, whose processes we see."""

    host: str | None
    own: bool
    client: str

    @property
    def environment(self) -> dict[str, str]:
        """What docker and compose need to find it."""
        return {**os.environ, **({"DOCKER_HOST": self.host} if self.host else {})}

    def docker(self, *arguments: str, stdin: bytes | None = None, check: bool = True) -> str:
        """What a docker command says."""
        done = subprocess.run(
            [self.client, *arguments], env=self.environment, input=stdin, capture_output=True
        )
        if check and done.returncode:
            raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr.decode()[-4000:]}")
        return done.stdout.decode().strip() if not done.returncode else ""

    def answers(self) -> bool:
        """True when it does."""
        return bool(self.docker("info", "--format", "{{.ServerVersion}}", check=False))

    def has(self, image: str) -> bool:
        """True when the image is here."""
        return bool(self.docker("image", "inspect", "--format", "{{.Id}}", image, check=False))


@contextmanager
def engine(directory: Path) -> Iterator[Engine]:
    """The engine that runs, or one that keeps its images in `directory`; NotHere without any."""
    # Debian's client first: one that is newer than the engine may want what the engine has not.
    client = shutil.which("docker", path="/usr/bin") or shutil.which("docker")
    if client is None:
        raise NotHere("docker is not installed")
    running = Engine(None, False, client)
    if running.answers():
        yield running
        return
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        raise NotHere("no Docker engine runs, and only root may start one")
    if shutil.which("iptables") is None:
        raise NotHere("no Docker engine runs, and one needs iptables for its networks")
    rules = subprocess.run(["iptables-save"], capture_output=True).stdout
    process, started = _start(client, directory)
    try:
        yield started
    finally:
        process.terminate()
        process.wait()
        _clean(directory, rules)


def _start(client: str, directory: Path) -> tuple[subprocess.Popen[bytes], Engine]:
    directory.mkdir(parents=True, exist_ok=True)
    started = Engine(f"unix://{directory}/docker.sock", True, client)
    command = ["dockerd", "--data-root", f"{directory}/data", "--exec-root", f"{directory}/exec"]
    command += ["--pidfile", f"{directory}/pid", "--host", f"unix://{directory}/docker.sock"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    until = time.monotonic() + START_SECONDS
    while not started.answers():
        if process.poll() is not None or time.monotonic() > until:
            process.terminate()
            process.wait()
            last = (directory / "log").read_text().strip().splitlines()[-1:]
            raise NotHere(f"the Docker engine does not start: {last}")
        time.sleep(0.2)
    return process, started


def _clean(directory: Path, rules: bytes) -> None:
    """What an engine leaves behind: a mount, its bridge and its rules."""
    subprocess.run(["umount", f"{directory}/exec/netns/default"], capture_output=True)
    subprocess.run(["ip", "link", "delete", "docker0"], capture_output=True)
    for table in ("filter", "nat"):
        if f"*{table}".encode() not in rules:
            rules += _nothing(table)
    subprocess.run(["iptables-restore"], input=rules, capture_output=True)


def _nothing(table: str) -> bytes:
    chains = ("INPUT", "FORWARD", "OUTPUT", *(("PREROUTING", "POSTROUTING") * (table == "nat")))
    open_chains = "".join(f":{chain} ACCEPT [0:0]\n" for chain in chains)
    return f"*{table}\n{open_chains}COMMIT\n".encode()
