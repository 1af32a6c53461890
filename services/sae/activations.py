"""Where the activations for a dictionary come from, and in which order.

Both sources give the activations of the same token stream (`TrainingStream`): one runs the model as
it goes, the other reads the shards that `harvest` wrote. A round is the activations of several
steps, computed at once and then shuffled, so that a step sees vectors of many documents. Everything
follows from the number of the step, so a checkpoint need save nothing of it.

V: vectors of a round, N: vectors of a step, T: tokens of a context, D: width at the hook point.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from shared.data.token_stream import TrainingStream
from shared.lm import hooks
from shared.stages.stage import Stage, StageError

# The largest round: with 16 steps of random contexts a step's vectors come from 16 times as many
# documents as it has contexts; the bytes keep a wide model's round in memory.
ROUND_STEPS = 16
ROUND_BYTES = 2**27
# Tokens of one forward pass. On a CPU the activations should stay in its cache: a small model reads
# 8 % more tokens a second at 4 096 than at 16 384; a GPU wants more work at once.
FORWARD_TOKENS = {"cpu": 4096, "cuda": 65_536}


@dataclass(frozen=True)
class Cut:
    """How a stream of vectors is cut into steps and rounds."""

    context: int  # tokens of a context
    batch: int  # contexts of a step
    width: int

    @property
    def vectors(self) -> int:
        """Vectors of a step."""
        return self.batch * self.context

    @property
    def round_steps(self) -> int:
        """Steps of a round; depends on the sizes alone, never on the machine."""
        fitting = ROUND_BYTES // (4 * self.vectors * self.width)
        return max(1, min(ROUND_STEPS, fitting))


class Source(Protocol):
    """Activations by the number of the step."""

    width: int

    def read(self, first: int, count: int) -> Tensor:
        """Activations [V, D], float32, of steps first .. first + count, in stream order."""


def open_stream(stage: Stage, context: int, seed: int) -> TrainingStream:
    """The training stream of the stage's corpora; StageError when it holds no whole context."""
    stream = TrainingStream([corpus.path for corpus in stage.group("tokens")], context, seed)
    if stream.contexts == 0:
        raise StageError(f"context: the corpora hold no whole context of {context} tokens")
    return stream


def forward_contexts(context: int, on: torch.device) -> int:
    """Contexts of one forward pass on that device."""
    return max(1, FORWARD_TOKENS[on.type] // context)


class ModelSource:
    """Runs the model to its hook point."""

    def __init__(
        self, model: Any, stream: TrainingStream, batch: int, hook: str, layer: int
    ) -> None:
        self._model = model
        self._stream = stream
        self._batch = batch
        self._hook = hook
        self._layer = layer
        self.width = hooks.width(model, hook, layer)

    def read(self, first: int, count: int) -> Tensor:
        """Activations [V, D] of the contexts of these steps."""
        contexts = count * self._batch
        x_VD = torch.empty(contexts * self._stream.context, self.width, device=self._model.device)
        at_once = forward_contexts(self._stream.context, self._model.device)
        filled = 0
        for start in range(0, contexts, at_once):
            size = min(at_once, contexts - start)
            tokens_BT = torch.from_numpy(self._stream.batch(first * self._batch + start, size))
            x_BTD = hooks.activations(self._model, tokens_BT, self._hook, self._layer)
            x_VD[filled : filled + tokens_BT.numel()] = x_BTD.reshape(-1, self.width)
            filled += tokens_BT.numel()
        return x_VD


class ShardSource:
    """Reads what `harvest` wrote, in a circle: after its last whole step comes its first.

    `begin` is the step of the harvest that is read first, so that replicates, which share one
    harvest, each see it in an order of their own.
    """

    def __init__(
        self, shards: Sequence[Path], vectors: int, device: torch.device, begin: int = 0
    ) -> None:
        self._shards = shards
        self._vectors = vectors
        self._device = device
        self._begin = begin
        with safe_open(shards[0], "pt") as file:
            self._shard_vectors, self.width = file.get_slice("activations").get_shape()
        with safe_open(shards[-1], "pt") as file:
            last = file.get_slice("activations").get_shape()[0]
        self.steps = ((len(shards) - 1) * self._shard_vectors + last) // vectors
        if self.steps == 0:
            raise ValueError(f"the harvest holds less than one step of {vectors} vectors")

    def read(self, first: int, count: int) -> Tensor:
        """Activations [V, D] of these steps, converted to float32."""
        pieces: list[Tensor] = []
        while count > 0:
            place = (self._begin + first) % self.steps
            size = min(count, self.steps - place)
            pieces += self._range(place * self._vectors, (place + size) * self._vectors)
            first, count = first + size, count - size
        return torch.cat(pieces).to(self._device)

    def _range(self, start: int, stop: int) -> Iterator[Tensor]:
        while start < stop:
            number, inside = divmod(start, self._shard_vectors)
            size = min(stop - start, self._shard_vectors - inside)
            with safe_open(self._shards[number], "pt") as file:
                yield file.get_slice("activations")[inside : inside + size].float()
            start += size


class Rounds:
    """Shuffled steps of a source; holds the current round in memory."""

    def __init__(self, source: Source, cut: Cut, steps: int, seed: Sequence[int]) -> None:
        self._source = source
        self._cut = cut
        self._steps = steps
        self._seed = list(seed)
        self._number = -1
        self._round_VD = torch.empty(0, 0)

    def round(self, number: int) -> Tensor:
        """All vectors [V, D] of a round, shuffled; the last round may be shorter."""
        if number != self._number:
            first = number * self._cut.round_steps
            count = min(self._cut.round_steps, self._steps - first)
            self._round_VD = torch.empty(0, 0)  # free the old round before the new one is made
            x_VD = self._source.read(first, count)
            order_V = np.random.default_rng([*self._seed, number]).permutation(len(x_VD))
            self._round_VD = x_VD[torch.from_numpy(order_V).to(x_VD.device)]
            self._number = number
        return self._round_VD

    def step(self, number: int) -> Tensor:
        """The vectors [N, D] of one step."""
        round_number, inside = divmod(number, self._cut.round_steps)
        start = inside * self._cut.vectors
        return self.round(round_number)[start : start + self._cut.vectors]
