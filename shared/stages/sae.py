"""Parameters of the stages of the sae."""

from __future__ import annotations

from typing import Annotated, Literal

from shared.spec.base import OneOf
from shared.spec.own_settings import in_stage
from shared.spec.variants import DEFAULT, trained_per
from shared.spec.variants.base import AUX_COEFFICIENT
from shared.stages.base import Parameters

Hook = Literal["mlp_post", "mlp_out", "attn_out", "resid_pre", "resid_post"]


class HarvestParameters(Parameters):
    """Activations at one hook point, for every training token up to `tokens`.

    Inputs: model, tokens/0.. Files: activations-00000.safetensors.. with `activations`
    [vectors, width], `position` int64 [vectors] (place in the interleaved token stream).
    Results: vectors, width, shards.
    """

    hook: Hook = "mlp_post"
    layer: int
    tokens: int
    context: int
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    seed: int


@in_stage(trained_per("model"))
class DictionaryParameters(Parameters):
    """A sparse auto-encoder on one model's activations.

    Inputs: model, tokens/0.., when the activations were stored harvest, and with init "parent"
    `start`, the dictionary whose weights it starts from.
    Files: cfg.json, sae_weights.safetensors (the layout of SAELens; the activation scale is folded
    in, decoder directions have unit norm), curve.jsonl.
    Results: features, width, scale, vectors, seconds_per_million, coefficient (the last one of the
    sparsity penalty; null for those with k).

    Sparsity, as the variant declares: either `l1` (weight of its penalty) or `l0`, a mean number of
    active features that this weight is steered to; or `k`. What a variant does not read is None.
    The settings of single variants (shared/spec/variants) are fields too.
    """

    hook: Hook = "mlp_post"
    layer: int
    variant: Annotated[str, OneOf(tuple(trained_per("model")))] = DEFAULT
    expansion: float | None = None
    features: int | None = None
    l1: float | None = None
    l0: float | None = None
    k: int | None = None
    sparsity_warmup_steps: int = 0
    learning_rate: float
    warmup_steps: int = 0
    learning_rate_decay: float = 0.0
    betas: tuple[float, float]
    tokens: int
    context: int
    batch: int
    revive: Literal["ghost", "resample", "aux", "none"]
    dead_after_steps: int
    seed: int
    replicate: int
    init: Literal["independent", "shared", "parent"] = "independent"


class DictionarySetParameters(Parameters):
    """Several dictionaries of one model, trained in one pass over the same activations.

    All members have the same hook, layer, tokens, context, batch, seed and replicate.
    Inputs: model, tokens/0.. Files: 0/, 1/ .. each with the files of a dictionary.
    Results: members, a list of the results of each.
    """

    members: tuple[DictionaryParameters, ...]


class MemberParameters(Parameters):
    """One dictionary out of a set. Inputs: set. Files and results as a dictionary's."""

    member: int


class ImportDictionaryParameters(Parameters):
    """A dictionary that SAELens can read, from the hub or from an uploaded archive.

    Inputs: model. Files: cfg.json, sae_weights.safetensors. Results: features, width, variant.
    `hub` and `revision` with `path`, a directory in the repository; or `upload` (sha256) and its
    format. Raises when it does not fit the model at `hook` of `layer`.
    """

    hub: str | None = None
    revision: str | None = None
    path: str = ""
    upload: str | None = None
    format: Literal["zip", "tar"] | None = None
    hook: Hook
    layer: int


class CrosscoderParameters(Parameters):
    """One BatchTopK dictionary of two models at once: a parent and its child.

    Inputs: parent, child (models), tokens/0.. (of the child's own distribution).
    Files: crosscoder.safetensors (encoder_2DF, encoder_bias_F, decoder_2FD, decoder_bias_2D,
    threshold, scale_2; index 0 is the parent), curve.jsonl, features.parquet with one row per
    feature: feature, density, norm_parent, norm_child, relative_norm (child / (parent + child)),
    beta_error_parent, beta_error_child, nu_error, beta_reconstruction_parent,
    beta_reconstruction_child, nu_reconstruction (latent scaling on `scaling_tokens` held-out
    tokens; null where undefined), kind: shared, parent, child (only in that one, and confirmed by
    latent scaling), false_parent, false_child (so by norms, but not by latent scaling) or dead.
    Results: features, width, l0, explained_variance_parent, explained_variance_child, dead_share,
    kinds {kind: count}, relative_norm {edges, counts}, vectors, tokens.
    """

    hook: Hook = "mlp_post"
    layer: int
    expansion: float | None = None
    features: int | None = None
    k: int
    aux_coefficient: float = AUX_COEFFICIENT
    learning_rate: float
    warmup_steps: int = 0
    learning_rate_decay: float = 0.0
    betas: tuple[float, float]
    tokens: int
    context: int
    batch: int
    dead_after_steps: int
    scaling_tokens: int
    seed: int


class EvaluateDictionaryParameters(Parameters):
    """Inputs: model, dictionary, tokens/0.. (validation splits are used).

    Files: density.npy [features] (share of tokens on which the feature fires). Results: l0,
    explained_variance, loss_recovered (zero ablation), loss_recovered_mean (mean ablation), loss,
    loss_reconstructed, loss_zero, loss_mean, dead_share, tokens, features,
    density_histogram {edges, counts} over log10 density.
    """

    hook: Hook = "mlp_post"
    layer: int
    tokens: int
    context: int
