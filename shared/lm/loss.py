"""Next-token loss and accuracy without ever holding the logits of all tokens.

Nearly all of a small language model's work is its output layer (86 % at the paper's shape). So the
loss and its gradient are computed together, one chunk of tokens after the other: the gradient of
the logits follows directly from the logits, and no [tokens x vocabulary] array outlives its chunk.

B: contexts in a batch, T: tokens of a context, N: predicted tokens of a batch, B * (T - 1),
D: hidden width, V: vocabulary, C: contexts of a corpus.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812  (torch's own name for it)
from torch import Tensor, nn

from shared.lm.device import autocast

# Tokens whose logits exist at once. 1 024 x 32 000 bf16 logits are 65 MB; smaller chunks add the
# weight gradient up more often (256 instead of 1 024: 10 % slower at the paper's shape), larger
# ones bring nothing.
CHUNK = 1024
# Rows of the weight gradient that are widened to float32 at once, so that they stay in the cache.
WIDEN_ROWS = 2048
# Contexts of one evaluation pass. Another number changes the last bits of a loss, so it must be the
# same wherever losses are compared exactly (a sweep's ends with its parents).
EVALUATION_BATCH = 16


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy in nats, share of right arg-max predictions, number of predictions."""

    loss: float
    accuracy: float
    tokens: int


def output_weight(model: Any) -> Tensor:
    """The [V, D] weight of the output layer.

    Raises ValueError when the model has none, or one with a bias.
    """
    layer = model.get_output_embeddings()
    if not isinstance(layer, nn.Linear) or layer.bias is not None:
        name = type(model).__name__
        raise ValueError(f"the output layer of {name} is not a linear map without bias")
    return layer.weight


def _hidden(model: Any, tokens_BT: Tensor) -> Tensor:
    """Final hidden states of all positions but the last, [N, D]."""
    hidden_BTD: Tensor = model.base_model(input_ids=tokens_BT, use_cache=False).last_hidden_state
    return hidden_BTD[:, :-1].flatten(0, 1)


def next_token_loss(model: Any, tokens_BT: Tensor, precision: str = "float32") -> Tensor:
    """Mean cross-entropy (nats, scalar, differentiable) of tokens 1.. given those before them.

    Equals transformers' `model(input_ids=x, labels=x).loss`. `precision` as in
    `shared.lm.device.autocast`; in bfloat16 a token's loss is exact to 0.004 beside the rounding
    of the logits themselves, unbiased.
    """
    tokens_BT = tokens_BT.to(model.device)
    weight_VD = output_weight(model)
    with autocast(precision, model.device, weight_VD.shape[1]):
        hidden_ND = _hidden(model, tokens_BT)
        return linear_cross_entropy(hidden_ND, weight_VD, tokens_BT[:, 1:].reshape(-1))


def linear_cross_entropy(hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor) -> Tensor:
    """Mean cross-entropy (nats, scalar) of the logits hidden @ weight.T, differentiable in both.

    Computes in bfloat16 under autocast, else in the dtype of `hidden_ND`; the weight's gradient
    is accumulated in the weight's own dtype.
    """
    loss: Tensor = _LinearCrossEntropy.apply(hidden_ND, weight_VD, target_N)  # type: ignore[no-untyped-call]
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    """The gradients are computed in the forward pass; backward only scales them."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor) -> Tensor:
        device = hidden_ND.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        with torch.autocast(device, enabled=False):
            loss, grad_hidden_ND, grad_weight_VD = _loss_and_gradients(
                hidden_ND.to(dtype or hidden_ND.dtype), weight_VD, target_N
            )
        ctx.save_for_backward(grad_hidden_ND.to(hidden_ND.dtype), grad_weight_VD)
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_hidden_ND, grad_weight_VD = ctx.saved_tensors
        if grads[0].item() != 1.0:  # a plain loss.backward() need not touch 65 MB for nothing
            grad_hidden_ND = grad_hidden_ND * grads[0]
            grad_weight_VD = grad_weight_VD * grads[0]
        return grad_hidden_ND, grad_weight_VD, None


def _loss_and_gradients(
    hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean loss and its gradients [N, D] and [V, D], computed in the dtype of `hidden_ND`."""
    count = len(hidden_ND)
    chunks = -(-count // CHUNK)
    size = -(-count // chunks)
    cast_VD = weight_VD.detach().to(hidden_ND.dtype)
    logits_NV = cast_VD.new_empty(size, len(weight_VD))
    part_VD = torch.empty_like(cast_VD)
    grad_hidden_ND = torch.empty_like(hidden_ND)
    grad_weight_VD = torch.zeros_like(weight_VD)
    losses = []
    for start in range(0, count, size):
        rows = slice(start, start + size)
        hidden_nD = hidden_ND[rows]
        logits_nV = logits_NV[: len(hidden_nD)]
        torch.mm(hidden_nD, cast_VD.T, out=logits_nV)
        losses.append(_softmax_gradient_(logits_nV, target_N[rows]))
        torch.mm(logits_nV, cast_VD, out=grad_hidden_ND[rows])
        torch.mm(logits_nV.T, hidden_nD, out=part_VD)
        _add_scaled_(grad_weight_VD, part_VD, 1 / count)
    return torch.cat(losses).mean(), grad_hidden_ND.div_(count), grad_weight_VD


def _softmax_gradient_(logits_NV: Tensor, target_N: Tensor) -> Tensor:
    """Replace logits by d loss / d logits = softmax - one-hot; returns the losses, float32 [N].

    The target's entry is minus the sum of the others instead of p - 1, so that it keeps its
    relative precision where p is near 1 and each row sums to zero. A loss cannot exceed 87 nats,
    where float32 (and bfloat16) underflow.
    """
    torch.softmax(logits_NV, -1, out=logits_NV)
    # On a CPU gather and scatter_ of bfloat16 copy the whole array; picking by index does not.
    row_N = torch.arange(len(target_N), device=target_N.device)
    p_N = logits_NV[row_N, target_N].float()
    logits_NV[row_N, target_N] = 0.0
    others_N = (logits_NV @ logits_NV.new_ones(logits_NV.shape[1], 1))[:, 0]
    logits_NV[row_N, target_N] = -others_N
    tiny = torch.finfo(torch.float32).tiny
    near_one_N = -torch.log1p(-others_N.float().clamp(max=0.75))
    return torch.where(p_N > 0.5, near_one_N, -p_N.clamp(min=tiny).log())


def _add_scaled_(total_VD: Tensor, part_VD: Tensor, scale: float) -> None:
    """total += scale * part, where part may be narrower.

    `Tensor.add_` of two dtypes takes 23 ms for 32 000 x 512 on two cores; widening block by block
    within the cache takes 5 ms.
    """
    if part_VD.dtype == total_VD.dtype:
        total_VD.add_(part_VD, alpha=scale)
        return
    wide_VD = total_VD.new_empty(min(WIDEN_ROWS, len(total_VD)), total_VD.shape[1])
    for total, part in zip(
        torch.split(total_VD, WIDEN_ROWS), torch.split(part_VD, WIDEN_ROWS), strict=True
    ):
        total.add_(wide_VD[: len(part)].copy_(part), alpha=scale)


@torch.no_grad()
def evaluate(
    model: Any,
    contexts_CT: npt.NDArray[np.integer[Any]] | Tensor,
    batch: int = EVALUATION_BATCH,
    precision: str = "float32",
    on_batch: Callable[[int], None] | None = None,
) -> Evaluation:
    """Loss and accuracy over positions 1..T-1 of every context, each context read on its own.

    `on_batch` is called with the number of contexts done; what it raises ends the evaluation.
    Raises ValueError when there is nothing to predict.
    """
    if len(contexts_CT) == 0 or contexts_CT.shape[1] < 2:
        raise ValueError("there is no token to predict: no context of two tokens or more")
    weight_VD = output_weight(model)
    sums_2 = torch.zeros(2, dtype=torch.float64, device=model.device)
    for start in range(0, len(contexts_CT), batch):
        tokens_BT = _tokens(contexts_CT[start : start + batch]).to(model.device)
        with autocast(precision, model.device, weight_VD.shape[1]):
            sums_2 += _loss_and_hits(_hidden(model, tokens_BT), weight_VD, tokens_BT)
        if on_batch is not None:
            on_batch(min(start + batch, len(contexts_CT)))
    tokens = len(contexts_CT) * (contexts_CT.shape[1] - 1)
    loss, hits = sums_2.tolist()
    return Evaluation(loss / tokens, hits / tokens, tokens)


def _tokens(contexts_CT: npt.NDArray[np.integer[Any]] | Tensor) -> Tensor:
    """Token ids as an int64 tensor, whatever integers a packed file holds."""
    if isinstance(contexts_CT, Tensor):
        return contexts_CT.long()
    return torch.from_numpy(contexts_CT.astype(np.int64))


def _loss_and_hits(hidden_ND: Tensor, weight_VD: Tensor, tokens_BT: Tensor) -> Tensor:
    """Sum of the losses and number of right predictions, float64 [2]."""
    target_N = tokens_BT[:, 1:].reshape(-1)
    sums_2 = torch.zeros(2, dtype=torch.float64, device=hidden_ND.device)
    for hidden_nD, target_n in zip(
        torch.split(hidden_ND, CHUNK), torch.split(target_N, CHUNK), strict=True
    ):
        logits_nV = F.linear(hidden_nD, weight_VD).float()
        losses_n = F.cross_entropy(logits_nV, target_n, reduction="none")
        sums_2[0] += losses_n.sum(dtype=torch.float64)
        sums_2[1] += (logits_nV.argmax(-1) == target_n).sum()
    return sums_2
