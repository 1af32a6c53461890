"""A stage that writes into its log."""

from __future__ import annotations

import time

from shared.stages.stage import Stage


def run(stage: Stage) -> None:
    """Says something now and then."""
    for number in range(stage.parameters["lines"]):
        print("line", number)
        time.sleep(stage.parameters["pause"])
