"""From a resolved spec to a DAG of stages: `make_plan`. Pure, no input and no output."""

from shared.plan.graph import (
    KINDS,
    SERVICE_OF,
    STAGE_VERSIONS,
    Estimate,
    Plan,
    PlannedStage,
    stage_key,
)

__all__ = [
    "KINDS",
    "SERVICE_OF",
    "STAGE_VERSIONS",
    "Estimate",
    "Plan",
    "PlannedStage",
    "stage_key",
]
