"""Parameters of the stages of the trainer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.spec.base import OneOf
from shared.spec.builtins import BUILTINS
from shared.stages.base import Parameters


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
    name: Annotated[str, OneOf(tuple(BUILTINS))]
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
