"""Stages, their keys, and the builder that turns `add` calls into a plan. Pure, no I/O.

key = sha256 over the canonical JSON of {kind, version, parameters, inputs}. Nothing else is in it:
titles and estimates may change, and two places that need the same stage share it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from shared.stages.kinds import KINDS

PLAN_VERSION = 1


class Estimate(BaseModel):
    """What a stage is expected to cost; None where it cannot be known before it runs.

    `tokens` are token positions read (of a stage that asks a language model: tokens of prompts and
    answers), `flops` floating point operations, `bytes` the size of the artifact.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: int | None = None
    flops: float | None = None
    bytes: int | None = None


class PlannedStage(BaseModel):
    """One stage of a plan.

    `inputs` maps an input's name to the key of the stage that makes it; of the inputs named in
    `light` only the results in the manifest are needed, not the files. `uploads` are the sha256
    digests of uploaded files that the stage reads. `title` is for people.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    kind: str
    service: str
    version: int
    parameters: dict[str, Any]
    inputs: dict[str, str]
    light: tuple[str, ...] = ()
    uploads: tuple[str, ...] = ()
    title: str
    tokens: int | None = None
    flops: float | None = None
    bytes: int | None = None


class Plan(BaseModel):
    """All stages of an experiment; every stage comes after its inputs.

    `provisional` says that something could not be pinned (no network): such a plan may be shown,
    but not run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(PLAN_VERSION, le=PLAN_VERSION)
    name: str
    provisional: bool = False
    stages: tuple[PlannedStage, ...]

    def stage(self, key: str) -> PlannedStage:
        """The stage of that key; KeyError if the plan has none."""
        for stage in self.stages:
            if stage.key == key:
                return stage
        raise KeyError(key)


def canonical_json(value: object) -> str:
    """JSON with one spelling per value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def stage_key(
    kind: str, version: int, parameters: Mapping[str, Any], inputs: Mapping[str, str]
) -> str:
    """The key of a stage: 64 hexadecimal digits."""
    named = {
        "kind": kind,
        "version": version,
        "parameters": dict(parameters),
        "inputs": dict(inputs),
    }
    return hashlib.sha256(canonical_json(named).encode()).hexdigest()


def derived_seed(*words: object) -> int:
    """A seed of 32 bits from words: the same words give the same seed, others an unrelated one."""
    text = "/".join(str(word) for word in words)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


class Graph:
    """Collects stages; a stage that is asked for twice is there once."""

    def __init__(self) -> None:
        self._stages: dict[str, PlannedStage] = {}

    def add(
        self,
        kind: str,
        title: str,
        parameters: BaseModel,
        inputs: Mapping[str, str],
        *,
        light: Sequence[str] = (),
        uploads: Sequence[str] = (),
        estimate: Estimate | None = None,
    ) -> str:
        """Add a stage whose inputs are there already; returns its key."""
        assert all(key in self._stages for key in inputs.values()), "inputs come first"
        known = KINDS[kind]
        values = parameters.model_dump(mode="json")
        key = stage_key(kind, known.version, values, inputs)
        if key not in self._stages:
            self._stages[key] = PlannedStage(
                key=key,
                kind=kind,
                service=known.service,
                version=known.version,
                parameters=values,
                inputs=dict(inputs),
                light=tuple(light),
                uploads=tuple(uploads),
                title=title,
                **(estimate or Estimate()).model_dump(),
            )
        return key

    def stages(self) -> tuple[PlannedStage, ...]:
        """All stages, inputs before the stages that need them."""
        return tuple(self._stages.values())


def numbered(name: str, keys: Sequence[str]) -> dict[str, str]:
    """Inputs name/0, name/1 .. in order."""
    return {f"{name}/{number}": key for number, key in enumerate(keys)}
