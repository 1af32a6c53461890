"""Copy what a stage prints (text for its user) into the worker's log (JSON lines)."""

from __future__ import annotations

from pathlib import Path

import structlog

LONGEST_LINE = 2000  # characters of a line that are copied
MOST = 64 << 10  # bytes copied by one look; the stage's own log keeps everything

log = structlog.get_logger()


class Relay:
    """Follows the log file of a stage. Each line is logged with the ids that are bound here."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def look(self, last: bool = False) -> None:
        """Copy the lines since the previous look; with `last`, also one that is not finished."""
        try:
            with self._path.open("rb") as handle:
                size = self._path.stat().st_size
                if size - self._read > MOST:
                    log.warning("stage said too much", skipped_bytes=size - self._read - MOST)
                    self._read = size - MOST
                handle.seek(self._read)
                data = handle.read(MOST)
        except FileNotFoundError:
            return
        whole = data if last else data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            if line.strip():
                log.info("stage said", text=line[:LONGEST_LINE])
