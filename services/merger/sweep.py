"""Loss and accuracy all along the way from one model to another, without writing the models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from services.merger.methods import method_of
from services.merger.methods.base import in_memory
from services.merger.parents import check_parents
from shared.lm.load import load_model
from shared.lm.validation import evaluate_corpora, validation_contexts
from shared.stages.merger import SweepParameters
from shared.stages.stage import Leave, Stage, StageError

POINTS = "points.json"


def run(stage: Stage) -> None:
    """Results: points, a list of {t, corpora: [{loss, accuracy, tokens}]}, and parameters.

    The first and the last point are evaluations of the parents themselves, bit for bit.
    """
    parameters = SweepParameters.model_validate(stage.parameters)
    at_zero, at_one = stage.input("at_zero").path, stage.input("at_one").path
    check_parents(at_zero, at_one)
    sweep = Sweep(stage, at_zero, at_one, parameters)
    ts = points(parameters.steps)
    total = sweep.tokens * len(ts)
    if stage.resume is not None:
        sweep.points = json.loads((stage.resume / POINTS).read_text())
    for t in ts[len(sweep.points) :]:
        sweep.add(t, total)
        if stage.checkpoint_due():
            sweep.save()
            stage.leave_if_asked()
    stage.results["points"] = sweep.points
    stage.results["parameters"] = sum(weight.numel() for weight in sweep.model.parameters())


def points(steps: int) -> list[float]:
    """`steps` values of t at equal distances, 0 and 1 exactly included."""
    if steps < 2:
        raise StageError(f"steps is {steps}: a sweep needs at least 2, for its two ends")
    return [step / (steps - 1) for step in range(steps)]


class Sweep:
    """One model instance whose weights move from parent to parent."""

    def __init__(
        self, stage: Stage, at_zero: Path, at_one: Path, parameters: SweepParameters
    ) -> None:
        self.stage = stage
        self._combine = method_of(parameters)
        self.corpora = []
        for number, tokens in enumerate(stage.group("tokens")):
            try:
                self.corpora.append(validation_contexts(tokens.path, parameters.max_tokens))
            except ValueError as error:
                raise StageError(f"corpus {number} of the sweep cannot be used: {error}") from None
        self.tokens = sum(corpus.size for corpus in self.corpora)
        self.points: list[dict[str, Any]] = []
        self.model = load_model(at_zero)
        self._zero = {
            name: weight.detach().clone() for name, weight in self.model.named_parameters()
        }
        self._one: dict[str, Tensor] = {
            name: weight.detach() for name, weight in load_model(at_one).named_parameters()
        }

    def add(self, t: float, total: int) -> None:
        """Merge at t, evaluate on every corpus, append the point."""
        self._merge(t)
        done = len(self.points) * self.tokens

        def on_tokens(count: int) -> None:
            nonlocal done
            done += count
            self.stage.progress(done, total, "tokens", t=t)
            if self.stage.stopping:
                self.save()
                raise Leave

        found = evaluate_corpora(self.model, self.corpora, on_tokens)
        corpora = [
            {"loss": one.loss, "accuracy": one.accuracy, "tokens": one.tokens} for one in found
        ]
        self.points.append({"t": t, "corpora": corpora})

    @torch.no_grad()
    def _merge(self, t: float) -> None:
        for name, weight in self.model.named_parameters():
            parents = (self._zero[name], self._one[name])
            weight.copy_(in_memory(self._combine, parents, t=t)[0])

    def save(self) -> None:
        """Checkpoint the points that are complete."""
        text = json.dumps(self.points)
        self.stage.save_checkpoint(
            len(self.points), lambda directory: _write(directory / POINTS, text)
        )


def _write(path: Path, text: str) -> None:
    path.write_text(text)
