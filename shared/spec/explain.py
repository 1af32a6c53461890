"""Names for features: which are explained, by whom, and what it may cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from shared.lineage.explanations.feature_status import FEATURE_STATUSES
from shared.spec.base import Between, Count, Distinct, Flag, Name, Part, Whole, mistake

MOST_FEATURES = 10_000  # of one status; a dictionary has no more that anybody reads

_SETTING = "is a setting of the server ({}), never part of a spec; language_model: true asks for it"


class Explain(Part):
    """Explanations of the features of every tracked model, scored on held-out text."""

    HINTS: ClassVar[Mapping[str, str]] = {
        "endpoint": _SETTING.format("LINEAMENT_EXPLAIN_URL"),
        "url": _SETTING.format("LINEAMENT_EXPLAIN_URL"),
        "model": _SETTING.format("LINEAMENT_EXPLAIN_MODEL"),
        "key": _SETTING.format("LINEAMENT_EXPLAIN_KEY"),
        "api_key": _SETTING.format("LINEAMENT_EXPLAIN_KEY"),
    }

    features: Annotated[Whole, Between(1, MOST_FEATURES)] = Field(
        50,
        description=f"Features of each status ({', '.join(FEATURE_STATUSES)}) of "
        "each model that the language model explains and the report lists. Rules name all.",
    )
    language_model: Flag = Field(
        False,
        description="Ask the server's language model too. Held-out text of the corpora is sent to "
        "it.",
    )
    requests: Count | None = Field(
        None, description="Requests that each stage may spend; no limit by default."
    )
    tokens: Count | None = Field(
        None,
        description="Tokens that each stage may spend, prompts and answers together; no limit by "
        "default.",
    )
    tracking: Annotated[tuple[Name, ...], Distinct()] | None = Field(
        None, description="Trackings whose features are explained; all by default."
    )

    @model_validator(mode="after")
    def _budget_of_somebody(self) -> Self:
        for name in ("requests", "tokens"):
            if getattr(self, name) is not None and not self.language_model:
                raise mistake("belongs to language_model: true; rules cost nothing", name)
        return self
