"""How far the stage is, while a part of it works."""

from __future__ import annotations

from services.analyzer.explanations.held_out import Watch
from shared.stages.stage import Leave, Stage


def watch_part(stage: Stage, begin: float, share: float) -> Watch:
    """For a part of the stage that begins at `begin` and is `share` of the whole, both of 1.

    What it returns is called with what is done and all there is, and raises Leave when the stage is
    asked to stop.
    """

    def watch(done: int, total: int) -> None:
        if stage.stopping:
            raise Leave
        stage.progress(round(100 * (begin + share * done / max(1, total)), 1), 100, "percent")

    return watch
