"""Training dictionaries that read the same activations, all in one pass over them.

D: width at the hook point.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from services.sae.activations import Cut, ModelSource, Rounds, ShardSource, Source, open_stream
from services.sae.start import activation_scale
from services.sae.training.loop import Figures
from services.sae.training.member import ORDER, SHUFFLE, Member, begin, resume, seed_of
from services.sae.variants.base import Buffers
from shared.lm.device import device
from shared.lm.load import load_model
from shared.stages.sae import DictionaryParameters
from shared.stages.stage import Stage, StageError

FIGURES_SECONDS = 1.0  # between figures that are only for the progress display


@dataclass(frozen=True)
class Directories:
    """Where members write, and what their directories in a checkpoint are called."""

    output: Sequence[Path]
    checkpoint: str  # with {member}

    def in_checkpoint(self, directory: Path, member: int) -> Path:
        """The directory of a member in a checkpoint."""
        return directory / self.checkpoint.format(member=member)


def train_all(
    stage: Stage, members: Sequence[DictionaryParameters], directories: Directories
) -> list[dict[str, object]]:
    """Train and export dictionaries that read the same activations; returns their results."""
    started = time.monotonic()
    shared = members[0]
    if device().type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32: ten bits are plenty for gradients
    try:
        source = open_source(stage, shared)
    except ValueError as error:
        raise StageError(str(error)) from error
    steps = count_steps(shared)
    cut = Cut(shared.context, shared.batch, source.width)
    rounds = Rounds(source, cut, steps, [shared.seed, shared.replicate, SHUFFLE])
    training = Training(stage, members, rounds, steps, directories)
    first = training.step
    training.finish()
    # Of the attempt that finished: the vectors before a resume took their own time.
    taken = (steps - first) * cut.vectors
    rate = (time.monotonic() - started) / taken * 1e6 if taken else None
    for member, output in zip(training.members, directories.output, strict=True):
        member.export(output)
    return [member.results(steps * cut.vectors, rate) for member in training.members]


def count_steps(parameters: DictionaryParameters) -> int:
    """Whole steps that fit into the tokens; StageError when not even one does."""
    steps = parameters.tokens // (parameters.batch * parameters.context)
    if steps == 0:
        raise StageError(
            f"tokens: {parameters.tokens} is less than one step of {parameters.batch} contexts "
            f"of {parameters.context} tokens"
        )
    return steps


def open_source(stage: Stage, parameters: DictionaryParameters) -> Source:
    """Shards when the stage has a harvest, else the model itself.

    The first replicate reads both in the same order. The others read the corpora in another order,
    or begin at another place of the harvest.
    """
    vectors = parameters.batch * parameters.context
    order = seed_of(ORDER, parameters.seed, parameters.replicate)
    if "harvest" in stage.inputs:
        shards = sorted(stage.input("harvest").path.glob("activations-*.safetensors"))
        source = ShardSource(shards, vectors, device())
        begin_at = order % source.steps if parameters.replicate else 0
        return ShardSource(shards, vectors, device(), begin_at)
    seed = order if parameters.replicate else parameters.seed
    stream = open_stream(stage, parameters.context, seed)
    model = load_model(stage.input("model").path)
    return ModelSource(model, stream, parameters.batch, parameters.hook, parameters.layer)


class Training:
    """One run of the training loop, from the start or from a checkpoint.

    Every member takes the same step before any takes the next, so the activations of a round are
    computed once for all.
    """

    def __init__(
        self,
        stage: Stage,
        members: Sequence[DictionaryParameters],
        rounds: Rounds,
        steps: int,
        directories: Directories,
    ) -> None:
        self._stage = stage
        self._rounds = rounds
        self._steps = steps
        self._directories = directories
        self._last_figures = 0.0
        buffers = Buffers()  # members take turns, so one set of large arrays serves all
        scale = self._scale() if stage.resume is None else 1.0
        self.members: list[Member] = []
        for number, parameters in enumerate(members):
            if stage.resume is None:
                begun = begin(stage, parameters, scale, rounds.step(0))
            else:
                begun = resume(directories.in_checkpoint(stage.resume, number))
            self.members.append(Member(parameters, steps, begun, buffers))

    @property
    def step(self) -> int:
        """Steps that every member has taken."""
        return self.members[0].state.step

    def _scale(self) -> float:
        try:
            return activation_scale(self._rounds.round(0))
        except ValueError as error:
            raise StageError(str(error)) from error

    def finish(self) -> None:
        """Take the steps that are left; leaves with a checkpoint when the stage is asked to."""
        started, first = time.monotonic(), self.step
        for number in range(first, self._steps):
            x_ND = self._rounds.step(number)
            due = self._figures_due(number + 1)
            figures = [member.step(x_ND, due) for member in self.members]
            if due and figures[0] is not None:
                rate = (number + 1 - first) * len(x_ND) / (time.monotonic() - started)
                self._show(figures[0], rate)
            if self._stage.checkpoint_due():
                self._stage.save_checkpoint(number + 1, self._write)
                self._stage.leave_if_asked()

    def _figures_due(self, step: int) -> bool:
        now = time.monotonic()
        if step == self._steps or now - self._last_figures >= FIGURES_SECONDS:
            self._last_figures = now
            return True
        return False

    def _show(self, figures: Figures, rate: float) -> None:
        """Progress, with the figures of the first member."""
        scalars = {
            "loss": figures.loss,
            "l0": figures.l0,
            "dead_share": figures.dead_share,
            "vectors_per_second": rate,
        }
        if figures.explained_variance is not None:
            scalars["explained_variance"] = figures.explained_variance
        self._stage.progress(figures.step, self._steps, "steps", **scalars)

    def _write(self, directory: Path) -> None:
        for number, member in enumerate(self.members):
            own = self._directories.in_checkpoint(directory, number)
            own.mkdir(exist_ok=True)
            member.save(own)
