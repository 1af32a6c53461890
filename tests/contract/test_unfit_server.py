"""No process works over a server that ignores the header on which every manifest depends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.proxy import FaultyProxy

PROGRAMS = {
    "api": ["-m", "api.server", "--port", "0"],
    "reconciler": ["-m", "shared.experiments.reconciler"],
    "worker": ["-m", "shared.worker.app", "--queues=trainer"],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_server_that_ignores_conditional_creates_is_refused_at_start(
    name: str, ministack_port: int, redis_url: str, tmp_path: Path
) -> None:
    with FaultyProxy(0, ministack_port, strip=("If-None-Match",)) as deaf:
        settings = {
            "LINEAMENT_DATA": str(tmp_path),
            "LINEAMENT_REDIS_URL": redis_url,
            "LINEAMENT_S3_ENDPOINT": f"http://127.0.0.1:{deaf.port}",
            "LINEAMENT_S3_BUCKET": "unfit",
            "LINEAMENT_S3_ACCESS_KEY": "test",
            "LINEAMENT_S3_SECRET_KEY": "test",
        }
        ended = subprocess.run(
            [sys.executable, *PROGRAMS[name]],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert ended.returncode == 2, ended.stderr
    assert "does not keep conditional creates (If-None-Match)" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
