"""A tiny model, packed tokens and toy worlds for the tests of dictionaries.

N: vectors, D: width, F: features, G: true directions of a toy world.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import MistralConfig, MistralForCausalLM

from services.sae.start import activation_scale
from services.sae.training.loop import Trainer, start_state
from services.sae.weights import Coder, Weights
from shared.spec.variants import VARIANTS
from shared.stages.sae import DictionaryParameters

VOCABULARY = 97
WIDTH = 48  # of the tiny model's MLP
CONTEXT = 16


def tiny_model(directory: Path, seed: int = 0) -> Path:
    """A two-layer Mistral model with random weights, as a Hugging Face directory."""
    torch.manual_seed(seed)
    config = MistralConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    MistralForCausalLM(config).save_pretrained(directory)
    return directory


def packed_tokens(directory: Path, blocks: int = 64, block: int = 32, seed: int = 0) -> Path:
    """A directory as the `tokens` stage writes it, with random tokens."""
    rng = np.random.default_rng(seed)
    directory.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", blocks), ("validation", max(2, blocks // 4))):
        tokens = rng.integers(VOCABULARY, size=(count, block)).astype(np.uint16)
        np.save(directory / f"{split}.npy", tokens)
    return directory


def dictionary_parameters(**changes: Any) -> DictionaryParameters:
    """Small parameters of a `dictionary` stage on the tiny model, of any variant."""
    declared = VARIANTS[changes.get("variant", "relu")]
    by_k = declared.with_k
    values: dict[str, Any] = {
        "layer": 1,
        "features": 64,
        "l1": None if by_k or "l0" in changes else 0.01,
        "k": 4 if by_k else None,
        "learning_rate": 1e-3,
        "betas": (0.9, 0.9999),
        "tokens": 40 * 8 * CONTEXT,
        "context": CONTEXT,
        "batch": 8,
        "revive": declared.revivals[0],
        "dead_after_steps": 10,
        "seed": 1337,
        "replicate": 0,
    }
    return DictionaryParameters.model_validate({**values, **changes})


def random_weights(features: int, width: int, seed: int = 0, bias: float = 0.0) -> Weights:
    """Weights that are no one's transpose, with unit decoder rows; `bias` shifts the encoder's."""
    generator = torch.Generator().manual_seed(seed)
    decoder_FD = torch.randn(features, width, generator=generator)
    return Weights(
        encoder_FD=torch.randn(features, width, generator=generator) / width**0.5,
        encoder_bias_F=0.1 * torch.randn(features, generator=generator) + bias,
        decoder_FD=decoder_FD / decoder_FD.norm(dim=1, keepdim=True),
        decoder_bias_D=0.1 * torch.randn(width, generator=generator),
    )


class ToyWorld:
    """128 random unit directions in 64 dimensions, p = .02 each, magnitudes 1 + Exp(1)."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        directions_GD = torch.randn(128, 64, generator=self._generator)
        self.directions_GD = directions_GD / directions_GD.norm(dim=1, keepdim=True)

    def draw(self, n: int) -> Tensor:
        """n vectors [N, D]."""
        return self.draw_codes(n) @ self.directions_GD

    def draw_codes(self, n: int) -> Tensor:
        """The true magnitudes [N, G] of n vectors, which are these times the directions."""
        on_NG = torch.rand(n, 128, generator=self._generator) < 0.02
        uniform_NG = torch.rand(n, 128, generator=self._generator).clamp_min(1e-9)
        return on_NG * (1 - uniform_NG.log())

    def mean_max_cosine(self, decoder_FD: Tensor) -> float:
        """How well unit decoder rows cover the true directions: 1 when each is found."""
        return float((self.directions_GD @ decoder_FD.T).amax(1).mean())

    def matched_correlation(self, coder: Coder, scale: float, n: int = 20_000) -> float:
        """Mean correlation of each true direction's code with that of its nearest feature."""
        codes_NG = self.draw_codes(n)
        f_NF = coder_features(coder, codes_NG @ self.directions_GD * scale)
        nearest_G = (self.directions_GD @ coder.weights.decoder_FD.T).argmax(1)
        both = torch.stack([codes_NG.double(), f_NF[:, nearest_G].double()])
        both -= both.mean(1, keepdim=True)
        norms = torch.linalg.vector_norm(both, dim=1)
        # A feature that never fires correlates with nothing.
        return float(((both[0] * both[1]).sum(0) / norms.prod(0).clamp_min(1e-12)).mean())


def coder_features(coder: Coder, x_ND: Tensor) -> Tensor:
    """Feature activations [N, F] by the definition in `Coder`."""
    w = coder.weights
    pre_NF = (x_ND - w.decoder_bias_D) @ w.encoder_FD.T + w.encoder_bias_F
    f_NF = pre_NF.relu()
    if coder.threshold_F is not None:
        return f_NF * (pre_NF > coder.threshold_F)
    if coder.k is None:
        return f_NF
    values, columns = f_NF.topk(coder.k, dim=1)
    return torch.zeros_like(f_NF).scatter_(1, columns, values)


def train_on_toy(world: ToyWorld, steps: int, seed: int = 1, **changes: Any) -> tuple[Coder, float]:
    """A dictionary of 256 features trained on batches of 512 vectors, and the scale it is at."""
    settings: dict[str, Any] = {
        "features": 256,
        "batch": 512,
        "context": 1,
        "learning_rate": 5e-3,
        "learning_rate_decay": 0.2,
        "dead_after_steps": 200,
    }
    parameters = dictionary_parameters(**{**settings, **changes})
    x_ND = world.draw(4096)
    scale = activation_scale(x_ND)
    generator = torch.Generator().manual_seed(seed)
    trainer = Trainer(start_state(parameters, 256, x_ND * scale, generator), parameters, steps)
    for _ in range(steps):
        trainer.step(world.draw(512) * scale)
    return trainer.export(), scale
