"""The base image where no registry can be reached: Debian by debootstrap.

It gets this machine's way to packages: certificates, pip's index and folders of wheels.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.containers.engine import Engine, NotHere

SUITE = "bookworm"
# What the images of Lineament and their stand-ins (substitutes/Dockerfile) need of Debian.
PACKAGES = "ca-certificates,python3,python3-pip,python3-venv,redis-server,prometheus"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
LEFT_OUT = ("./var/cache/apt", "./var/lib/apt/lists", "./usr/share/doc", "./usr/share/man", "./dev")


def bootstrap(engine: Engine, name: str) -> None:
    """Import Debian as the image of that name; NotHere where that is impossible."""
    if shutil.which("debootstrap") is None:
        raise NotHere("no registry can be reached, and debootstrap is not installed")
    with tempfile.TemporaryDirectory(prefix="lineament-base-") as directory:
        root = Path(directory)
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}"]
        done = subprocess.run(
            [*command, SUITE, str(root)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if done.returncode:
            last = done.stdout.decode().strip().splitlines()[-1:]
            raise NotHere(f"no registry can be reached, and debootstrap failed: {last}")
        _way_to_packages(root)
        _import(engine, root, name)


def _import(engine: Engine, root: Path, name: str) -> None:
    tar = ["tar", "--directory", str(root), *(f"--exclude={path}" for path in LEFT_OUT), "-c", "."]
    with subprocess.Popen(tar, stdout=subprocess.PIPE) as packed:
        subprocess.run(
            [engine.client, "import", "-", name],
            env=engine.environment,
            stdin=packed.stdout,
            stdout=subprocess.DEVNULL,
            check=True,
        )


def _way_to_packages(root: Path) -> None:
    """Let pip inside find what pip finds here."""
    if CERTIFICATES.exists():
        shutil.copy(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
    options = pip_options()
    for folder in folders_of_wheels(options):
        shutil.copytree(folder, root / folder.relative_to("/"), dirs_exist_ok=True)
    lines = [f"{key} = {value}\n" for key, value in options.items()]
    (root / "etc" / "pip.conf").write_text("[global]\n" + "".join(lines))


def pip_options() -> dict[str, str]:
    """What decides where pip looks, without indexes that are folders: they may be anything."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    wanted = ("index-url", "extra-index-url", "find-links", "cert", "timeout", "default-timeout")
    found = {}
    for key, value in re.findall(r"^[^=]*?\.([a-z-]+)='(.*)'$", said, re.MULTILINE):
        words = [word for word in value.replace("\\n", " ").split() if "file:" not in word]
        if key in wanted and words:
            found[key] = " ".join(words)
    return found


def folders_of_wheels(options: dict[str, str]) -> list[Path]:
    """The folders among pip's find-links."""
    words = [Path(word) for word in options.get("find-links", "").split()]
    return [path for path in words if path.is_absolute() and path.is_dir()]


def torch_lies_here() -> bool:
    """True when a folder of wheels has a torch for CPUs, which then needs no index of its own."""
    folders = folders_of_wheels(pip_options())
    return any(found for folder in folders for found in folder.glob("torch-*+cpu-*.whl"))
