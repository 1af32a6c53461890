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
    learning_rate, gradient_norm, tokens), and for each of `checkpoints` (steps, ascending, each
    below the last step) a model directory step-{step:08d}/ with the weights after that step.
    Results: parameters, steps, tokens, loss, precision.
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
    checkpoints: tuple[int, ...] = ()


class CheckpointParameters(Parameters):
    """The model after one step of a training run.

    Inputs: train. Files: a Hugging Face model directory. Results: parameters, steps (= step).
    """

    step: int


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


class DictionaryParameters(Parameters):
    """A sparse auto-encoder on one model's activations.

    Inputs: model, tokens/0.., when the activations were stored harvest, and with init "parent"
    `start`, the dictionary whose weights it starts from.
    Files: cfg.json, sae_weights.safetensors (the layout of SAELens; the activation scale is folded
    in, decoder directions have unit norm), curve.jsonl.
    Results: features, width, scale, vectors, seconds_per_million, coefficient (the last one of the
    sparsity penalty; null for those with k).

    Sparsity, by variant: `relu`, `gated` and `jumprelu` take either `l1` (weight of the penalty;
    of the L0 penalty for jumprelu) or `l0`, a mean number of active features that the weight of
    the penalty is steered to; `topk`, `batchtopk` and `matryoshka` take `k`. What a variant does
    not read is None. `prefixes`: sizes of the nested dictionaries of matryoshka, ascending, the
    last one the whole.
    """

    hook: Hook = "mlp_post"
    layer: int
    variant: Literal["relu", "topk", "batchtopk", "jumprelu", "gated", "matryoshka"] = "relu"
    expansion: float | None = None
    features: int | None = None
    l1: float | None = None
    l0: float | None = None
    k: int | None = None
    prefixes: tuple[int, ...] | None = None
    # relu: "unit" (Bricken et al. 2023) or "penalised" (Anthropic's update of April 2024: the L1
    # of each feature is weighted by the norm of its decoder direction, which is free).
    decoder_norm: Literal["unit", "penalised"] = "unit"
    aux_coefficient: float = 1 / 32  # of the auxiliary loss on dead features (k variants)
    bandwidth: float | None = None  # jumprelu: width of the pseudo-derivative; None: the default
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
    aux_coefficient: float = 1 / 32
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


# ------------------------------------------------------------------------------ analyzer


class EncodeParameters(Parameters):
    """Feature activations of a model over a held-out token stream, from clean activations.

    Inputs: model, dictionary, tokens/0.. Files: codes.safetensors with `indptr` int64 [tokens + 1],
    `features` int32 [non-zeros] (ascending within a token), `values` float32 [non-zeros];
    documents.npy, int32 [tokens]: number of the document of each token (it ends with end-of-text
    and with its corpus), ascending through the stream.
    Results: tokens, features, l0, corpora (token count of each input, in order), documents (count).
    """

    hook: Hook = "mlp_post"
    layer: int
    tokens: int
    context: int


class MatchParameters(Parameters):
    """Features of a parent against features of a child, over the same token positions.

    Inputs: parent, child (encode); and, where both models read the same basis, parent_dictionary
    and child_dictionary (for cosines between decoder directions).
    Files:
      parent.parquet and child.parquet, one row per feature: feature, firings, best, best_r, mutual
        (bool: each is the other's best, and best_r >= threshold), match, match_r, cosine (of the
        decoder directions of feature and best; null without dictionaries), p, q (null without
        shifts), multiple_r and parts (list of features of the other model), status;
      candidates.npz: all pairs of live features with r >= floor as parent, child, r;
      bootstrap.npz: share, share_any, share_mutual, each float64 [resamples];
      null.npz: best_r_parent and firings_parent of every shift, float64 and int64 [shifts, live].
    `best` is the live feature of the other model with the highest positive r (-1: none, or the
    feature is rare itself), `match` the one-to-one partner at r >= threshold (-1: none); their r is
    null where they are -1. `multiple_r` is the correlation of a feature with the best non-negative
    combination of up to `parts` live features of the other model, listed in `parts` (null and empty
    where fewer than two take part); neither depends on the threshold.
    Status: persist (has a match); split (parent: no match, but multiple_r >= threshold over parts
    that have none either; child: such a part); merge (child: likewise, parts are parents; parent:
    such a part); disappear (parent), emerge (child); rare (fewer than min_firings firings, dead
    ones included; the others are "alive"). persist goes before split before merge.
    p: share of the null's best r of features with about as many firings that are as high (plus one
    over plus one); q: Benjamini-Hochberg over the parent's (the child's) live features.
    Results: alive_parent, alive_child, persist, disappear, emerge, split, merge, split_child,
    merge_child (numbers of features with that status), persist_any, persist_any_child,
    persist_mutual, share, share_any, share_mutual (of alive_parent), significant (live parents with
    q <= 0.05, null without shifts), tokens, documents, best_r_parent and best_r_child ({edges,
    counts} over the live features' best r), interval, interval_any, interval_mutual ([low, high] of
    95 %, percentiles of the bootstrap over documents; null without resamples), null ({share,
    share_any, share_mutual: mean over the shifts; shifts: [tokens]}, or null), curve: [{threshold,
    share, share_any, share_mutual, null, null_any, null_mutual}] at 0.5, 0.55 .. 0.95, cosine
    ({mean: of matched pairs, mutual: share of live parents whose match is also the pair with the
    mutually highest cosine} or null). A share of none is null.
    `shifts` is the number of circular shifts of the null control: within each corpus the child's
    documents are rolled by about k / (shifts + 1) of the tokens, k = 1.., cut where documents end.
    Replicate b of the bootstrap draws the same documents in every stage over the same stream.
    """

    threshold: float
    min_firings: int
    floor: float = 0.2
    shifts: int = 0
    resamples: int = 0
    parts: int = 4


class LatentScalingParameters(Parameters):
    """Is a feature that one model's dictionary lacks in that model's activations all the same?

    Inputs: parent, child (models), parent_dictionary, child_dictionary, parent_codes, child_codes,
    match, tokens/0.. Files: parent.parquet and child.parquet, one row per feature: feature, own and
    other (the least-squares factor beta of f d in the activations of its own and of the other
    model, activations at their common scale), ratio (other / own), readable (R^2 of f from the
    other model's activations by ridge regression, chosen on even documents and measured on odd
    ones), and false_change (bool: the feature disappears or emerges by the match, but ratio >= 0.5
    or readable >= 0.5); null where a feature is rare.
    Results: disappear, false_disappear, emerge, false_emerge (counts), same_basis (bool: ratios
    mean something, otherwise they are null).
    """

    hook: Hook = "mlp_post"
    layer: int
    tokens: int
    context: int
    same_basis: bool = True


class ContextsParameters(Parameters):
    """Where each feature fires, and what it does.

    Inputs: codes (encode), tokens/0.., tokenizer, model, dictionary. Files:
      contexts.parquet: feature, kind "top" or "sample", rank (from 0), bin (0..9, of activation,
        the maximum is in 9), corpus (input number), position and start (token of the stream),
        tokens (list of str), activations (list of float).
      features.parquet: feature, density, mean (over firings), max, corpus_0.. (share of its firings
        by input), positions (list: share of its firings in each eighth of the context), histogram
        (list: firings in ten equal bins of activation), and label, precision, recall, f1 of the
        label that it tells best (or null).
      labels.parquet: feature, label, precision, recall, f1, threshold, support; rows with F1 >= .3.
      logits.parquet: feature, kind "raised" or "lowered", rank, token (str), id, effect: the direct
        effect of the decoder direction on the logits (through what follows the hook point in its
        layer, the last norm's weight and the unembedding; minus the mean over the vocabulary).
    Results: labels, {label: the best feature's {feature, precision, recall, f1, threshold, support}
    or null}. Thresholds and best features are chosen on the even contexts of the stream, figures
    measured on the odd ones; positions without the label count as negative in every corpus.
    """

    hook: Hook = "mlp_post"
    layer: int
    tokens: int
    context: int
    top: int = 8
    samples: int = 10
    window: int = 24
    logits: int = 8


class TrackEdge(Parameters):
    """One parent -> child edge, by the numbers of the models."""

    parent: int
    child: int


class TrackParameters(Parameters):
    """Chains of features through the family, and the features that the figures show.

    Inputs: codes/0.. (one per model, ancestors before descendants), contexts/0.. (same order),
    match/0.. (one per edge, in the order of `edges`), ancestor/0.. (one per pair of `ancestors`:
    an ancestor and a descendant that is not its child), tokens/0.., tokenizer.
    Files: universal.parquet (for each model i: feature_i, r_i = correlation with the first model's
    feature; then weakest_r over the edges), chains.parquet (one row per feature of every model:
    model, feature, fate: list of str), figures.json:
      universal_example: null or {label, reason, features: [index per model], correlations:
        [[r]] model x model, contexts: [{corpus, tokens: [str], activations: [[per model]]}]}
      failing_example: null or {parent, child (model numbers), feature, closest, r, label, reason,
        contexts: [{corpus, tokens, parent: [..], child: [..]}]}
      labels: [{label, model, feature, precision, recall, f1, persists_in: [model numbers]}], the
        best feature of each model for each label.
    Fates, of a model's feature: "universal"; "inherited/{parent}" (in a model of two parents: has a
    match in that parent only); "inherited/both"; "new" (a model with parents, a match in none);
    "lost/{descendant}" (of an ancestor: no path of matches leads there, nor a direct match);
    "regained/{descendant}" (no path of matches leads there, but the direct match with the
    descendant does).
    Results: universal (count), labels (as in figures.json), merges: [{child, parents: [2], both,
    only: [2], new, alive}], regained: [{ancestor, descendant, persist_direct, persist_path,
    regained, lost}], one per pair of `ancestors`; along: [{model, alive, new, from_first (features
    with an unbroken chain of matches from the root)}].
    """

    edges: tuple[TrackEdge, ...]
    ancestors: tuple[TrackEdge, ...] = ()
    threshold: float
    min_firings: int
    context: int
    tokens: int


class LanguageModel(Parameters):
    """Whom the prompts of an explanation go to, by what a key may know of it.

    `endpoint` is the sha256 (hex) of the address and the model's name, which are settings of the
    servers; `label` is what their operator calls it, and all that a report says of it. `prompts` is
    the sha256 over the prompt files of this project. `requests` and `tokens` (prompt and completion
    together) are what one stage may spend; None: no limit.
    """

    endpoint: str
    label: str
    prompts: str
    requests: int | None
    tokens: int | None


class ExplainParameters(Parameters):
    """Names for the features of one model, and how well the names predict the activations.

    Inputs: codes (encode), track, match/0.. (from this model to each of its children), tokens/0..,
    tokenizer. Files:
      explanations.parquet, one row per chosen feature: feature, status, density, explanation (str;
        null after a failure), score (Pearson over the tokens of the held-out windows, null where it
        is undefined), detection and fuzzing (balanced accuracies, null where not measured), failure
        (str: why there is no explanation or no score; else null), rule (JSON of the rule; null of a
        language model);
      simulations.parquet, one row per feature and held-out window: feature, window (number within
        the feature), start (token of the stream), corpus (input number), active (bool: chosen
        because the feature fires there, else drawn from the whole stream), activations and
        predicted (lists of float32 in units of activation; predicted is null where there is no
        simulation).
    `method` "rule" needs no language model and chooses by rules over tokens, what stands before
    them, their position and corpus (see services/analyzer/explain); "language_model" asks one.
    `model` is the number of the model in the order of the track stage. `features` is how many are
    chosen of each status, by seed and spread over the densities of that status; None: every live
    feature. Status of a feature: "universal"; else "disappearing" (without a match in a child, or
    with a fate lost/..); else "emerging" (new); else "persisting". The same features, windows and
    seed for both methods.
    Even contexts of the stream give examples, odd ones the held-out windows: `active_windows`
    where the feature fires, spread over ten equal bins of its activation, and `random_windows`
    drawn without looking, so that tokens on which it is silent count too. Windows have `window`
    tokens. Activations are shown in levels: 0 is silent, 1..9 are nine equal parts of (0, maximum
    of the even contexts], the maximum in 9. A simulated level counts as level x maximum / 9.
    Results: method, features (chosen), explained, failed (features with a failure; one whose
    detection broke may have a score all the same), statuses {status: {features, explained, score
    (mean), interval ([low, high] of 95 %, bootstrap over features; null for fewer than two)}},
    score, interval, detection, fuzzing (means over those measured, null of none), label (of the
    language model, or null), requests, tokens (spent in all attempts; 0 for rules), covered (share
    of the chosen features that were tried before the budget ended), failures {reason: count}.
    """

    method: Literal["rule", "language_model"]
    model: int
    features: int | None
    min_firings: int
    context: int
    tokens: int
    window: int = 32
    examples: int = 12
    active_windows: int = 10
    random_windows: int = 10
    seed: int
    language_model: LanguageModel | None = None


class ExplainEdgeParameters(Parameters):
    """Does a parent's explanation predict the child's feature?

    Inputs: explain (of the parent), parent and child (codes), match. Files: cross.parquet, one row
    per explained live feature of the parent: feature, status (of the match), partner (the child's
    feature: the match of one that persists, else the closest, `best`; -1: none), partner_r, score
    (of the explanation on the parent's feature) and cross (Pearson of the same simulation with the
    partner's activations on the same windows; null where undefined).
    Results: method, persist and disappear (all without a match), each {features, score, cross
    (means over features that have both), interval ([low, high] of 95 % of the mean cross,
    bootstrap over features), difference (mean of score - cross), difference_interval}; null of
    none.
    """

    method: Literal["rule", "language_model"]
    seed: int


class ReportParameters(Parameters):
    """The only stage that knows the user's names, through the resolved spec (JSON).

    Inputs are named by role: model/{model}, evaluate/{model}, untrained/{model} (evaluation of the
    starting weights of a pre-trained model), sweep/{sweep}, corpus/{corpus}, tokens/{corpus},
    dictionary/{group}/{model}/{replicate}, quality/{group}/{model}/{replicate}
    (evaluate_dictionary), match/{tracking}/{parent}/{child}, ancestor/{tracking}/{ancestor}/{model}
    (match with a descendant that is not a child), crossed/{tracking}/{parent}/{child} (parent's
    first seed against the child's second), ceiling/{tracking}/{model} (two seeds of one model),
    warm/{tracking}/{model} and unrelated/{tracking}/{model} (controls of init "parent": the model's
    dictionary against one started from it on the same model with another order of data, and on an
    untrained model), scaling/{tracking}/{parent}/{child} (latent scaling),
    contexts/{tracking}/{model}, track/{tracking}, explain/{tracking}/{method}/{model} and
    explained_edge/{tracking}/{method}/{parent}/{child} (method rule or language_model),
    crosscoder/{group}/{parent}/{child}, stability/{name}/{cell}/quality/{replicate} and
    stability/{name}/{cell}/ceiling (match of two seeds), where `cells[name][cell]` are the cell's
    {features, sparsity, k | l0 | l1}.
    Of model/, corpus/, tokens/, dictionary/, quality/, crosscoder/ and stability/ only the results
    are given, no files.
    `models` gives, per tracking, the model names in the order of its track stage; `edges` all
    parent -> child edges of the lineage (checkpoints of a training run are models named
    {model}@{step}, each the parent of the next); `corpora` the names in the order of every
    evaluation's inputs (when empty, the order of the spec).
    Files: report.html, results.json, csv/*.csv, png/*.png.
    """

    spec: dict[str, object]
    models: dict[str, tuple[str, ...]]
    edges: tuple[tuple[str, str], ...]
    corpora: tuple[str, ...] = ()
    cells: dict[str, tuple[dict[str, float], ...]] = {}
