"""Stages of the sae (sparse auto-encoders): parameters and contracts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.spec.base import OneOf
from shared.spec.own_settings import in_stage
from shared.spec.variants import DEFAULT, taking, trained_per
from shared.spec.variants.base import AUX_COEFFICIENT
from shared.stages.base import File, Kind, Parameters
from shared.stages.fields import (
    AuxCoefficient,
    Batch,
    Betas,
    Context,
    DeadAfter,
    Decay,
    Expansion,
    Features,
    HeldOutTokens,
    HookPoint,
    Layer,
    LearningRate,
    TrainingSeed,
    TrainingTokens,
    WarmupSteps,
)

SERVICE = "sae"
TOKENS = "packed tokens of each corpus, in order"


class HarvestParameters(Parameters):
    """Which activations are stored."""

    hook: HookPoint = "mlp_post"
    layer: Layer
    tokens: Annotated[int, Field(description="At most so many training tokens are read.")]
    context: Context
    precision: Literal["float32", "bfloat16"] = Field(
        "bfloat16", description="Number format of the stored activations."
    )
    seed: Annotated[int, Field(description="Seed of the order of the contexts.")]


HARVEST = Kind(
    name="harvest",
    service=SERVICE,
    version=1,
    does="Stores a model's activations at one hook point, for every training token up to `tokens`.",
    parameters=HarvestParameters,
    inputs={"model": "the model", "tokens/*": TOKENS},
    files={
        "activations-*.safetensors": File(
            "shards, their number in five digits",
            {
                "activations": "[vectors, width] in the number format of `precision`",
                "position": "int64 [vectors]: place in the interleaved token stream",
            },
        )
    },
    results={
        "vectors": "number of activation vectors in all shards",
        "width": "width of the activations at the hook point",
        "shards": "number of shards",
    },
)


@in_stage(trained_per("model"))
class DictionaryParameters(Parameters):
    """How a sparse auto-encoder is trained.

    The settings of single variants (shared/spec/variants) are fields too. What a variant does not
    read is None.
    """

    hook: HookPoint = "mlp_post"
    layer: Layer
    variant: Annotated[str, OneOf(tuple(trained_per("model")))] = Field(
        DEFAULT, description="Kind of dictionary; it decides which of l1, l0 and k are read."
    )
    expansion: Expansion = None
    features: Features = None
    l1: float | None = Field(None, description=f"Weight of the penalty ({taking('l1', 'model')}).")
    l0: float | None = Field(
        None,
        description="Mean number of active features that the weight of the penalty is steered to, "
        f"in place of l1 ({taking('l0', 'model')}).",
    )
    k: int | None = Field(
        None,
        description=f"Active features of a token, exactly or on average ({taking('k', 'model')}).",
    )
    sparsity_warmup_steps: int = Field(0, description="Steps over which the penalty rises from 0.")
    learning_rate: LearningRate
    warmup_steps: WarmupSteps = 0
    learning_rate_decay: Decay = 0.0
    betas: Betas
    tokens: TrainingTokens
    context: Context
    batch: Batch
    revive: Literal["ghost", "resample", "aux", "none"] = Field(
        description="What is done about dead features: ghost gradients, starting them again, an "
        "auxiliary loss, or nothing."
    )
    dead_after_steps: DeadAfter
    seed: TrainingSeed
    replicate: int = Field(
        description="Which of several dictionaries that differ only in their random numbers; all "
        "but 0 read the data in another order."
    )
    init: Literal["independent", "shared", "parent"] = Field(
        "independent",
        description="Whether each model's dictionary starts from random weights of its own, all "
        "from the same, or from the dictionary of the input `start`.",
    )


DICTIONARY_FILES = {
    "cfg.json": File("configuration, in the layout of SAELens"),
    "sae_weights.safetensors": File(
        "weights, in the layout of SAELens; the activation scale is folded in, and decoder "
        "directions have unit norm"
    ),
    "curve.jsonl": File(
        "training curve, about 500 rows; figures of one step, over its batch",
        {
            "step": "the step",
            "loss": "loss that was minimised",
            "squared_error": "mean squared error of the reconstruction, at the common scale",
            "coefficient": "weight of the sparsity penalty; null for variants with k",
            "l0": "mean number of active features of a token",
            "explained_variance": "share of the variance that is explained, or null",
            "dead_share": "share of the features that are dead",
            "learning_rate": "learning rate of the step",
        },
    ),
}
DICTIONARY_RESULTS = {
    "features": "number of features",
    "width": "width of the activations at the hook point",
    "scale": "factor after which the mean squared norm of the activations is their width",
    "vectors": "activation vectors it was trained on",
    "seconds_per_million": "seconds a million vectors, of the attempt that finished; null where "
    "that took no step",
    "coefficient": "last weight of the sparsity penalty; null for variants with k",
}

DICTIONARY = Kind(
    name="dictionary",
    service=SERVICE,
    version=3,
    does="Trains a sparse auto-encoder on one model's activations.",
    parameters=DictionaryParameters,
    inputs={
        "model": "the model",
        "tokens/*": TOKENS,
        "harvest?": "the activations, where they were stored",
        "start?": "dictionary whose weights it starts from (only with init `parent`)",
    },
    files=DICTIONARY_FILES,
    results=DICTIONARY_RESULTS,
)


class DictionarySetParameters(Parameters):
    """Several dictionaries of one model that read the same activations."""

    members: tuple[DictionaryParameters, ...] = Field(
        description="Parameters of each `dictionary`; all have the same hook, layer, tokens, "
        "context, batch, seed and replicate."
    )


DICTIONARY_SET = Kind(
    name="dictionary_set",
    service=SERVICE,
    version=2,
    does="Trains several dictionaries of one model in one pass over the same activations.",
    parameters=DictionarySetParameters,
    inputs={"model": "the model", "tokens/*": TOKENS},
    files={"*/": File("directory with the files of one `dictionary`, for each member")},
    results={"members": "list of the results of each `dictionary`"},
)


class MemberParameters(Parameters):
    """Which dictionary of a set is wanted."""

    member: int = Field(description="Number in the set, from 0.")


DICTIONARY_MEMBER = Kind(
    name="dictionary_member",
    service=SERVICE,
    version=1,
    does="Takes one dictionary out of a set.",
    parameters=MemberParameters,
    inputs={"set": "the `dictionary_set`"},
    files=DICTIONARY_FILES,
    results=DICTIONARY_RESULTS,
)


class ImportDictionaryParameters(Parameters):
    """Where a dictionary that SAELens can read comes from, and where in the model it belongs.

    Either `hub`, `revision` and `path`, or `upload` and `format`.
    """

    hub: str | None = Field(None, description="Repository on the hub.")
    revision: str | None = Field(None, description="Commit of that repository.")
    path: str = Field("", description="Directory in the repository.")
    upload: str | None = Field(
        None, description="sha256 (hexadecimal) of an uploaded archive of its directory."
    )
    format: Literal["zip", "tar"] | None = Field(None, description="Format of the upload.")
    hook: HookPoint
    layer: Layer


IMPORT_DICTIONARY = Kind(
    name="import_dictionary",
    service=SERVICE,
    version=1,
    does=(
        "Brings in a dictionary that SAELens can read, from the hub or from an uploaded archive; "
        "fails when it does not fit the model at `hook` of `layer`."
    ),
    parameters=ImportDictionaryParameters,
    inputs={"model": "model whose activations it is for"},
    files={
        "cfg.json": File("configuration, in the layout of SAELens"),
        "sae_weights.safetensors": File("weights, in the layout of SAELens, float32"),
    },
    results={
        "features": "number of features",
        "width": "width of the activations at the hook point",
        "variant": "kind of dictionary, as its activation function shows",
    },
)


class CrosscoderParameters(Parameters):
    """How a BatchTopK dictionary of two models at once is trained, and measured."""

    hook: HookPoint = "mlp_post"
    layer: Layer
    expansion: Expansion = None
    features: Features = None
    k: int = Field(description="Active features of a token, a mean over the batch.")
    aux_coefficient: AuxCoefficient = AUX_COEFFICIENT
    learning_rate: LearningRate
    warmup_steps: WarmupSteps = 0
    learning_rate_decay: Decay = 0.0
    betas: Betas
    tokens: TrainingTokens
    context: Context
    batch: Batch
    dead_after_steps: DeadAfter
    scaling_tokens: int = Field(description="Held-out tokens that features are measured on.")
    seed: TrainingSeed


CROSSCODER = Kind(
    name="crosscoder",
    service=SERVICE,
    version=1,
    does="Trains one BatchTopK dictionary of two models at once: a parent and its child.",
    parameters=CrosscoderParameters,
    inputs={
        "parent": "model of the parent",
        "child": "model of the child",
        "tokens/*": "packed tokens of each corpus of the child's own distribution, in order",
    },
    files={
        "crosscoder.safetensors": File(
            "weights; in all arrays index 0 is the parent and 1 the child",
            {
                "encoder_2DF": "encoder [2, width, features]",
                "encoder_bias_F": "bias of the encoder [features], common to both models",
                "decoder_2FD": "decoder directions [2, features, width]",
                "decoder_bias_2D": "bias of the decoder [2, width]",
                "threshold": "for activation times the sum of both decoder norms",
                "scale_2": "factor of each model's activations [2]",
            },
        ),
        "curve.jsonl": File(
            "training curve, about 500 rows; figures of one step, over its batch",
            {
                "step": "the step",
                "loss": "loss that was minimised",
                "squared_error_parent": "mean squared error of the parent, at the common scale",
                "squared_error_child": "the same of the child",
                "explained_variance_parent": "share of the parent's variance explained, or null",
                "explained_variance_child": "share of the child's variance explained, or null",
                "l0": "mean number of active features of a token",
                "dead_share": "share of the features that are dead",
                "threshold": "as in the weights, after the step",
                "learning_rate": "learning rate of the step",
            },
        ),
        "features.parquet": File(
            "one row a feature; latent scaling is measured on `scaling_tokens` held-out tokens and "
            "null where undefined",
            {
                "feature": "its number",
                "density": "share of the held-out tokens on which it is active",
                "norm_parent": "norm of its decoder direction in the parent",
                "norm_child": "norm of its decoder direction in the child",
                "relative_norm": "norm_child / (norm_parent + norm_child)",
                "beta_error_parent": "least-squares factor in what the other features leave of the "
                "parent",
                "beta_error_child": "the same in the child",
                "nu_error": "beta_error of the other model / of the feature's own",
                "beta_reconstruction_parent": "least-squares factor in the parent's reconstruction",
                "beta_reconstruction_child": "the same in the child's",
                "nu_reconstruction": "beta_reconstruction of the other model / of its own",
                "kind": "shared, parent, child, false_parent, false_child or dead",
            },
        ),
    },
    results={
        "features": "number of features",
        "width": "width of one model's activations at the hook point",
        "l0": "mean number of active features of a held-out token",
        "explained_variance_parent": "share of the parent's variance explained, held out, or null",
        "explained_variance_child": "share of the child's variance explained, held out, or null",
        "dead_share": "share of the features that are never active on the held-out tokens",
        "kinds": "{kind: number of features}",
        "relative_norm": "{edges, counts}: histogram of relative_norm of the features not dead",
        "vectors": "token positions it was trained on",
        "tokens": "held-out tokens it was measured on",
    },
    terms={
        "kind parent, child": "only in that model by the norms, and confirmed by latent scaling",
        "kind false_parent, false_child": "only in that model by the norms, not confirmed by "
        "latent scaling",
        "kind shared": "in both models by the norms",
        "kind dead": "never active on the held-out tokens",
    },
)


class EvaluateDictionaryParameters(Parameters):
    """Where a dictionary is put into the model, and on how many tokens."""

    hook: HookPoint = "mlp_post"
    layer: Layer
    tokens: HeldOutTokens
    context: Context


EVALUATE_DICTIONARY = Kind(
    name="evaluate_dictionary",
    service=SERVICE,
    version=1,
    does="Measures how good a dictionary is, on the validation splits.",
    parameters=EvaluateDictionaryParameters,
    inputs={
        "model": "the model",
        "dictionary": "its dictionary",
        "tokens/*": "packed tokens of each corpus, in order; the validation splits are used",
    },
    files={"density.npy": File("[features]: share of tokens on which the feature fires")},
    results={
        "l0": "mean number of active features of a token",
        "explained_variance": "1 - sum of squared errors / sum of squared distances to the mean, "
        "over all tokens and the whole width; null without any variance",
        "loss_recovered": "(loss_zero - loss_reconstructed) / (loss_zero - loss), by zero "
        "ablation; null where the ablation changes nothing",
        "loss_recovered_mean": "the same with loss_mean, by mean ablation",
        "loss": "next-token cross-entropy in nats with the activations as they are",
        "loss_reconstructed": "the same with the dictionary's reconstruction in their place",
        "loss_zero": "the same with zeros in their place",
        "loss_mean": "the same with their mean in their place",
        "dead_share": "share of the features that never fire",
        "tokens": "number of tokens",
        "features": "number of features",
        "density_histogram": "{edges, counts} over log10 density; features that never fire are in "
        "no bin",
    },
)
