"""Run a worker script with another project's packages.

LINEAMENT_PEERS names the directory that `make peers` filled: one virtual environment a peer.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
TIMEOUT = 300  # seconds; importing sae-lens alone takes about twenty on a busy machine


def ask(peer: str, worker: str, **values: Any) -> Any:
    """What `worker` (a script beside this file) answers to `values`, JSON both ways.

    Skips the test when there is no environment for that peer.
    """
    python = interpreter(peer)
    # Nothing of this project's environment reaches theirs, and nobody asks the network.
    settings = {"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/"),
                "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}  # fmt: skip
    done = subprocess.run(
        [python, HERE / worker],
        input=json.dumps(values, default=str),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=settings,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def interpreter(peer: str) -> Path:
    """The Python of that peer's environment."""
    directory = os.environ.get("LINEAMENT_PEERS")
    if not directory:
        pytest.skip("LINEAMENT_PEERS is not set: `make peers` makes the environments")
    python = Path(directory) / peer / "bin" / "python"
    if not python.exists():
        pytest.skip(f"LINEAMENT_PEERS has no environment {peer}")
    return python.absolute()
