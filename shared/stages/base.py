"""What every stage kind declares: its parameters and its contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict


class Parameters(BaseModel):
    """Base of all stage parameters: frozen, and unknown fields are refused.

    All values enter a stage's key, so another default gives other keys.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class File:
    """A file of an artifact, and its columns, arrays or keys by name, one line each."""

    about: str
    parts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """A kind of stage: which service computes it, from what, and what comes out.

    Raise the version by hand when the same parameters and inputs shall give another artifact.
    `does` is one sentence. `inputs`, `files` and `results` have one line for each name, `terms` the
    definitions that several of these lines use.

    In the names of inputs and files `*` stands for the numbers from 0 on, and {word} for a name or
    number of that sort, one input (or file) for each; a name that ends with ? may be absent.
    """

    name: str
    service: str
    version: int
    does: str
    parameters: type[Parameters]
    inputs: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, File] = field(default_factory=dict)
    results: Mapping[str, str] = field(default_factory=dict)
    terms: Mapping[str, str] = field(default_factory=dict)


# What most model artifacts hold: a directory that transformers loads.
MODEL_FILES: Mapping[str, File] = {
    "config.json": File("architecture of the model"),
    "generation_config.json?": File("defaults for generating text"),
    "model.safetensors": File("weights"),
    "tokenizer.json": File("tokenizer of the model"),
    "tokenizer_config.json?": File("class and special tokens of the tokenizer"),
}
