"""Which features of a crosscoder belong to one model only: decoder norms and latent scaling.

Relative decoder norms alone can attribute a feature to one model although the other has it too: its
share there may have gone to zero (complete shrinkage) or to other features (latent decoupling).
Latent scaling looks at the activations instead (Minder et al. 2025, "Robustly identifying concepts
introduced during chat fine-tuning using crosscoders", section on Latent Scaling): for feature j,
with activation f_j and direction d_j in its own model (the one in which it is longer; in the paper
always the chat model),

    beta_m = argmin over beta of sum over tokens |beta f_j d_j - y_m|^2
           = sum_t f_j <d_j, y_m> / (|d_j|^2 sum_t f_j^2),        nu = beta_other / beta_own

for two targets: the error that model m's reconstruction has without feature j,
y = x_m - x_hat_m + f_j d_j,m (what is left for the feature to explain: nu near 1 is complete
shrinkage), and the reconstruction y = x_hat_m - b_m (nu near 1 is latent decoupling; the constant
b_m is left out, which every feature would explain because it is never negative).
d_j is used unchanged in the other model: both have the same basis, as a fine-tuned model and its
parent do.

N: vectors of a batch, D: width at the hook point, E: 2 D, the parent's values and then the child's,
F: features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from services.sae.crosscoder.weights import CrosscoderWeights
from services.sae.sparse.select import positive
from shared.arrays import FloatArray

# A feature of one model has over nine tenths of the norm of its direction there (Minder et al.).
ONE_MODEL_NORM = 0.9
# Below both bounds of nu a feature is truly of that model alone (Minder et al.).
LARGEST_NU_ERROR = 0.2
LARGEST_NU_RECONSTRUCTION = 0.5
KINDS = ("shared", "parent", "child", "false_parent", "false_child", "dead")
ROUNDING = 1e-12  # a variance below this share of the squares counts as zero
NORM_EDGES = np.linspace(0, 1, 21)


class Scaling:
    """Float64 sums over held-out tokens, from pairs of scaled activation vectors."""

    def __init__(self, weights: CrosscoderWeights, threshold: float) -> None:
        self._weights = weights
        self._threshold = threshold
        features, device = len(weights.encoder_bias_F), weights.decoder_FE.device
        self._norms_2F = weights.norms()
        parent_FD, child_FD = weights.decoder_FE.chunk(2, dim=1)
        in_child_F = self._norms_2F[1] >= self._norms_2F[0]
        self.own_F = in_child_F.long()  # number of the model that a feature belongs to
        self._own_FD = torch.where(in_child_F[:, None], child_FD, parent_FD)
        self.tokens = 0
        self.firings_F = torch.zeros(features, dtype=torch.int64, device=device)

        def zeros(*sizes: int) -> Tensor:
            return torch.zeros(sizes, dtype=torch.float64, device=device)

        self._square_F = zeros(features)
        self._error_2F, self._reconstruction_2F = zeros(2, features), zeros(2, features)
        self._squared_error_2 = zeros(2)
        self._sum_E, self._squares_E = zeros(2 * weights.width), zeros(2 * weights.width)  # x - b

    def add(self, x_NE: Tensor) -> None:
        """Add the vectors of a batch to the sums."""
        w = self._weights
        centred_NE = x_NE - w.decoder_bias_E
        norm_F = self._norms_2F.sum(0)
        pre_NF = torch.addmm(w.encoder_bias_F, centred_NE, w.encoder_FE.T)
        chosen = positive(pre_NF.mul_(norm_F).sub_(self._threshold))
        f = chosen.keep((chosen.value + self._threshold) / chosen.of_feature(norm_F))
        decoded_NE = chosen.decode(f, w.decoder_FE)
        error_NE = centred_NE - decoded_NE
        exact = f.double()
        for model in (0, 1):
            decoded_ND = decoded_NE.chunk(2, dim=1)[model].contiguous()
            error_ND = error_NE.chunk(2, dim=1)[model].contiguous()
            self._reconstruction_2F[model] += chosen.sums(
                exact * chosen.products(decoded_ND, self._own_FD)
            )
            self._error_2F[model] += chosen.sums(exact * chosen.products(error_ND, self._own_FD))
            self._squared_error_2[model] += error_ND.square().sum(dtype=torch.float64)
        self._square_F += chosen.sums(exact.square())
        exact_NE = centred_NE.double()
        self._sum_E += exact_NE.sum(0)
        self._squares_E += exact_NE.square().sum(0)
        self.firings_F += chosen.sums((f > 0).long())
        self.tokens += len(x_NE)

    def explained_variance(self) -> tuple[float | None, float | None]:
        """1 - sum |x - x_hat|^2 / sum |x - mean|^2 of the parent and of the child."""
        variance_E = self._squares_E - self._sum_E.square() / max(1, self.tokens)
        variance_2 = variance_E.view(2, -1).sum(1)
        varies_2 = variance_2 > ROUNDING * self._squares_E.view(2, -1).sum(1)
        parent, child = (1 - self._squared_error_2 / variance_2).tolist()
        return parent if varies_2[0] else None, child if varies_2[1] else None

    def features(self) -> Features:
        """The measurements of each feature."""
        parts = self._weights.decoder_FE.double().chunk(2, dim=1)
        own_FD = self._own_FD.double()
        length_F = own_FD.square().sum(1) * self._square_F
        along_2F = torch.stack([(own_FD * part_FD).sum(1) for part_FD in parts])
        # The feature's own part is added back to the error: sum of f <d, f d_m>.
        error_2F = (self._error_2F + along_2F * self._square_F) / length_F
        return Features(
            density_F=(self.firings_F.double() / max(1, self.tokens)).cpu().numpy(),
            norms_2F=self._norms_2F.double().cpu().numpy(),
            own_F=self.own_F.cpu().numpy(),
            error_2F=error_2F.cpu().numpy(),
            reconstruction_2F=(self._reconstruction_2F / length_F).cpu().numpy(),
        )


@dataclass(frozen=True)
class Features:
    """Density, norms of the directions and beta of both targets, per feature and model.

    Betas are NaN for a feature that never fired. Model 0 is the parent, 1 the child.
    """

    density_F: FloatArray
    norms_2F: FloatArray
    own_F: npt.NDArray[np.int64]
    error_2F: FloatArray
    reconstruction_2F: FloatArray

    @property
    def relative_norm(self) -> FloatArray:
        """Norm in the child over the sum of both norms [F]."""
        relative: FloatArray = self.norms_2F[1] / self.norms_2F.sum(0)
        return relative

    def nu(self, beta_2F: FloatArray) -> FloatArray:
        """beta of the other model over beta of the feature's own [F].

        NaN unless the latter is positive: a feature that does not explain even its own model shows
        nothing about the other.
        """
        each = np.arange(len(self.own_F))
        own_F, other_F = beta_2F[self.own_F, each], beta_2F[1 - self.own_F, each]
        nu_F: FloatArray = np.full(len(each), np.nan)
        np.divide(other_F, own_F, out=nu_F, where=own_F > 0)
        return nu_F

    def kinds(self) -> list[str]:
        """One of KINDS for each feature; a value that is undefined confirms nothing."""
        relative_F = self.relative_norm
        # A comparison with NaN is False.
        confirmed_F = (self.nu(self.error_2F) < LARGEST_NU_ERROR) & (
            self.nu(self.reconstruction_2F) < LARGEST_NU_RECONSTRUCTION
        )
        child_F, parent_F = relative_F > ONE_MODEL_NORM, relative_F < 1 - ONE_MODEL_NORM
        conditions = [
            self.density_F == 0,
            child_F & confirmed_F,
            parent_F & confirmed_F,
            child_F,
            parent_F,
        ]
        names = ["dead", "child", "parent", "false_child", "false_parent"]
        kinds: list[str] = np.select(conditions, names, "shared").tolist()
        return kinds

    def table(self) -> pa.Table:
        """The columns of features.parquet (CROSSCODER)."""

        def column(values_F: FloatArray) -> pa.Array:
            return pa.array(values_F, mask=~np.isfinite(values_F))

        return pa.table(
            {
                "feature": np.arange(len(self.density_F)),
                "density": self.density_F,
                "norm_parent": self.norms_2F[0],
                "norm_child": self.norms_2F[1],
                "relative_norm": column(self.relative_norm),
                "beta_error_parent": column(self.error_2F[0]),
                "beta_error_child": column(self.error_2F[1]),
                "nu_error": column(self.nu(self.error_2F)),
                "beta_reconstruction_parent": column(self.reconstruction_2F[0]),
                "beta_reconstruction_child": column(self.reconstruction_2F[1]),
                "nu_reconstruction": column(self.nu(self.reconstruction_2F)),
                "kind": self.kinds(),
            }
        )

    def counts(self) -> dict[str, object]:
        """Results that follow from the features: numbers, shares and the histogram of norms."""
        kinds = self.kinds()
        alive_F = self.density_F > 0
        counts, edges = np.histogram(self.relative_norm[alive_F], NORM_EDGES)
        return {
            "features": len(kinds),
            "l0": float(self.density_F.sum()),
            "dead_share": float(np.mean(~alive_F)),
            "kinds": {kind: kinds.count(kind) for kind in KINDS},
            "relative_norm": {"edges": edges.tolist(), "counts": counts.tolist()},
        }
