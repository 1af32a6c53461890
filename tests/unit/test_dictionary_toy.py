"""Ground truth: a dictionary finds the directions a toy world is made of (paper.md).

N: vectors, D: width, F: features.
"""

from __future__ import annotations

import torch

from services.sae.start import activation_scale, random_weights, start_weights
from services.sae.train import State, Trainer
from tests.dictionary_support import ToyWorld, dictionary_parameters


def train(world: ToyWorld, steps: int, features: int, seed: int) -> State:
    x_ND = world.draw(4096)
    scale = activation_scale(x_ND)
    generator = torch.Generator().manual_seed(seed)
    weights = start_weights(features, x_ND * scale, generator)
    parameters = dictionary_parameters(
        features=features,
        batch=512,
        context=1,
        l1=0.03,
        learning_rate=5e-3,
        learning_rate_decay=0.2,
        dead_after_steps=200,
    )
    trainer = Trainer(State.start(weights), parameters, steps)
    for _ in range(steps):
        trainer.step(world.draw(512) * scale)
    return trainer.state


def test_a_trained_dictionary_finds_128_directions_in_64_dimensions_and_a_random_one_does_not() -> (
    None
):
    world = ToyWorld(seed=0)
    # Another seed than the world's: the same one would draw the true directions themselves.
    random = random_weights(256, torch.zeros(64), torch.Generator().manual_seed(1))
    trained = train(world, steps=800, features=256, seed=1)
    assert world.mean_max_cosine(trained.weights.decoder_FD) >= 0.97
    assert world.mean_max_cosine(random.decoder_FD) < 0.6
