"""Images for the test: pulled where a registry can be reached, made here where none can."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.containers.base import bootstrap, torch_lies_here
from tests.containers.engine import Engine
from tests.containers.files import OWN, ROOT, images

SUBSTITUTES = Path(__file__).parent / "substitutes" / "Dockerfile"
S3 = "lineament-test-s3"  # takes the place of MinIO: compose.test.yml
STAND_INS = ("redis", "prometheus")
OTHERS = (*STAND_INS, "alertmanager", "grafana", "redis-exporter")

Say = Callable[[str], None]


def prepare(engine: Engine, say: Say) -> set[str]:
    """Bring or make every image of the stack; returns the services that have to be left out."""
    wanted = images()
    base = wanted["PYTHON_IMAGE"]
    registry = _pull(engine, base)
    if not registry and not engine.has(base):
        say(f"no registry: Debian by debootstrap as {base}")
        bootstrap(engine, base)
    _build(engine, "s3", S3, SUBSTITUTES)
    missing = set()
    for service in OTHERS:
        image = wanted[f"{service.upper().replace('-', '_')}_IMAGE"]
        if registry and _pull(engine, image):
            continue
        if service in STAND_INS:
            _build(engine, service, image, SUBSTITUTES)
            say(f"{service}: Debian's, as {image}")
        else:
            missing.add(service)
            say(f"{service}: left out, {image} cannot be pulled")
    for target in OWN:
        image = f"ghcr.io/lineament/lineament-{target}:{wanted['LINEAMENT_TAG']}"
        _build(engine, target, image, ROOT / "Dockerfile")
        size = int(engine.docker("image", "inspect", "--format", "{{.Size}}", image))
        say(f"{target}: {size / 1e6:.0f} MB")
    return missing


def _pull(engine: Engine, image: str) -> bool:
    return bool(engine.docker("pull", "--quiet", image, check=False))


def _build(engine: Engine, target: str, tag: str, dockerfile: Path) -> None:
    """Build one target, by BuildKit if the client has it; what did not change is taken as it is."""
    arguments = [f"--build-arg=PYTHON_IMAGE={images()['PYTHON_IMAGE']}"]
    arguments += [f"--target={target}", f"--tag={tag}", f"--file={dockerfile}"]
    options = "" if torch_lies_here() else os.environ.get("TORCH_OPTIONS")
    if options is not None and dockerfile == ROOT / "Dockerfile":
        arguments.append(f"--build-arg=TORCH_OPTIONS={options}")
    buildkit = "1" if engine.docker("buildx", "version", check=False) else "0"
    done = subprocess.run(
        [engine.client, "build", *arguments, str(ROOT)],
        env=engine.environment | {"DOCKER_BUILDKIT": buildkit},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        raise RuntimeError(f"building {target}: {done.stdout.decode()[-4000:]}")
