"""Alertmanager for tests: its configuration, amtool, and the program itself."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.observability.support import PLACE
from tests.support.s3_servers import free_port

CONFIGURATION = PLACE / "alertmanager" / "alertmanager.yml"
RECEIVERS = "/run/secrets/alert-receiver"
URL_FILES = (
    0,
    26,
)  # the first release whose webhooks read their URL from a file; Debian 12 has 0.25
WAIT = "300ms"  # in place of half a minute and more, until a group is told


def program(*names: str) -> str:
    """The first of the programs that is here; the test skips without any."""
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.skip(f"{names[0]} is not installed (Debian's package prometheus-alertmanager has it)")


@lru_cache
def reads_url_files() -> bool:
    """False when the installed release is older than the one that is deployed, and knows none."""
    version = subprocess.run(
        [program("amtool"), "--version"], capture_output=True, text=True, check=True
    )
    found = re.search(r"version (\d+)\.(\d+)", version.stdout + version.stderr)
    assert found is not None
    return (int(found[1]), int(found[2])) >= URL_FILES


def configuration() -> dict[str, Any]:
    """What is deployed."""
    found: dict[str, Any] = yaml.safe_load(CONFIGURATION.read_text())
    return found


def written(text: str, place: Path) -> Path:
    """The text as a file that the installed release can read: URLs where it knows no files."""
    if not reads_url_files():
        text = re.sub(r"\burl_file: (\S+)/(\w+)", r"url: http://127.0.0.1:1/\2", text)
    path = place / "alertmanager.yml"
    path.write_text(text)
    return path


def amtool(*arguments: object) -> str:
    """What amtool says; the test fails with it when it refuses."""
    done = subprocess.run(
        [program("amtool"), *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def impatient(receiver: str) -> str:
    """The configuration, without its patience; webhooks are told below a URL of the test's."""
    text = CONFIGURATION.read_text()
    text = re.sub(r"\b(group_wait|group_interval): \w+", rf"\1: {WAIT}", text)
    return re.sub(r"\burl_file: \S+/(\w+)", rf"url: {receiver}/\1", text)


@contextlib.contextmanager
def alertmanager(path: Path, place: Path) -> Iterator[str]:
    """A running Alertmanager; its URL. What it logs is in `place`/log."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        program("alertmanager", "prometheus-alertmanager"),
        f"--config.file={path}",
        f"--storage.path={place / 'storage'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--cluster.listen-address=",
    ]
    with (place / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            for _ in range(200):
                assert process.poll() is None, (place / "log").read_text()
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.get(f"{url}/-/ready").is_success:
                        break
                time.sleep(0.05)
            yield url
        finally:
            process.terminate()
            process.wait()


def raised(url: str, *alerts: dict[str, str]) -> None:
    """Tell an Alertmanager of alerts, as Prometheus does."""
    body = [{"labels": labels} for labels in alerts]
    assert httpx.post(f"{url}/api/v2/alerts", json=body).is_success


def held_back(url: str) -> dict[str, bool]:
    """Each alert on the page, and whether another one holds it back."""
    shown = httpx.get(f"{url}/api/v2/alerts").json()
    return {one["labels"]["alertname"]: bool(one["status"]["inhibitedBy"]) for one in shown}
