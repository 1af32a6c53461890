"""A real Docker engine for tests: the one that runs already, or one started for the session."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 30
EMPTY = "lineament-test-empty:latest"  # an image without a file: all of it is mounted
HOST = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc")  # of this machine, read-only


class NoEngineError(Exception):
    """There is no Docker engine and none can be started; the text says why."""


@contextmanager
def docker_engine() -> Iterator[list[str]]:
    """The docker command with which the engine is reached; NoEngineError if there is none."""
    client = shutil.which("docker", path="/usr/bin") or shutil.which("docker")
    if client is None:
        raise NoEngineError("docker is not installed")
    if _answers([client]):
        yield [client]
        return
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        raise NoEngineError("no Docker engine runs, and only root may start one")
    with tempfile.TemporaryDirectory(prefix="lineament-docker-") as directory:
        socket = f"unix://{directory}/docker.sock"
        command = [
            "dockerd",
            "--data-root",
            f"{directory}/data",
            "--exec-root",
            f"{directory}/exec",
        ]
        command += ["--pidfile", f"{directory}/pid", "-H", socket, "--iptables=false"]
        with (Path(directory) / "log").open("wb") as log:
            engine = subprocess.Popen([*command, "--bridge=none"], stdout=log, stderr=log)
        try:
            docker = [client, "-H", socket]
            until = time.monotonic() + START_SECONDS
            while not _answers(docker):
                if engine.poll() is not None or time.monotonic() > until:
                    last = (Path(directory) / "log").read_text().strip().splitlines()[-1:]
                    raise NoEngineError(f"the Docker engine does not start: {last}")
                time.sleep(0.2)
            yield docker
        finally:
            engine.terminate()
            engine.wait()
            # The engine leaves the mount of the host's network name space behind.
            subprocess.run(["umount", f"{directory}/exec/netns/default"], capture_output=True)


def _answers(docker: list[str]) -> bool:
    return subprocess.run([*docker, "info"], capture_output=True).returncode == 0


def import_empty_image(docker: list[str]) -> None:
    """Make the image EMPTY; nothing is pulled."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(folder)
    command = [*docker, "import", "-", EMPTY]
    subprocess.run(command, input=archive.getvalue(), check=True, capture_output=True)


def python_container(
    docker: list[str], name: str, arguments: list[str], environment: dict[str, str], data: Path
) -> list[str]:
    """The command that runs this Python, with this checkout, as process 1 of a container.

    The container sees this machine's programs read-only, `data` read-write and the network.
    """
    root = Path(__file__).resolve().parents[2]
    read_only = {*HOST, sys.base_prefix, sys.prefix, str(root)}
    mounts = [f"{path}:{path}:ro" for path in sorted(read_only) if Path(path).exists()]
    command = [*docker, "run", "--name", name, "--network", "host", "--workdir", str(root)]
    for mount in [*mounts, f"{data}:{data}"]:
        command += ["--volume", mount]
    for key, value in environment.items():
        command += ["--env", f"{key}={value}"]
    return [*command, EMPTY, sys.executable, *arguments]
