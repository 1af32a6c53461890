"""Stage `harvest`: activations at a hook point, written into shards.

`TrainingStream` decides which tokens are read in which order, so a dictionary that reads the shards
sees what it would see if it ran the model itself. Memory is bounded by one shard, whatever the
number of tokens.

A checkpoint holds all complete shards so far, as hard links; only the new ones have to be stored.

B: contexts of a forward pass, T: tokens of a context, D: width at the hook point, V: vectors.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from services.sae.activations import forward_contexts, open_stream
from shared.data.token_stream import TrainingStream
from shared.failpoints import reached
from shared.lm import hooks
from shared.lm.load import load_model
from shared.stages.sae import HarvestParameters
from shared.stages.stage import Stage, StageError

SHARD_BYTES = 2**27
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def run(stage: Stage) -> None:
    """Write activations-00000.safetensors .. and the results vectors, width and shards.

    Raises StageError for a context longer than the corpora, a layer that does not exist, fewer
    tokens than a context, or a disk that is too small.
    """
    parameters = HarvestParameters.model_validate(stage.parameters)
    model = load_model(stage.input("model").path)
    stream = open_stream(stage, parameters.context, parameters.seed)
    harvest = Harvest(model, stream, parameters)
    check_space(stage.output, harvest.bytes)
    for number in range(_take_over(stage.resume, stage.output), harvest.shards):
        harvest.write(number, stage)
        reached("after-shard")
        if stage.checkpoint_due():
            stage.save_checkpoint(number + 1, lambda target: _link_all(stage.output, target))
            stage.leave_if_asked()
    stage.results.update(vectors=harvest.vectors, width=harvest.width, shards=harvest.shards)


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"activations-{number:05d}.safetensors"


class Harvest:
    """A harvest divided into shards, each of which depends on nothing but its number."""

    def __init__(self, model: Any, stream: TrainingStream, parameters: HarvestParameters) -> None:
        self._model = model
        self._stream = stream
        self._parameters = parameters
        self._dtype = DTYPES[parameters.precision]
        try:
            self.width = hooks.width(model, parameters.hook, parameters.layer)
        except ValueError as error:
            raise StageError(str(error)) from error
        self.contexts = parameters.tokens // parameters.context
        if self.contexts == 0:
            raise StageError(
                f"tokens: {parameters.tokens} is less than one context of {parameters.context}"
            )
        self.vectors = self.contexts * parameters.context
        self.bytes = self.vectors * (self.width * self._dtype.itemsize + 8)
        # A shard is a whole number of forward passes, so a resumed harvest has the same bits.
        self._at_once = forward_contexts(parameters.context, model.device)
        pass_bytes = self._at_once * parameters.context * self.width * self._dtype.itemsize
        self.shard_contexts = self._at_once * max(1, SHARD_BYTES // pass_bytes)
        self.shards = -(-self.contexts // self.shard_contexts)

    def write(self, number: int, stage: Stage) -> None:
        """Compute one shard and write it into the stage's output."""
        context = self._parameters.context
        first = number * self.shard_contexts
        last = min(first + self.shard_contexts, self.contexts)
        x_VD = torch.empty((last - first) * context, self.width, dtype=self._dtype)
        for start in range(first, last, self._at_once):
            tokens_BT = torch.from_numpy(
                self._stream.batch(start, min(self._at_once, last - start))
            )
            x_BTD = hooks.activations(
                self._model, tokens_BT, self._parameters.hook, self._parameters.layer
            )
            filled = (start - first) * context
            x_VD[filled : filled + tokens_BT.numel()] = x_BTD.reshape(-1, self.width)
            stage.progress(start * context + tokens_BT.numel(), self.vectors, "tokens")
        if not bool(torch.isfinite(x_VD).all()):
            raise StageError("the model's activations are not finite at the hook point")
        position_V = torch.arange(first * context, last * context)
        save_file({"activations": x_VD, "position": position_V}, stage.output / shard_name(number))


def check_space(directory: Path, needed: int) -> None:
    """Check that the file system of the directory has room for `needed` bytes.

    Raises StageError when it never could, and OSError (no space left: the stage is tried again
    later) when it has not now.
    """
    disk = shutil.disk_usage(directory)
    if disk.total < needed:
        raise StageError(
            f"storing the activations takes {needed / 1e9:.1f} GB, but the disk has "
            f"{disk.total / 1e9:.1f} GB: use fewer tokens or stream the activations into training"
        )
    if disk.free < needed:
        free = f"{disk.free / 1e9:.1f} GB are free, {needed / 1e9:.1f} GB are needed"
        raise OSError(errno.ENOSPC, free)


def _link_all(source: Path, target: Path) -> None:
    for shard in sorted(source.glob("activations-*.safetensors")):
        try:
            os.link(shard, target / shard.name)
        except OSError:  # another file system
            shutil.copyfile(shard, target / shard.name)


def _take_over(resume: Path | None, output: Path) -> int:
    """Link the shards of a checkpoint into the output; returns how many there are."""
    if resume is None:
        return 0
    _link_all(resume, output)
    return len(list(output.glob("activations-*.safetensors")))
