"""Stages of tests.support.fake_services, and one whose loss becomes no number."""

from __future__ import annotations

from shared.stages.stage import NotFiniteError, Stage
from tests.support.fake_services.fake import STAGES as OTHERS

STAGES = {**OTHERS, "explode": "tests.observability.services.fake:explode"}
PRELOAD = ()


def explode(stage: Stage) -> None:
    """What a learning rate that is too high does."""
    raise NotFiniteError("the loss became nan")
