"""BatchTopK: k features a token on average, more where a token needs more.

The largest k N entries of ReLU(W_enc (x - b_dec) + b_enc) of a batch of N tokens are active.
(Bussmann, Leask & Nanda 2024, "BatchTopK Sparse Autoencoders".) A single token has no batch: for
inference an entry is active above a threshold, the running mean of the smallest active value of a
batch (their section 3), so the export is a JumpReLU dictionary.

N: vectors of a batch, D: width at the hook point, F: features.
"""

from __future__ import annotations

from torch import Tensor

from services.sae.sparse.entries import Entries
from services.sae.sparse.select import largest_of_all
from services.sae.variants.topk import TopK
from services.sae.weights import Coder, Weights


class BatchTopK(TopK):
    """The k N largest entries of the batch."""

    def select(self, pre_NF: Tensor, k: float) -> Entries:
        """The active entries."""
        return largest_of_all(pre_NF, round(k * len(pre_NF)), self.sparse_up_to)

    @property
    def threshold_from_batches(self) -> bool:
        """A single token has no batch."""
        return True

    def export(self, weights: Weights) -> Coder:
        """The weights; the running threshold comes from the training."""
        return Coder(weights)
