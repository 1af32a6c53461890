"""Products with feature activations of which nearly all are zero (CPU).

A silent feature gets exactly no gradient, so after the encoder's forward product only the active
entries matter. Each function equals the dense product that its docstring names.

N: vectors of a batch, D: width, F: features, K: active entries of the batch.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.nn.functional import embedding_bag


@dataclass(frozen=True)
class Active:
    """The active entries of f_NF in the order of tokens, and how to read them by feature.

    Token n owns entries first_N1[n] to first_N1[n + 1]. `by_feature_K` lists the entries feature
    after feature; there, feature f owns those from first_F1[f] to first_F1[f + 1].
    """

    value_K: Tensor
    feature_K: Tensor
    first_N1: Tensor
    token_by_feature_K: Tensor
    by_feature_K: Tensor
    first_F1: Tensor


def find_active(f_NF: Tensor, mask_NF: Tensor) -> Active:
    """The entries of f_NF where the mask is set; both tensors contiguous on the CPU."""
    # numpy's flatnonzero finds them twice as fast as torch.nonzero.
    return active_at(f_NF, np.flatnonzero(mask_NF.numpy()))


def active_at(f_NF: Tensor, flat_K: npt.NDArray[np.int64]) -> Active:
    """The entries of f_NF (contiguous, on the CPU) at these ascending places of its flat view."""
    n, features = f_NF.shape
    first_N1 = np.searchsorted(flat_K, np.arange(n + 1) * features)
    feature_K = flat_K - np.repeat(np.arange(n) * features, np.diff(first_N1))
    entry_K = np.arange(len(flat_K), dtype=np.int32)
    shape = (n, features)
    by_token = csr_matrix(
        (entry_K, feature_K.astype(np.int32), first_N1.astype(np.int32)), shape=shape
    )
    by_feature = by_token.tocsc()  # a counting sort, stable: tokens ascend within a feature
    return Active(
        value_K=f_NF.view(-1)[torch.from_numpy(flat_K)],
        feature_K=torch.from_numpy(feature_K),
        first_N1=torch.from_numpy(first_N1),
        token_by_feature_K=_index(by_feature.indices),
        by_feature_K=_index(by_feature.data),
        first_F1=_index(by_feature.indptr),
    )


def _index(values: np.ndarray[tuple[int, ...], np.dtype[np.integer]]) -> Tensor:
    return torch.from_numpy(values.astype(np.int64))


def decode(active: Active, w_FD: Tensor, value_K: Tensor | None = None) -> Tensor:
    """f_NF @ w_FD [N, D], or v_NF @ w_FD where v_NF has `value_K` at the active entries."""
    return embedding_bag(
        active.feature_K,
        w_FD,
        active.first_N1,
        mode="sum",
        per_sample_weights=active.value_K if value_K is None else value_K,
        include_last_offset=True,
    )


def at_entries(active: Active, g_ND: Tensor, w_FD: Tensor) -> Tensor:
    """The active entries [K] of g_ND @ w_FD.T, in the order of tokens."""
    shape = (g_ND.shape[0], w_FD.shape[0])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        pattern_NF = torch.sparse_csr_tensor(
            active.first_N1,
            active.feature_K,
            torch.zeros_like(active.value_K),
            size=shape,
            check_invariants=False,
        )
        product_NF: Tensor = torch.sparse.sampled_addmm(pattern_NF, g_ND, w_FD.T, beta=0)
    return product_NF.values()


def weight_gradient(active: Active, value_K: Tensor, x_ND: Tensor) -> Tensor:
    """v_NF.T @ x_ND [F, D], where v_NF has `value_K` at the active entries and zeros elsewhere."""
    return embedding_bag(
        active.token_by_feature_K,
        x_ND,
        active.first_F1,
        mode="sum",
        per_sample_weights=value_K[active.by_feature_K],
        include_last_offset=True,
    )


def feature_sums(active: Active, value_K: Tensor) -> Tensor:
    """The sum over tokens [F] of the values at the active entries."""
    sums_F = torch.zeros(len(active.first_F1) - 1, dtype=value_K.dtype)
    return sums_F.index_add_(0, active.feature_K, value_K)
