"""Matryoshka: nested dictionaries, each of which has to reconstruct by itself.

The first features, up to each of `prefixes`, form a dictionary; the loss is the mean of their
squared errors, and activations are those of BatchTopK over all features. General features come
first, since the small dictionaries cannot do without them. (Bussmann, Nabeshima, Karvonen & Nanda
2025, "Learning Multi-Level Features with Matryoshka Sparse Autoencoders".)

N: vectors of a batch, D: width at the hook point, F: features, P: prefixes.
"""

from __future__ import annotations

from torch import Tensor

from services.sae.sparse.entries import Entries
from services.sae.variants.base import mean_square
from services.sae.variants.batchtopk import BatchTopK
from services.sae.weights import Weights
from shared.spec.variants.matryoshka import MatryoshkaSettings
from shared.stages.sae import DictionaryParameters

DEFAULT_SHARES = (16, 8, 4, 2, 1)  # a sixteenth of the features, an eighth ..


def prefixes_of(parameters: DictionaryParameters, features: int) -> tuple[int, ...]:
    """The sizes of the nested dictionaries, ascending, the last one the whole.

    Raises ValueError when those given are not like that.
    """
    given = MatryoshkaSettings.of(parameters).prefixes
    if given is None:
        return tuple(sorted({features // share for share in DEFAULT_SHARES} - {0}))
    ascending = all(a < b for a, b in zip((0, *given), given, strict=False))
    if not given or not ascending or given[-1] != features:
        raise ValueError(
            f"prefixes: {list(given)} must ascend from above 0 and end with all {features} features"
        )
    return given


class Matryoshka(BatchTopK):
    """BatchTopK with the mean of the prefixes' squared errors as its loss."""

    def check(self, features: int) -> None:
        """The prefixes ascend to the number of features."""
        prefixes_of(self.parameters, features)

    def differentiate(
        self, entries: Entries, weights: Weights, x_ND: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """As TopK; the error is that of the whole, the rest comes as further loss."""
        edges = prefixes_of(self.parameters, len(weights.encoder_bias_F))
        nested, f = entries.nested(edges), entries.value
        # A prefix is the sum of its blocks, so a block's gradient is the sum over its prefixes.
        error_NPD = nested.decode(f, weights.decoder_FD).cumsum_(1)
        error_NPD.add_((weights.decoder_bias_D - x_ND)[:, None])
        g_NPD = error_NPD * (2 / error_NPD.numel())
        block_NPD = g_NPD.flip(1).cumsum_(1).flip(1)
        dpre = entries.keep(nested.products(block_NPD, weights.decoder_FD))
        decoder_FD = nested.weight_gradient(f, block_NPD)
        error_ND = error_NPD[:, -1].contiguous()
        other = mean_square(error_NPD) - mean_square(error_ND)
        return error_ND, other, dpre, decoder_FD, block_NPD[:, 0]
