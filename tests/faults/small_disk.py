"""A disk small enough to fill, in memory; only root may mount one."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

MEGABYTES = 48


@contextlib.contextmanager
def small_disk(path: Path | None) -> Iterator[None]:
    """Mount a small file system at `path` for a while; nothing happens without a path."""
    if path is None:
        yield
        return
    path.mkdir(parents=True)
    options = f"size={MEGABYTES}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
