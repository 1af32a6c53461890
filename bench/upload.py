"""A large upload: how much memory the API takes, against the size of the file.

    python bench/upload.py [--gigabytes 2]

Makes a JSONL file, starts an API with a store of its own (and a Valkey), sends the file by REST
with its checksum, and samples the API's resident memory every 50 ms. One JSON line: memory before
the upload, the most memory during it, seconds, and the floor, which is the time to copy the file to
the same disk and sync it (the API also hashes it and parses every line of it).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
import threading
import time
from pathlib import Path

import httpx
import psutil
from api_load import MEBI, servers

LINE = json.dumps({"text": "The old lighthouse keeper counted the ships again. " * 20}) + "\n"


def write_corpus(path: Path, size: int) -> str:
    """Write JSONL of about `size` bytes; returns its sha256."""
    digest = hashlib.sha256()
    block = (LINE * (MEBI // len(LINE))).encode()
    with path.open("wb") as handle:
        while handle.tell() < size:
            handle.write(block)
            digest.update(block)
    return digest.hexdigest()


def copy_seconds(path: Path) -> float:
    """Seconds that it takes to copy the file to the same disk and sync it."""
    began = time.perf_counter()
    target = path.with_suffix(".copy")
    with path.open("rb") as source, target.open("wb") as handle:
        while piece := source.read(MEBI):
            handle.write(piece)
        handle.flush()
        os.fsync(handle.fileno())
    seconds = time.perf_counter() - began
    target.unlink()
    return seconds


class Peak(threading.Thread):
    """The most resident memory of a process, sampled every 50 ms until `over` is set."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.bytes = 0
        self.over = threading.Event()
        self._process = process

    def run(self) -> None:
        """Sample the memory until `over` is set."""
        while not self.over.wait(0.05):
            self.bytes = max(self.bytes, self._process.memory_info().rss)


def main() -> None:
    """Upload a large file while watching the memory of the API; print a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="lineament-") as directory,
        servers(Path(directory)) as (_, url, api),
    ):
        path = Path(directory) / "corpus.jsonl"
        digest = write_corpus(path, int(options.gigabytes * 1e9))
        floor = copy_seconds(path)
        idle = api.memory_info().rss
        peak = Peak(api)
        peak.start()
        began = time.perf_counter()
        with path.open("rb") as handle:
            answer = httpx.put(
                f"{url}/v1/corpora/large",
                params={"sha256": digest},
                content=handle,
                headers={"Content-Type": "application/jsonl"},
                timeout=None,
            )
        seconds = time.perf_counter() - began
        answer.raise_for_status()
        peak.over.set()
        print(
            json.dumps(
                {
                    "bytes": path.stat().st_size,
                    "idle_mib": round(idle / MEBI, 1),
                    "peak_mib": round(peak.bytes / MEBI, 1),
                    "seconds": round(seconds, 1),
                    "copy_seconds": round(floor, 1),
                }
            )
        )


if __name__ == "__main__":
    main()
