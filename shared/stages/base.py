"""What the parameters of all stage kinds have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Parameters(BaseModel):
    """Base of all stage parameters: frozen, and nothing unknown gets in."""

    model_config = ConfigDict(frozen=True, extra="forbid")
