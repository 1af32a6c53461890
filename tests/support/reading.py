"""A tiny model and dictionaries for stages that read effects on the logits: what contexts needs."""

from __future__ import annotations

from pathlib import Path

import torch

from shared.lm.dictionary import Dictionary
from tests.support.language_models import ARCHITECTURE, Artifact, model_artifact


def dictionary_artifact(directory: Path, features: int, width: int, seed: int = 0) -> Artifact:
    """A random dictionary with decoder directions of unit norm, at the MLP of layer 0."""
    directory.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    weight_FD = torch.randn(features, width, generator=generator)
    weight_FD /= weight_FD.norm(dim=1, keepdim=True)
    dictionary = Dictionary(
        weight_FD.T, torch.zeros(features), weight_FD, torch.zeros(width), "mlp_post", 0
    )
    dictionary.save(directory)
    return directory, {"features": features, "width": width}


def reading_artifacts(directory: Path, features: int) -> dict[str, Artifact]:
    """The inputs `model` and `dictionary` of a contexts stage whose codes have that many features.

    The model has 300 tokens; its hook point mlp_post of layer 0 is 48 wide.
    """
    return {
        "model": model_artifact(directory / "model"),
        "dictionary": dictionary_artifact(directory / "dictionary", features, ARCHITECTURE["mlp"]),
    }
