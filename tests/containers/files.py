"""The files that say what runs in which container, as data."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from shared.stages.kinds import SERVICES

ROOT = Path(__file__).resolve().parents[2]
OWN = ("api", "reconciler", *SERVICES)
PUBLIC = {  # what compose.public.yml insists on
    "API_KEYS": '[{"name": "ada", "sha256": "' + "0" * 64 + '", "scopes": ["submit"]}]',
    "TRUSTED_HOSTS": "lineament.example.org",
    "REDIS_PASSWORD": "secret1",
    "S3_ACCESS_KEY": "access",
    "S3_SECRET_KEY": "secret22",
    "GRAFANA_PASSWORD": "secret3",
}


def images() -> dict[str, str]:
    """images.env."""
    lines = (ROOT / "images.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def compose_command() -> list[str] | None:
    """The compose program: beside this Python, on PATH, or a plugin of docker. None without any."""
    beside = Path(sys.executable).parent / "docker-compose"
    found = str(beside) if beside.exists() else shutil.which("docker-compose")
    if found and _is_v2([found]):
        return [found]
    plugin = ["docker", "compose"]
    return plugin if shutil.which("docker") and _is_v2(plugin) else None


def _is_v2(command: list[str]) -> bool:
    """The one written in Python (1.29) cannot include files."""
    said = subprocess.run([*command, "version", "--short"], capture_output=True, text=True)
    return said.returncode == 0 and not said.stdout.startswith("1.")


def rendered(
    *files: str, profiles: tuple[str, ...] = (), variables: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What compose makes of the files, with nothing but `variables` in the environment."""
    command = compose_command()
    assert command is not None
    for file in ("docker-compose.yml", *files):
        command += ["-f", str(ROOT / file)]
    for profile in profiles:
        command += ["--profile", profile]
    environment = {"PATH": os.environ["PATH"], "HOME": "/tmp", **(variables or {})}
    # An environment file of its own, so that a developer's .env does not count.
    command += ["--env-file", os.devnull, "config"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)
    return found


def stages() -> dict[str, list[str]]:
    """The stages of the Dockerfile, in their order, each with its instructions."""
    text = re.sub(r"\\\n(\s*#.*\n)*", " ", (ROOT / "Dockerfile").read_text())
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if began := re.match(r"FROM (\S+) AS (\S+)", line):
            found[began[2]] = [line]
        elif line and not line.startswith("#") and found:
            list(found.values())[-1].append(line)
    return found


def ancestry(stage: str) -> list[str]:
    """All instructions of a stage, those of the stages that it starts from first."""
    found = stages()
    parent = found[stage][0].split()[1]
    return [*(ancestry(parent) if parent in found else []), *found[stage]]
