"""A stage that can never succeed."""

from __future__ import annotations

from shared.stages.stage import Stage, StageError


def run(stage: Stage) -> None:
    """A stage that can never succeed."""
    raise StageError("corpora.lua: has no text")
