"""The active entries of a batch's feature matrix, stored sparsely (CPU) or densely.

A variant's formulas are written once, over values at these entries: a vector [K] when they are
stored one by one, a matrix [N, F] with zeros elsewhere when they are not. Both ways give the same
numbers; the dense one is for GPUs, for the start of a training and for the tests.

N: vectors of a batch, D: width, F: features, K: entries, P: nested prefixes of the features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from services.sae.sparse import kernels as sparse
from services.sae.sparse.kernels import Active


class Entries(Protocol):
    """Places in a matrix [N, F], with the products that a training step needs there.

    Values at the entries, given or returned, are [K] in the sparse form, [N, F] in the dense one.
    """

    @property
    def value(self) -> Tensor:
        """The matrix's own values there."""

    def keep(self, value: Tensor) -> Tensor:
        """The values, zero wherever there is no entry."""

    def of_feature(self, v_F: Tensor) -> Tensor:
        """The number v of each entry's feature."""

    def decode(self, value: Tensor, w_FD: Tensor) -> Tensor:
        """v_NF @ w_FD [N, D]."""

    def products(self, g_ND: Tensor, w_FD: Tensor) -> Tensor:
        """g_ND @ w_FD.T at the entries; the dense form has it elsewhere too, so `keep` it."""

    def weight_gradient(self, value: Tensor, x_ND: Tensor) -> Tensor:
        """v_NF.T @ x_ND [F, D]."""

    def sums(self, value: Tensor) -> Tensor:
        """The sum over tokens [F]."""

    def nested(self, edges: tuple[int, ...]) -> Nested:
        """The same entries in blocks of features that end at `edges`."""


class Nested(Protocol):
    """Products block by block: block p holds the features from edge p - 1 to edge p."""

    def decode(self, value: Tensor, w_FD: Tensor) -> Tensor:
        """What each block decodes to, [N, P, D]."""

    def products(self, g_NPD: Tensor, w_FD: Tensor) -> Tensor:
        """At each entry the product of its block's gradient with its feature's row."""

    def weight_gradient(self, value: Tensor, g_NPD: Tensor) -> Tensor:
        """Values times their block's gradient, summed over tokens [F, D]."""


@dataclass(frozen=True)
class SparseEntries:
    """Entries one by one, [K]."""

    active: Active

    @property
    def value(self) -> Tensor:
        """The values [K]."""
        return self.active.value_K

    def keep(self, value: Tensor) -> Tensor:
        """The values as they are [K], for there is nothing elsewhere."""
        return value

    def of_feature(self, v_F: Tensor) -> Tensor:
        """[K]."""
        return v_F[self.active.feature_K]

    def decode(self, value: Tensor, w_FD: Tensor) -> Tensor:
        """[N, D]."""
        return sparse.decode(self.active, w_FD, value)

    def products(self, g_ND: Tensor, w_FD: Tensor) -> Tensor:
        """[K]."""
        return sparse.at_entries(self.active, g_ND, w_FD)

    def weight_gradient(self, value: Tensor, x_ND: Tensor) -> Tensor:
        """[F, D]."""
        return sparse.weight_gradient(self.active, value, x_ND)

    def sums(self, value: Tensor) -> Tensor:
        """[F]."""
        return sparse.feature_sums(self.active, value)

    def nested(self, edges: tuple[int, ...]) -> Nested:
        """The same entries with P rows for each token.

        Entries of a token ascend by feature, so its blocks follow one another and no entry moves.
        """
        active, blocks = self.active, len(edges)
        n = len(active.first_N1) - 1
        token_K = torch.repeat_interleave(torch.arange(n), active.first_N1.diff())
        inner = torch.tensor(edges[:-1], dtype=torch.int64)
        row_K = token_K * blocks + torch.bucketize(active.feature_K, inner, right=True)
        first = torch.searchsorted(row_K, torch.arange(n * blocks + 1))
        rows = replace(active, first_N1=first, token_by_feature_K=row_K[active.by_feature_K])
        return SparseNested(rows, blocks)


@dataclass(frozen=True)
class SparseNested:
    """Each token as P rows of a sparse matrix [N * P, F]."""

    active: Active
    blocks: int

    def decode(self, value: Tensor, w_FD: Tensor) -> Tensor:
        """[N, P, D]."""
        return sparse.decode(self.active, w_FD, value).view(-1, self.blocks, w_FD.shape[1])

    def products(self, g_NPD: Tensor, w_FD: Tensor) -> Tensor:
        """[K]."""
        return sparse.at_entries(self.active, g_NPD.flatten(0, 1), w_FD)

    def weight_gradient(self, value: Tensor, g_NPD: Tensor) -> Tensor:
        """[F, D]."""
        return sparse.weight_gradient(self.active, value, g_NPD.flatten(0, 1))


@dataclass(frozen=True)
class DenseEntries:
    """A matrix [N, F] and a mask of the places that count."""

    value: Tensor
    mask_NF: Tensor

    def keep(self, value: Tensor) -> Tensor:
        """[N, F]."""
        return value * self.mask_NF

    def of_feature(self, v_F: Tensor) -> Tensor:
        """[F], which broadcasts."""
        return v_F

    def decode(self, value: Tensor, w_FD: Tensor) -> Tensor:
        """[N, D]."""
        return value @ w_FD

    def products(self, g_ND: Tensor, w_FD: Tensor) -> Tensor:
        """[N, F]."""
        return g_ND @ w_FD.T

    def weight_gradient(self, value: Tensor, x_ND: Tensor) -> Tensor:
        """[F, D]."""
        return value.T @ x_ND

    def sums(self, value: Tensor) -> Tensor:
        """[F]."""
        return value.sum(0)

    def nested(self, edges: tuple[int, ...]) -> Nested:
        """Columns in slices."""
        return DenseNested(tuple(map(slice, (0, *edges[:-1]), edges)))


@dataclass(frozen=True)
class DenseNested:
    """Blocks of columns."""

    columns: tuple[slice, ...]

    def decode(self, value: Tensor, w_FD: Tensor) -> Tensor:
        """[N, P, D]."""
        return torch.stack([value[:, c] @ w_FD[c] for c in self.columns], 1)

    def products(self, g_NPD: Tensor, w_FD: Tensor) -> Tensor:
        """[N, F]."""
        return torch.cat([g_NPD[:, p] @ w_FD[c].T for p, c in enumerate(self.columns)], 1)

    def weight_gradient(self, value: Tensor, g_NPD: Tensor) -> Tensor:
        """[F, D]."""
        return torch.cat([value[:, c].T @ g_NPD[:, p] for p, c in enumerate(self.columns)])
