"""Joint second moments of features and activations, and the regressions that follow from them.

Moments are all that latent scaling needs, so activations are read once and never stored. Sums are
float64, of activations from which a constant near their mean was subtracted: the float32 products
within a chunk then lose nothing that matters.

N: tokens of a chunk, D: width at the hook point, L: live features, Z: their entries in the chunk.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.nn.functional import embedding_bag

from services.analyzer.codes.codes import Codes
from shared.arrays import FloatArray, IntArray

# Penalty of the regression, as a share of the mean variance of the activations' dimensions, so that
# it means the same at every scale and width. It costs a direction of average variance .1 % of its
# weight. On sparse toy features in 256 dimensions, any value from 1e-6 to 1e-2 gives the same R^2
# within .02 from 10 000 tokens a half on (.04 at 2 000); 1e-1 loses .1. A small value spares what
# is written in directions that vary little, beside a few that vary much, as in a residual stream.
RIDGE = 1e-3
RIDGE_COLUMNS = 2048  # features whose weights exist at once


@dataclass(frozen=True)
class Half:
    """Raw sums over one half of the tokens: of x [D], xx^T, f [L], f^2 and f x [L, D]."""

    tokens: int
    x_D: FloatArray
    xx_DD: FloatArray
    f_L: FloatArray
    ff_L: FloatArray
    fx_LD: FloatArray


class Sums:
    """Accumulates `Half` for both halves of the tokens, over the features `live_L` of `codes`.

    The work for f x is proportional to firings; it takes 8 bytes * 2 L D of memory, and 4 bytes *
    2 L D more while a chunk is added.
    """

    def __init__(self, codes: Codes, live_L: IntArray, width: int, device: torch.device) -> None:
        self._codes = codes
        self._live = len(live_L)
        self._place_F = np.full(codes.width, -1)
        self._place_F[live_L] = np.arange(len(live_L))
        self._tokens_2 = np.zeros(2, np.int64)
        self._f_2L = np.zeros(2 * self._live)
        self._ff_2L = np.zeros(2 * self._live)

        def zeros(*sizes: int) -> Tensor:
            return torch.zeros(sizes, dtype=torch.float64, device=device)

        self._x_2D, self._xx_2DD = zeros(2, width), zeros(2, width, width)
        self._fx_2LD = zeros(2 * self._live, width)

    def add(self, start: int, x_ND: Tensor, half_N: IntArray, products: bool = True) -> None:
        """Add the tokens start .. start + N; `half_N` is the half, 0 or 1, of each of them.

        Without `products` the sums of x x^T are left out.
        """
        self._tokens_2 += np.bincount(half_N, minlength=2)
        for half in (0, 1):
            part_ND = x_ND[torch.from_numpy(half_N == half).to(x_ND.device)]
            self._x_2D[half] += part_ND.sum(0, dtype=torch.float64)
            if products:
                self._xx_2DD[half] += part_ND.T @ part_ND
        rows = self._codes.matrix(start, start + len(half_N))
        token_Z = np.repeat(np.arange(len(half_N)), np.diff(rows.indptr))
        place_Z = self._place_F[rows.indices]
        live = place_Z >= 0
        token_Z, value_Z = token_Z[live], rows.data[live]
        key_Z = place_Z[live] + half_N[token_Z] * self._live
        value64_Z = value_Z.astype(np.float64)
        self._f_2L += np.bincount(key_Z, value64_Z, 2 * self._live)
        self._ff_2L += np.bincount(key_Z, value64_Z**2, 2 * self._live)
        if len(key_Z):
            self._fx_2LD += _weighted_sums(token_Z, key_Z, value_Z, x_ND, 2 * self._live)

    def halves(self) -> tuple[Half, Half]:
        """The sums of the tokens of half 0 and of half 1."""
        fx_2LD = self._fx_2LD.view(2, self._live, -1)
        f_2L, ff_2L = self._f_2L.reshape(2, -1), self._ff_2L.reshape(2, -1)
        even, odd = (
            Half(
                tokens=int(self._tokens_2[half]),
                x_D=self._x_2D[half].cpu().numpy(),
                xx_DD=self._xx_2DD[half].cpu().numpy(),
                f_L=f_2L[half],
                ff_L=ff_2L[half],
                fx_LD=fx_2LD[half].cpu().numpy(),
            )
            for half in (0, 1)
        )
        return even, odd


def _weighted_sums(
    token_Z: IntArray, key_Z: IntArray, value_Z: FloatArray, x_ND: Tensor, keys: int
) -> Tensor:
    """The sum [keys, D] of value times the token's vector over the entries of each key."""
    by_token = csr_matrix((value_Z.astype(np.float32), (key_Z, token_Z)), (keys, len(x_ND)))

    def on_device(values: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(values).to(x_ND.device)

    return embedding_bag(
        on_device(by_token.indices.astype(np.int64)),
        x_ND,
        on_device(by_token.indptr.astype(np.int64)),
        mode="sum",
        per_sample_weights=on_device(by_token.data),
        include_last_offset=True,
    )


def variance(even: Half, odd: Half) -> float:
    """The variance of the activations over both halves, summed over the width."""
    tokens = even.tokens + odd.tokens
    mean_D = (even.x_D + odd.x_D) / tokens
    squares = float(np.trace(even.xx_DD) + np.trace(odd.xx_DD)) / tokens
    return squares - float(mean_D @ mean_D)


def scaling_factors(even: Half, odd: Half, directions_LD: FloatArray) -> FloatArray:
    """The least-squares factor of f d in x, centred: beta [L] = cov(f, <d, x>) / (|d|^2 var f).

    NaN for a constant feature or a direction that is zero.
    """
    tokens = even.tokens + odd.tokens
    f_L, ff_L = even.f_L + odd.f_L, even.ff_L + odd.ff_L
    mean_D = (even.x_D + odd.x_D) / tokens
    of_sums_L = np.einsum("ld,ld->l", even.fx_LD, directions_LD)
    of_sums_L += np.einsum("ld,ld->l", odd.fx_LD, directions_LD)
    covariance_L = of_sums_L - f_L * (directions_LD @ mean_D)
    squares_L = (ff_L - f_L**2 / tokens) * np.einsum("ld,ld->l", directions_LD, directions_LD)
    beta_L: FloatArray = np.full(len(f_L), np.nan)
    np.divide(covariance_L, squares_L, out=beta_L, where=squares_L > 0)
    return beta_L


def readable(even: Half, odd: Half) -> FloatArray:
    """R^2 [L] on the odd half of the ridge regression of f on x that the even half gives.

    w = (X^T X + RIDGE tr(X^T X) / D I)^-1 X^T f with both centred on the even half; its squared
    error on the odd half follows from that half's moments. Predicting the odd half's own mean gives
    an R^2 of 0; it may be lower. NaN where f or x is constant in a half that is needed.
    """
    unexplained_L: FloatArray = np.full(len(even.f_L), np.nan)
    if not even.tokens or not odd.tokens:
        return unexplained_L
    mean_D, mean_L = even.x_D / even.tokens, even.f_L / even.tokens
    even_DD = _centred_products(even, mean_D)
    scale = float(np.trace(even_DD)) / len(mean_D)
    if not scale > 0:
        return unexplained_L
    try:
        factor = cho_factor(even_DD + RIDGE * scale * np.eye(len(mean_D)))
    except LinAlgError:
        return unexplained_L
    odd_DD = _centred_products(odd, mean_D)
    error_L = odd.ff_L - 2 * mean_L * odd.f_L + odd.tokens * mean_L**2
    for start in range(0, len(mean_L), RIDGE_COLUMNS):
        part = slice(start, start + RIDGE_COLUMNS)
        w_DL = cho_solve(factor, _centred_cross(even, mean_D, mean_L, part).T)
        error_L[part] += np.einsum("dl,dl->l", w_DL, odd_DD @ w_DL)
        odd_LD = _centred_cross(odd, mean_D, mean_L, part)
        error_L[part] -= 2 * np.einsum("dl,ld->l", w_DL, odd_LD)
    total_L = odd.ff_L - odd.f_L**2 / odd.tokens
    varies_L = (total_L > 0) & (even.ff_L - even.f_L**2 / even.tokens > 0)
    np.divide(error_L, total_L, out=unexplained_L, where=varies_L)
    return 1 - unexplained_L


def _centred_products(half: Half, mean_D: FloatArray) -> FloatArray:
    """Sum over the half of (x - mean) (x - mean)^T [D, D], for any mean."""
    cross_DD = np.outer(half.x_D, mean_D)
    products: FloatArray = (
        half.xx_DD - cross_DD - cross_DD.T + half.tokens * np.outer(mean_D, mean_D)
    )
    return products


def _centred_cross(half: Half, mean_D: FloatArray, mean_L: FloatArray, part: slice) -> FloatArray:
    """Sum over the half of (f - mean_L) (x - mean_D)^T [L, D], for some of the features."""
    rest_D = half.x_D - half.tokens * mean_D
    crossed: FloatArray = (
        half.fx_LD[part] - np.outer(half.f_L[part], mean_D) - np.outer(mean_L[part], rest_D)
    )
    return crossed
