"""Parameters of every stage kind: what a plan writes into a stage and what a service reads.

They are part of the stage's key, so they hold everything that changes the artifact and nothing
else: no names a user chose, no hardware, no paths. Where order matters, inputs are numbered
("tokens/0", "tokens/1"); the comment above each class lists its inputs, its files and its results.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Parameters(BaseModel):
    """Base of all stage parameters: frozen, and nothing unknown gets in."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# ------------------------------------------------------------------------------- trainer


class HubSource(Parameters):
    """Rows of a Hugging Face data set, at one commit."""

    source: Literal["hub"] = "hub"
    name: str
    revision: str
    config: str | None = None
    split: str = "train"
    text_column: str = "text"


class UploadSource(Parameters):
    """A file that a user uploaded, by its content (sha256, hex)."""

    source: Literal["upload"] = "upload"
    digest: str
    format: Literal["jsonl", "parquet", "text", "zip", "tar"]
    text_column: str = "text"


class BuiltinSource(Parameters):
    """A corpus that comes with the project (or, for python-stdlib, with the interpreter)."""

    source: Literal["builtin"] = "builtin"
    name: Literal["python-stdlib", "baby", "stories", "lua"]
    digest: str


class CorpusParameters(Parameters):
    """Text of one corpus, split by content hash into train and validation.

    Inputs: none. Files: train.parquet, validation.parquet with the columns `text` (string) and
    `spans` (list of {start, end, label}; character offsets into text). Rows come in a seeded
    order and both splits are free of exact duplicates.
    Results: train and validation as {documents, bytes}, labels as {label: count}.
    """

    source: Annotated[HubSource | UploadSource | BuiltinSource, Field(discriminator="source")]
    fraction: float = 1.0
    max_bytes: int | None = None
    validation: float = 0.05
    seed: int = 1337


class TrainedTokenizer(Parameters):
    """A byte-level BPE trained on the training split of the input corpora."""

    how: Literal["train"] = "train"
    vocab_size: int
    max_bytes: int = 20_000_000


class PretrainedTokenizer(Parameters):
    """The tokenizer of a hub repository, at one commit."""

    how: Literal["pretrained"] = "pretrained"
    name: str
    revision: str


class UploadedTokenizer(Parameters):
    """An uploaded tokenizer.json, by content."""

    how: Literal["upload"] = "upload"
    digest: str


class TokenizerParameters(Parameters):
    """Inputs: corpus/0.. (only for `train`).

    Files: tokenizer.json, tokenizer_config.json. Results: vocab_size, end_of_text (token id).
    """

    tokenizer: Annotated[
        TrainedTokenizer | PretrainedTokenizer | UploadedTokenizer, Field(discriminator="how")
    ]


class TokensParameters(Parameters):
    """A corpus as packed blocks.

    Inputs: corpus, tokenizer. Documents are concatenated, each followed by end-of-text, and cut
    into blocks; a rest shorter than a block is dropped.
    Files: train.npy, validation.npy: [blocks, block], uint16 (vocabulary <= 65 536) or uint32,
    readable with numpy.load(mmap_mode="r"); validation-labels.npy: uint32 [blocks, block], bit i
    set where the token overlaps a span with label i.
    Results: train_tokens, validation_tokens, vocab_size, end_of_text, labels (list of names),
    bytes_per_token.
    """

    block: int
    max_tokens: int | None = None


class Architecture(Parameters):
    """A Mistral-style decoder (RMSNorm, rotary positions, grouped-query attention, SwiGLU)."""

    hidden: int
    mlp: int
    heads: int
    kv_heads: int
    layers: int
    context: int
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    tied_embeddings: bool = False


class InitialiseParameters(Parameters):
    """Random weights. Inputs: tokenizer. Files: a Hugging Face model directory.

    Results: parameters (count), vocab_size, architecture fields.
    """

    architecture: Architecture
    seed: int


class ImportParameters(Parameters):
    """A causal language model from the hub or from an uploaded archive of its directory.

    Inputs: tokenizer (the imported vocabulary must equal it). Files and results as Initialise.
    """

    hub: str | None = None
    revision: str | None = None
    upload: str | None = None
    format: Literal["zip", "tar"] | None = None


class TrainParameters(Parameters):
    """Pre-training and fine-tuning are the same stage with another starting model.

    Inputs: model, tokens/0.. Files: a Hugging Face model directory, curve.jsonl (step, loss,
    learning_rate, gradient_norm, tokens). Results: parameters, steps, tokens, loss, precision.
    """

    epochs: float
    max_steps: int | None = None
    batch: int
    block: int
    learning_rate: float
    schedule: Literal["cosine", "linear", "constant"]
    warmup_steps: int
    weight_decay: float
    betas: tuple[float, float] = (0.9, 0.999)
    gradient_clip: float = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int


class EvaluateParameters(Parameters):
    """Inputs: model, tokens/0.. Results: corpora, a list (input order) of {loss, accuracy, tokens}.

    Loss is the mean next-token cross-entropy in nats over the validation split (tokens 1.. of each
    block given those before them; `tokens` counts them), accuracy the share of these where the most
    likely token is the right one. Also parameters (count).
    """

    max_tokens: int | None = None


# -------------------------------------------------------------------------------- merger


class MergeParameters(Parameters):
    """Inputs: at_zero, at_one (models). Files: a Hugging Face model directory, tensors.jsonl.

    Results: parameters, method, t, linear_fallback (names of tensors).
    """

    method: Literal["slerp"] = "slerp"
    t: float


class SweepParameters(Parameters):
    """Inputs: at_zero, at_one, tokens/0.. Results: points, [{t, corpora: [{loss, accuracy,
    tokens}]}], parameters. t runs over `steps` values, 0 and 1 included.
    """

    method: Literal["slerp"] = "slerp"
    steps: int
    max_tokens: int | None = None


# ----------------------------------------------------------------------------------- sae


class HarvestParameters(Parameters):
    """Activations at one hook point, for every training token up to `tokens`.

    Inputs: model, tokens/0.. Files: activations-00000.safetensors.. with `activations`
    [vectors, width], `position` int64 [vectors] (place in the interleaved token stream).
    Results: vectors, width, shards.
    """

    hook: Literal["mlp_post"] = "mlp_post"
    layer: int
    tokens: int
    context: int
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    seed: int


class DictionaryParameters(Parameters):
    """A sparse auto-encoder on one model's activations.

    Inputs: model, tokens/0.. and, when the activations were stored, harvest.
    Files: cfg.json, sae_weights.safetensors (W_enc [width, features], b_enc, W_dec
    [features, width], b_dec; the activation scale is folded in), curve.jsonl.
    Results: features, width, scale, vectors, seconds_per_million.
    """

    hook: Literal["mlp_post"] = "mlp_post"
    layer: int
    variant: Literal["relu"] = "relu"
    expansion: float | None = None
    features: int | None = None
    l1: float
    l1_warmup_steps: int = 0
    learning_rate: float
    learning_rate_decay: float = 0.0
    betas: tuple[float, float]
    tokens: int
    context: int
    batch: int
    revive: Literal["ghost", "resample", "none"]
    dead_after_steps: int
    seed: int
    replicate: int
    init: Literal["independent", "shared"] = "independent"


class EvaluateDictionaryParameters(Parameters):
    """Inputs: model, dictionary, tokens/0.. (validation splits are used).

    Files: density.npy [features] (share of tokens on which the feature fires). Results: l0,
    explained_variance, loss_recovered (zero ablation), loss_recovered_mean (mean ablation), loss,
    loss_reconstructed, loss_zero, loss_mean, dead_share, tokens, features,
    density_histogram {edges, counts} over log10 density.
    """

    hook: Literal["mlp_post"] = "mlp_post"
    layer: int
    tokens: int
    context: int


# ------------------------------------------------------------------------------ analyzer


class EncodeParameters(Parameters):
    """Feature activations of a model over a held-out token stream, from clean activations.

    Inputs: model, dictionary, tokens/0.. Files: codes.safetensors with `indptr` int64 [tokens + 1],
    `features` int32 [non-zeros] (ascending within a token), `values` float32 [non-zeros].
    Results: tokens, features, l0, corpora (token count of each input, in order).
    """

    hook: Literal["mlp_post"] = "mlp_post"
    layer: int
    tokens: int
    context: int


class MatchParameters(Parameters):
    """Features of a parent against features of a child, over the same token positions.

    Inputs: parent, child (encode). Files: parent.parquet and child.parquet with one row per
    feature (feature, firings, best, best_r, match, match_r, status), candidates.npz (all pairs of
    live features with r >= floor as parent, child, r; sorted, so that a threshold can be moved).
    `best` is the live feature of the other model with the highest positive r (-1: none, or the
    feature is rare itself), `match` the one-to-one partner at r >= threshold (-1: none); their r is
    null where they are -1. Status: persist, disappear (parent), emerge (child), rare (fewer than
    min_firings firings, dead ones included; the others are "alive").
    Results: alive_parent, alive_child, persist, disappear, emerge, persist_any, persist_any_child,
    share (persist / alive_parent), share_any (persist_any / alive_parent), tokens, best_r_parent
    and best_r_child ({edges, counts} over the live features' best r). A share of none is null.
    `shift` > 0 rolls the child's stream by that many tokens: the null control.
    """

    threshold: float
    min_firings: int
    floor: float = 0.2
    shift: int = 0


class ContextsParameters(Parameters):
    """Where each feature fires.

    Inputs: codes (encode), tokens/0.., tokenizer. Files:
      contexts.parquet: feature, kind "top" or "sample", rank (from 0), corpus (input number),
        position and start (token of the stream), tokens (list of str), activations (list of float).
      features.parquet: feature, density, mean (over firings), max, corpus_0.. (share of its firings
        by input), and label, precision, recall, f1 of the label that it tells best (or null).
      labels.parquet: feature, label, precision, recall, f1, threshold, support; rows with F1 >= .3.
    Results: labels, {label: the best feature's {feature, precision, recall, f1, threshold, support}
    or null}. Thresholds and best features are chosen on the even contexts of the stream, figures
    measured on the odd ones; positions without the label count as negative in every corpus.
    """

    tokens: int
    context: int
    top: int = 8
    samples: int = 8
    window: int = 24


class TrackEdge(Parameters):
    """One parent -> child edge, by the numbers of the models."""

    parent: int
    child: int


class TrackParameters(Parameters):
    """Chains of features through the family, and the features that the figures show.

    Inputs: codes/0.. (one per model, ancestors before descendants), contexts/0.. (same order),
    match/0.. (one per edge, in the order of `edges`), tokens/0.., tokenizer.
    Files: universal.parquet (for each model i: feature_i, r_i = correlation with the first model's
    feature; then weakest_r over the edges), figures.json:
      universal_example: null or {label, reason, features: [index per model], correlations:
        [[r]] model x model, contexts: [{corpus, tokens: [str], activations: [[per model]]}]}
      failing_example: null or {parent, child (model numbers), feature, closest, r, label, reason,
        contexts: [{corpus, tokens, parent: [..], child: [..]}]}
      labels: [{label, model, feature, precision, recall, f1, persists_in: [model numbers]}], the
        best feature of each model for each label.
    Results: universal (count), labels (as in figures.json).
    """

    edges: tuple[TrackEdge, ...]
    threshold: float
    min_firings: int
    context: int
    tokens: int


class ReportParameters(Parameters):
    """The only stage that knows the user's names, through the resolved spec (JSON).

    Inputs are named by role: model/{model}, evaluate/{model}, untrained/{model} (evaluation of the
    starting weights of a pre-trained model), sweep/{sweep}, corpus/{corpus}, tokens/{corpus},
    dictionary/{group}/{model}/{replicate}, quality/{group}/{model}/{replicate}
    (evaluate_dictionary), match/{tracking}/{parent}/{child}, null/{tracking}/{parent}/{child},
    ceiling/{tracking}/{model}, contexts/{tracking}/{model}, track/{tracking}. Of model/, corpus/,
    tokens/, dictionary/ and quality/ only the results are given, no files.
    `models` gives, per tracking, the model names in the order of its track stage; `edges` all
    parent -> child edges of the lineage; `corpora` the names in the order of every evaluation's
    inputs (when empty, the order of the spec).
    Files: report.html, results.json, csv/*.csv, png/*.png.
    """

    spec: dict[str, object]
    models: dict[str, tuple[str, ...]]
    edges: tuple[tuple[str, str], ...]
    corpora: tuple[str, ...] = ()
