"""Stage `latent_scaling`: is a feature that one dictionary lacks still in that model?

The activations of each model are read once; verdicts.py has what follows from them.

N: tokens of a chunk, B: contexts of a forward pass, T: tokens of a context, D: width at the hook
point, F: features, L: live features.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from services.analyzer.codes.codes import load_codes, load_documents
from services.analyzer.latent_scaling.verdicts import Measurements, Side, judge, measure
from shared.data.token_stream import HeldOut, held_out
from shared.lm.device import device
from shared.lm.dictionary import load_dictionary
from shared.lm.hooks import activations
from shared.lm.hooks import width as hook_width
from shared.lm.load import load_model
from shared.stages.analyzer import LatentScalingParameters
from shared.stages.stage import Leave, Stage, StageError

SIDES = ("parent", "child")
CHANGES = {"parent": "disappear", "child": "emerge"}
# Fixed sizes: another batch could round differently, and the same key must give the same bits.
BATCH_TOKENS = 4096  # of one forward pass
CHUNK_VALUES = 1 << 24  # activations held at a time: 64 MiB of float32


def run(stage: Stage) -> None:
    """Write parent.parquet and child.parquet (see LATENT_SCALING).

    Raises StageError when inputs do not belong together or a model has no such hook point.
    """
    parameters = LatentScalingParameters.model_validate(stage.parameters)
    stream = held_out(
        [source.path for source in stage.group("tokens")], parameters.tokens, parameters.context
    )
    sides = {name: _side(stage, name) for name in SIDES}
    documents_T = load_documents(stage.input("parent_codes"))
    _check(stream, sides, len(documents_T))
    if parameters.same_basis and sides["parent"].width != sides["child"].width:
        raise StageError(
            "same_basis: parent and child have different widths at "
            f"{parameters.hook} of layer {parameters.layer}, so they have no common basis"
        )
    half_T = (documents_T & 1).astype(np.int64)
    measurements: dict[str, Measurements] = {}
    for number, name in enumerate(SIDES):
        other = sides[SIDES[1 - number]]
        reading = _Reading(stage, name, number, parameters, stream)
        if reading.width != sides[name].width:
            raise StageError(
                f"{name}: the dictionary was trained at width {sides[name].width}, the model's "
                f"activations have width {reading.width}"
            )
        measurements[name] = measure(reading.chunks(), sides[name], other, half_T)
    for number, name in enumerate(SIDES):
        own, across = measurements[name], measurements[SIDES[1 - number]]
        verdict = judge(sides[name], own, across, parameters.same_basis)
        change = CHANGES[name]
        pq.write_table(verdict.table(change), stage.output / f"{name}.parquet")
        changed_F = sides[name].status_F == change
        stage.results[change] = int(changed_F.sum())
        stage.results[f"false_{change}"] = int(verdict.false_change(change).sum())
    stage.results["same_basis"] = parameters.same_basis


def _side(stage: Stage, name: str) -> Side:
    codes = load_codes(stage.input(f"{name}_codes"))
    dictionary = load_dictionary(stage.input(f"{name}_dictionary").path)
    matched = pq.read_table(stage.input("match").path / f"{name}.parquet", columns=["status"])
    status_F = np.array(matched.column("status").to_pylist(), dtype=np.str_)
    if not codes.width == dictionary.features == len(status_F):
        raise StageError(
            f"{name}: the dictionary has {dictionary.features} features, its codes {codes.width} "
            f"and the match {len(status_F)}: they do not belong together"
        )
    directions_FD = dictionary.decoder_FD.double().numpy()
    return Side(codes, directions_FD, status_F, np.flatnonzero(status_F != "rare"))


def _check(stream: HeldOut, sides: dict[str, Side], document_tokens: int) -> None:
    counts = {
        "parent_codes": sides["parent"].codes.tokens,
        "child_codes": sides["child"].codes.tokens,
        "documents.npy of parent_codes": document_tokens,
    }
    for name, tokens in counts.items():
        if tokens != stream.tokens:
            raise StageError(
                f"{name} covers {tokens} tokens, but tokens and context give a stream of "
                f"{stream.tokens}: both must be those of the encoding"
            )


class _Reading:
    """One model's activations over the stream, chunk by chunk."""

    def __init__(
        self,
        stage: Stage,
        name: str,
        number: int,
        parameters: LatentScalingParameters,
        stream: HeldOut,
    ) -> None:
        self._stage = stage
        self._number = number
        self._parameters = parameters
        self._stream = stream
        try:
            self._model = load_model(stage.input(name).path, device())
            self.width = hook_width(self._model, parameters.hook, parameters.layer)
        except ValueError as error:
            raise StageError(f"{name}: {error}") from error

    def chunks(self) -> Iterator[Tensor]:
        """Activations [N, D] of the stream in order; Leave when the stage is asked to stop."""
        parameters, tokens_CT = self._parameters, self._stream.tokens_CT
        batch = max(1, BATCH_TOKENS // parameters.context)
        batches = max(1, CHUNK_VALUES // (self.width * batch * parameters.context))
        total = 2 * self._stream.tokens
        pieces: list[Tensor] = []
        for start in range(0, len(tokens_CT), batch):
            if self._stage.stopping:
                raise Leave
            tokens_BT = torch.from_numpy(tokens_CT[start : start + batch].astype(np.int64))
            x_BTD = activations(self._model, tokens_BT, parameters.hook, parameters.layer)
            pieces.append(x_BTD.flatten(0, 1))
            done = self._number * self._stream.tokens + start * parameters.context
            self._stage.progress(done + tokens_BT.numel(), total, "tokens")
            if len(pieces) == batches:
                yield torch.cat(pieces)
                pieces = []
        if pieces:
            yield torch.cat(pieces)
