"""A stage with a mistake in it."""

from __future__ import annotations

from shared.stages.stage import Stage


def run(stage: Stage) -> None:
    """An unexpected error."""
    raise RuntimeError("boom")
