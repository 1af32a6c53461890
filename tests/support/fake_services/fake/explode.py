"""A stage whose loss becomes no number."""

from __future__ import annotations

from shared.stages.stage import NotFiniteError, Stage


def run(stage: Stage) -> None:
    """What a learning rate that is too high does."""
    raise NotFiniteError("the loss became nan")
