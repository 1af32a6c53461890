"""The measures of dictionary_quality.py, the same for every program, and our own training.

N: tokens, D: width at the hook point, F: features, C: contexts, T: tokens of a context.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from services.sae.training.loop import Trainer, start_state
from shared.data.token_stream import held_out
from shared.lm import hooks
from shared.lm.loss import evaluate
from shared.spec.variants import VARIANTS
from shared.stages.sae import DictionaryParameters

HELD_OUT = 20_000  # tokens
GLOBAL_THRESHOLD = ("batchtopk", "matryoshka")
Arrays = Mapping[str, np.ndarray[Any, Any]]


class Judge:
    """Measures dictionaries of scaled activations on one model's held-out tokens."""

    def __init__(self, model: Any, tokens: Sequence[Path], context: int, scale: float) -> None:
        self._model, self._scale = model, scale
        self._stream = held_out(tokens, HELD_OUT, context)
        batches: list[Tensor] = []

        def record(x_BTD: Tensor) -> Tensor:
            batches.append(x_BTD.flatten(0, 1).double())
            return x_BTD

        self._clean = self._loss(record)
        self._zero = self._loss(torch.zeros_like)
        exact_ND = torch.cat(batches)
        self._variance = float((exact_ND - exact_ND.mean(0)).square().sum())
        self._x_ND = exact_ND.float() * scale

    def _loss(self, function: Callable[[Tensor], Tensor]) -> float:
        with hooks.replace(self._model, "mlp_post", 0, function):
            return evaluate(self._model, self._stream.tokens_CT).loss

    @torch.no_grad()
    def judge(self, weights: Arrays, variant: str, target: int) -> dict[str, float]:
        """L0, explained variance, loss recovered and the share of dead features."""
        coder = Coder(weights)
        if variant in GLOBAL_THRESHOLD:
            coder.set_threshold(self._x_ND, target)
        error, active = 0.0, 0
        fired_F = torch.zeros(coder.features, dtype=torch.bool)

        def swap(x_BTD: Tensor) -> Tensor:
            nonlocal error, active, fired_F
            x_ND = x_BTD.flatten(0, 1) * self._scale
            f_NF = coder.encode(x_ND)
            active += int(torch.count_nonzero(f_NF))
            fired_F |= (f_NF > 0).any(0)
            back_ND = coder.decode(f_NF) / self._scale
            error += float((back_ND.double() - x_BTD.flatten(0, 1).double()).square().sum())
            return back_ND.view_as(x_BTD)

        loss = self._loss(swap)
        return {
            "l0": active / self._stream.tokens,
            "explained_variance": 1 - error / self._variance,
            "loss_recovered": (self._zero - loss) / (self._zero - self._clean),
            "dead_share": 1 - float(fired_F.double().mean()),
        }


class Coder:
    """A dictionary as plain arrays; ReLU, a threshold for each feature, or the k largest."""

    def __init__(self, weights: Arrays) -> None:
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
        self._encoder_DF, self._decoder_FD = tensors["encoder"], tensors["decoder"]
        self._encoder_bias_F = tensors["encoder_bias"]
        self._decoder_bias_D = tensors["decoder_bias"]
        self._threshold_F = tensors.get("threshold")
        self._k = int(tensors["k"]) if "k" in tensors else None
        self.features = len(self._decoder_FD)

    def _before(self, x_ND: Tensor) -> Tensor:
        centred_ND = x_ND.float() - self._decoder_bias_D
        return centred_ND @ self._encoder_DF + self._encoder_bias_F

    def set_threshold(self, x_ND: Tensor, l0: float) -> None:
        """Set one threshold for all features, with which these vectors have that L0."""
        active = self._before(x_ND).relu().numpy().ravel()
        wanted = min(int(l0 * len(x_ND)), np.count_nonzero(active) - 1)
        value = np.partition(active, len(active) - wanted - 1)[len(active) - wanted - 1]
        self._threshold_F = torch.full((self.features,), float(value))

    def encode(self, x_ND: Tensor) -> Tensor:
        """Feature activations [N, F]."""
        pre_NF = self._before(x_ND)
        f_NF = pre_NF.relu()
        if self._threshold_F is not None:
            f_NF = f_NF * (pre_NF > self._threshold_F)
        if self._k is not None:
            top = f_NF.topk(self._k, dim=1)
            f_NF = torch.zeros_like(f_NF).scatter_(1, top.indices, top.values)
        return f_NF

    def decode(self, f_NF: Tensor) -> Tensor:
        """Reconstructions [N, D]."""
        return f_NF @ self._decoder_FD + self._decoder_bias_D


def ours(job: Mapping[str, Any], steps_SND: Tensor) -> dict[str, np.ndarray[Any, Any]]:
    """Weights by this project's training loop over prepared steps of scaled activations: encoder
    [D, F], encoder_bias [F], decoder [F, D], decoder_bias [D], and threshold [F] or k.
    """
    variant, _, form = job["variant"].partition("-")
    with_k = VARIANTS[variant].with_k
    parameters = DictionaryParameters(
        layer=0,
        variant=variant,
        decoder_norm="penalised" if form else "unit",
        features=job["features"],
        l0=None if with_k else float(job["k"]),
        k=job["k"] if with_k else None,
        sparsity_warmup_steps=0 if with_k else job["warmup"],
        learning_rate=job["learning_rate"],
        warmup_steps=job["warmup"],
        learning_rate_decay=job["decay"] / len(steps_SND),
        betas=(0.9, 0.999),
        tokens=steps_SND.shape[0] * steps_SND.shape[1],
        context=1,
        batch=steps_SND.shape[1],
        revive="aux" if with_k else "ghost" if variant == "relu" else "none",
        dead_after_steps=job["dead_after"],
        seed=job["seed"],
        replicate=0,
    )
    generator = torch.Generator().manual_seed(job["seed"])
    state = start_state(parameters, job["features"], steps_SND[0], generator)
    trainer = Trainer(state, parameters, len(steps_SND))
    for x_ND in steps_SND:
        trainer.step(x_ND)
    coder = trainer.export()
    weights: dict[str, Tensor] = {
        "encoder": coder.weights.encoder_FD.T,
        "encoder_bias": coder.weights.encoder_bias_F,
        "decoder": coder.weights.decoder_FD,
        "decoder_bias": coder.weights.decoder_bias_D,
    }
    if coder.threshold_F is not None:
        weights["threshold"] = coder.threshold_F
    if coder.k is not None:
        weights["k"] = torch.tensor(coder.k)
    return {name: tensor.numpy() for name, tensor in weights.items()}
