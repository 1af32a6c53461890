"""From a resolved spec to a DAG of stages: `make_plan`. Pure, no input and no output."""

from shared.plan.graph import (
    Estimate,
    Plan,
    PlannedStage,
    canonical_json,
    stage_key,
)
from shared.plan.plan import make_plan

__all__ = [
    "Estimate",
    "Plan",
    "PlannedStage",
    "canonical_json",
    "make_plan",
    "stage_key",
]
