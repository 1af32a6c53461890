"""The language model that a stage may ask, as the worker's settings name it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from pydantic import SecretStr


@dataclass(frozen=True)
class ExplainerSettings:
    """How to reach an OpenAI-compatible server; without `url` and `model` there is none.

    `concurrency` is the number of requests at the same time. `timeout` is for one answer, `grace`
    the time that a stage has to leave; both in seconds.
    """

    url: str = ""
    model: str = ""
    key: SecretStr = field(default_factory=lambda: SecretStr(""))
    concurrency: int = 1
    timeout: float = 60.0
    grace: float = 25.0

    @property
    def endpoint(self) -> str:
        """What a stage's key holds of the server: sha256 (hex) of its address and the model."""
        return hashlib.sha256(f"{self.url}\n{self.model}".encode()).hexdigest()
