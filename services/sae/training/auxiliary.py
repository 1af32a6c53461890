"""The auxiliary loss that revives dead features: they reconstruct what the others leave over.

    e = x - x_hat (a constant),  e_hat = sum over the k_aux most active dead features of f d
    loss = coefficient * |e_hat - e|^2 / |e|^2, both means over tokens

(Gao et al. 2024, "Scaling and evaluating sparse autoencoders", section A.2: AuxK, normalised by the
residual as their code does.) k_aux is half of the width, as there.

N: vectors of a batch, D: width at the hook point, F: features, X: dead features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from services.sae.sparse.select import SPARSE_UP_TO, largest_of_each
from services.sae.start import START_DENSITY
from services.sae.variants.base import Pass, mean_square
from services.sae.weights import Weights

# Vectors of a batch that the loss is taken over. They come in random order, so these are as good as
# all of them, with which a step would cost several times as much when thousands are dead.
VECTORS = 512


def add_auxiliary(
    batch: Pass,
    weights: Weights,
    dead_F: Tensor,
    coefficient: float,
    sparse_up_to: float = SPARSE_UP_TO,
) -> Tensor:
    """Put the gradients of the loss into those of the batch, in place; returns the loss, a scalar.

    Only the rows of dead features get a gradient; b_dec gets none. A dead feature that has sunk so
    low that it would fire on no vector would get none either: its bias is lifted first, in place,
    until it fires on as many as at the start.
    """
    dead_X = torch.nonzero(dead_F & ~batch.fired_F).squeeze(1)
    n = min(len(batch.pre_NF), VECTORS)
    residual_ND = -batch.error_ND[:n]
    power = mean_square(residual_ND)
    if len(dead_X) == 0 or not bool(power > 0):
        return power.new_zeros(())
    pre_NX = batch.pre_NF[:n].index_select(1, dead_X)
    lifted_X = _lift(pre_NX)
    weights.encoder_bias_F.index_add_(0, dead_X, lifted_X)
    most = max(1, weights.decoder_FD.shape[1] // 2)
    entries = largest_of_each(pre_NX.add_(lifted_X), most, sparse_up_to)
    decoder_XD = weights.decoder_FD[dead_X]
    difference_ND = entries.decode(entries.value, decoder_XD).sub_(residual_ND)
    g_ND = difference_ND * (2 * coefficient / power / difference_ND.numel())
    dpre = entries.keep(entries.products(g_ND, decoder_XD))
    gradients, centred_ND = batch.gradients, batch.centred_ND[:n]
    # These features did not fire, so their rows are zero: writing them is several times faster
    # than adding where there are thousands.
    gradients.decoder_FD.index_copy_(0, dead_X, entries.weight_gradient(entries.value, g_ND))
    gradients.encoder_FD.index_copy_(0, dead_X, entries.weight_gradient(dpre, centred_ND))
    gradients.encoder_bias_F.index_copy_(0, dead_X, entries.sums(dpre))
    return coefficient * mean_square(difference_ND) / power


def _lift(pre_NX: Tensor) -> Tensor:
    """What to add to each bias [X]: above zero for features that fire on none of the vectors."""
    count = max(1, round(START_DENSITY * len(pre_NX)))
    sunk_X = pre_NX.amax(0) <= 0
    lift_X = torch.zeros_like(pre_NX[0])
    if bool(sunk_X.any()):
        lift_X[sunk_X] = -pre_NX[:, sunk_X].topk(count, dim=0).values[-1]
    return lift_X
