"""A stage on a full disk."""

from __future__ import annotations

import errno
import os

from shared.stages.stage import Stage


def run(stage: Stage) -> None:
    """What a full disk does."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
