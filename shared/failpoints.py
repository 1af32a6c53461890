"""Named moments at which the fault suite can make a process die, stop or fail.

Nothing happens unless LINEAMENT_FAILPOINTS names a directory and that directory has a file with the
name of the point. The first process that gets there takes the file (by renaming it to POINT.PID)
and does what it says: "kill", "stop" (SIGSTOP, until somebody sends SIGCONT), "sleep SECONDS" or
"full" (no space left).
"""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

POINTS = (
    "after-shard",  # a shard of harvested activations is written
    "inside-checkpoint",  # in the stage: the checkpoint's files are written, it is not complete yet
    "before-checkpoint-pointer",  # in the supervisor: files are stored, nothing points to them
    "before-manifest",  # the artifact's files are stored, the manifest is not
    "after-manifest",  # the manifest is there, the lease is still held, nobody was notified
    "after-acquire",  # the lease was taken, no attempt is recorded yet
)


def reached(point: str) -> None:
    """Mark that a named moment has come; OSError where the file asks for a full disk."""
    directory = os.environ.get("LINEAMENT_FAILPOINTS")
    if directory is None:
        return
    assert point in POINTS, f"no failpoint {point}"
    taken = Path(directory) / f"{point}.{os.getpid()}"
    try:
        (Path(directory) / point).rename(taken)  # atomic: only one process takes it
    except OSError:
        return
    action, _, argument = taken.read_text().strip().partition(" ")
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif action == "sleep":
        time.sleep(float(argument))
    elif action == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
