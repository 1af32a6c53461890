"""A stage that hangs."""

from __future__ import annotations

import time

from shared.stages.stage import Stage


def run(stage: Stage) -> None:
    """Ignores every request to leave."""
    time.sleep(stage.parameters["seconds"])
