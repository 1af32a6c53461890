"""Ground truth: a dictionary finds the directions a toy world is made of (paper.md).

Every variant must find 128 directions in 64 dimensions, and the features that stand for them must
fire as the true ones do. F: features.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from services.sae.start import random_weights, start_sparse
from services.sae.weights import Coder
from tests.support.dictionaries import ToyWorld, coder_features, train_on_toy

# About 2.6 of the 128 are on at a time.
SETTINGS: dict[str, dict[str, Any]] = {
    "relu": {"l1": 0.03},
    "relu steered": {"variant": "relu", "l0": 3.0},
    "relu penalised": {"variant": "relu", "l1": 0.03, "decoder_norm": "penalised"},
    "topk": {"k": 3},
    "batchtopk": {"k": 3},
    "matryoshka": {"k": 3, "prefixes": (128, 256)},
    "gated": {"l1": 0.03},
    "gated steered": {"variant": "gated", "l0": 3.0},
    "jumprelu": {"l1": 0.01},
    "jumprelu steered": {"variant": "jumprelu", "l0": 3.0},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_variant_finds_the_directions_and_their_codes(name: str) -> None:
    world = ToyWorld(seed=0)
    coder, scale = train_on_toy(world, 800, **{"variant": name, **SETTINGS[name]})
    norms_F = torch.linalg.vector_norm(coder.weights.decoder_FD, dim=1)
    torch.testing.assert_close(norms_F, torch.ones(256), atol=1e-5, rtol=0)
    assert world.mean_max_cosine(coder.weights.decoder_FD) >= 0.9
    assert world.matched_correlation(coder, scale) >= 0.9


def test_a_random_dictionary_finds_neither() -> None:
    world = ToyWorld(seed=0)
    # Another seed than the world's: the same one would draw the true directions themselves.
    random = random_weights(256, torch.zeros(64), torch.Generator().manual_seed(1))
    start_sparse(random, world.draw(4096) * 2.2)
    assert world.mean_max_cosine(random.decoder_FD) < 0.6
    assert world.matched_correlation(Coder(random), 2.2) < 0.6


@pytest.mark.parametrize(("variant", "l0"), [("relu", 2.0), ("relu", 8.0), ("gated", 5.0)])
def test_the_coefficient_is_steered_to_the_l0_that_was_asked_for(variant: str, l0: float) -> None:
    world = ToyWorld(seed=3)
    coder, scale = train_on_toy(world, 800, variant=variant, l0=l0)
    found = float((coder_features(coder, world.draw(5000) * scale) > 0).sum(1).double().mean())
    assert found == pytest.approx(l0, rel=0.1)


@pytest.mark.parametrize("variant", ["batchtopk", "matryoshka"])
def test_the_running_threshold_gives_single_tokens_k_features_on_average(variant: str) -> None:
    world = ToyWorld(seed=3)
    coder, scale = train_on_toy(world, 600, variant=variant, k=3)
    found = float((coder_features(coder, world.draw(5000) * scale) > 0).sum(1).double().mean())
    assert found == pytest.approx(3, rel=0.1)
