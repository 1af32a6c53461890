"""Stage `evaluate_dictionary`: how good a dictionary is, on held-out tokens.

B: contexts in a batch, T: tokens of a context, N: tokens of a batch (B * T), D: width at the hook
point, F: features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from services.sae.fit import check_width
from shared.data.token_stream import HeldOut, held_out
from shared.lm import hooks
from shared.lm.dictionary import Dictionary, load_dictionary
from shared.lm.load import load_model
from shared.lm.loss import evaluate
from shared.stages.sae import EvaluateDictionaryParameters
from shared.stages.stage import Leave, Stage, StageError

# Bins of log10 density: from one token in ten million to every token, four a decade.
DENSITY_EDGES = np.linspace(-7, 0, 29)
# Below this difference (nats) between ablated and clean loss, "recovered" has no meaning.
SMALLEST_EFFECT = 1e-6


def run(stage: Stage) -> None:
    """Write density.npy and the results named in EVALUATE_DICTIONARY.

    Raises StageError when the dictionary does not fit the model or nothing is held out.
    """
    parameters = EvaluateDictionaryParameters.model_validate(stage.parameters)
    corpora = [corpus.path for corpus in stage.group("tokens")]
    stream = held_out(corpora, parameters.tokens, parameters.context)
    try:
        model = load_model(stage.input("model").path)
        dictionary = load_dictionary(stage.input("dictionary").path, model.device)
        check_width(dictionary, hooks.width(model, parameters.hook, parameters.layer))
        losses, quality = measure(stage, model, dictionary, stream, parameters)
    except ValueError as error:
        raise StageError(str(error)) from error
    density_F = quality.firings_F.cpu().numpy() / stream.tokens
    np.save(stage.output / "density.npy", density_F)
    zero, mean = losses["loss_zero"], losses["loss_mean"]
    clean, reconstructed = losses["loss"], losses["loss_reconstructed"]
    stage.results.update(
        **losses,
        l0=float(density_F.sum()),
        explained_variance=quality.explained_variance(),
        loss_recovered=loss_recovered(clean, reconstructed, zero),
        loss_recovered_mean=loss_recovered(clean, reconstructed, mean),
        dead_share=float(np.mean(density_F == 0)),
        tokens=stream.tokens,
        features=dictionary.features,
        density_histogram=density_histogram(density_F),
    )


class Mean:
    """The mean of all activations that pass through."""

    def __init__(self, width: int, device: torch.device) -> None:
        self._sum_D = torch.zeros(width, dtype=torch.float64, device=device)
        self._count = 0

    def __call__(self, x_BTD: Tensor) -> Tensor:
        """Add the activations to the mean and return them unchanged."""
        x_ND = x_BTD.flatten(0, -2)
        self._sum_D += x_ND.sum(0, dtype=torch.float64)
        self._count += len(x_ND)
        return x_BTD

    @property
    def value(self) -> Tensor:
        """The mean [D], float64."""
        return self._sum_D / self._count


class Quality:
    """Replaces activations by their reconstructions and adds up how they differ."""

    def __init__(self, dictionary: Dictionary, mean_D: Tensor) -> None:
        self._dictionary = dictionary
        self._mean_D = mean_D
        self._error = torch.zeros((), dtype=torch.float64, device=mean_D.device)
        self._variance = torch.zeros((), dtype=torch.float64, device=mean_D.device)
        self.firings_F = torch.zeros(dictionary.features, dtype=torch.int64, device=mean_D.device)

    def __call__(self, x_BTD: Tensor) -> Tensor:
        """The reconstruction of the activations, in their dtype."""
        f_BTF = self._dictionary.encode(x_BTD)
        reconstructed_BTD = self._dictionary.decode(f_BTF)
        self.firings_F += torch.count_nonzero(f_BTF.flatten(0, -2), 0)
        exact_BTD = x_BTD.double()
        self._error += (exact_BTD - reconstructed_BTD).square().sum()
        self._variance += (exact_BTD - self._mean_D).square().sum()
        return reconstructed_BTD.to(x_BTD.dtype)

    def explained_variance(self) -> float | None:
        """1 - sum |x - x_hat|^2 / sum |x - mean|^2 over all tokens and the whole width.

        0 for the mean as prediction, 1 for a perfect reconstruction, None without any variance.
        """
        variance = float(self._variance)
        return 1 - float(self._error) / variance if variance > 0 else None


def measure(
    stage: Stage,
    model: Any,
    dictionary: Dictionary,
    stream: HeldOut,
    parameters: EvaluateDictionaryParameters,
) -> tuple[dict[str, float], Quality]:
    """Losses (nats) with activations clean, zero, at their mean and reconstructed; and the quality.

    The last pass uses the mean from the first, so that the variance is exact.
    """
    contexts = len(stream.tokens_CT)
    passes = 0

    def loss(function: Callable[[Tensor], Tensor]) -> float:
        nonlocal passes

        def after_batch(done: int) -> None:
            stage.progress(passes * contexts + done, 4 * contexts, "contexts")
            if stage.stopping:
                raise Leave

        with hooks.replace(model, parameters.hook, parameters.layer, function):
            value = evaluate(model, stream.tokens_CT, on_batch=after_batch).loss
        passes += 1
        return value

    mean = Mean(dictionary.width, model.device)
    clean = loss(mean)
    quality = Quality(dictionary, mean.value)
    losses = {
        "loss": clean,
        "loss_zero": loss(torch.zeros_like),
        "loss_mean": loss(lambda x_BTD: mean.value.to(x_BTD.dtype).expand_as(x_BTD)),
        "loss_reconstructed": loss(quality),
    }
    return losses, quality


def loss_recovered(clean: float, reconstructed: float, ablated: float) -> float | None:
    """(ablated - reconstructed) / (ablated - clean): 1 is as good as clean, 0 as bad as ablated.

    None when the ablation changes nothing.
    """
    effect = ablated - clean
    return (ablated - reconstructed) / effect if abs(effect) > SMALLEST_EFFECT else None


def density_histogram(density_F: npt.NDArray[np.float64]) -> dict[str, list[float] | list[int]]:
    """Number of features in each bin of log10 density; dead features are in none."""
    alive = density_F[density_F > 0]
    counts, edges = np.histogram(np.log10(alive).clip(*DENSITY_EDGES[[0, -1]]), DENSITY_EDGES)
    return {"edges": edges.tolist(), "counts": counts.tolist()}
