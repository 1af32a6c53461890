"""Everything that is configured from outside, read from LINEAMENT_* when a process starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.store import LocalStore, Store


class Settings(BaseSettings):
    """Settings of one process. Durations are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(env_prefix="LINEAMENT_", frozen=True)

    data: Path = Field(Path(".lineament"), description="Directory of store, queue, work and logs.")
    redis_url: str = Field("redis://127.0.0.1:6379/0", description="Broker, leases, live progress.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where stages compute.")
    threads: int = Field(0, ge=0, description="Threads of a stage; 0 takes every core.")
    lease: float = Field(
        10.0, gt=0, description="A worker silent for this long has lost its stage."
    )
    checkpoint: float = Field(60.0, gt=0, description="Longest time between two checkpoints.")
    grace: float = Field(25.0, gt=0, description="Time a stage has to leave before it is killed.")
    stall: float = Field(1800.0, gt=0, description="A stage that says nothing this long is killed.")
    poll: float = Field(1.0, gt=0, description="The reconciler looks around at least this often.")
    attempts: int = Field(3, ge=1, description="Attempts without progress before a stage fails.")
    metrics_port: int = Field(0, ge=0, description="Port of a worker's /metrics; 0 for none.")
    upload_limit: int = Field(50_000_000_000, gt=0, description="Largest upload.")

    def thread_count(self) -> int:
        """Threads that a stage uses."""
        return self.threads or os.cpu_count() or 1

    def open_store(self) -> Store:
        """The object store."""
        return LocalStore(self.data / "store")
