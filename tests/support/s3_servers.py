"""S3 servers as processes of their own: ministack (keeps objects on disk) and moto (in memory)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

START_SECONDS = 60  # a busy machine imports slowly
STOP_SECONDS = 10


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def start_ministack(directory: Path, port: int, **environment: str) -> subprocess.Popen[bytes]:
    """ministack with its objects under `directory`; starting it there again finds them again."""
    (directory / "s3").mkdir(parents=True, exist_ok=True)
    variables = {
        **os.environ,
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": "s3",
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(directory / "s3"),
        "IOT_MTLS_ENABLED": "0",  # its port is fixed: a second server would not get it
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        **environment,
    }
    return _start([sys.executable, "-m", "ministack"], directory / "ministack.log", port, variables)


def start_moto(directory: Path, port: int) -> subprocess.Popen[bytes]:
    """moto's server; its objects go with it."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    return _start(command, directory / "moto.log", port, dict(os.environ))


def _start(
    command: list[str], log: Path, port: int, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        wait_until_answers(port, process)
    except BaseException:
        stop(process)
        raise RuntimeError(f"{command[2]} did not start: {log.read_text()[-2000:]}") from None
    return process


def wait_until_answers(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when the server answers a request, whatever it says; TimeoutError otherwise."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nothing answers on port {port}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server, in order if it can."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
