"""Stages of the trainer: parameters and contracts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.spec.base import OneOf
from shared.spec.builtins import BUILTINS
from shared.stages.base import MODEL_FILES, File, Kind, Parameters
from shared.stages.fields import MaxTokens

SERVICE = "trainer"

MODEL_RESULTS = {
    "parameters": "number of weights, tied ones counted once",
    "vocab_size": "rows of the embedding",
    "model_type": "name of the architecture, as transformers calls it",
    "hidden": "width of the residual stream, or null where the architecture has no such size",
    "mlp": "width of the MLP, or null",
    "heads": "query heads of a layer, or null",
    "kv_heads": "key and value heads of a layer, or null",
    "layers": "number of layers, or null",
    "context": "most positions of a sequence, or null",
    "tied_embeddings": "bool: the unembedding is the embedding",
}


class HubSource(Parameters):
    """Rows of a Hugging Face data set, at one commit."""

    source: Literal["hub"] = "hub"
    name: str = Field(description="Repository of the data set.")
    revision: str = Field(description="Commit.")
    config: str | None = Field(None, description="Configuration (subset) of the data set.")
    split: str = Field("train", description="Split that is read.")
    text_column: str = Field("text", description="Column that holds the text.")


class UploadSource(Parameters):
    """A file that a user uploaded, by its content."""

    source: Literal["upload"] = "upload"
    digest: str = Field(description="sha256 of the file, hexadecimal.")
    format: Literal["jsonl", "parquet", "text", "zip", "tar"] = Field(
        description="Format of the file."
    )
    text_column: str = Field("text", description="Column or key that holds the text.")


class BuiltinSource(Parameters):
    """A corpus that comes with the project (or, for python-stdlib, with the interpreter)."""

    source: Literal["builtin"] = "builtin"
    name: Annotated[str, OneOf(tuple(BUILTINS))] = Field(description="Which one.")
    digest: str = Field(
        description="Digest of the text; of generated text, of its first documents."
    )


class CorpusParameters(Parameters):
    """Where the text of a corpus comes from, and how much of it is used."""

    source: Annotated[
        HubSource | UploadSource | BuiltinSource,
        Field(discriminator="source", description="Where the text comes from."),
    ]
    fraction: float = Field(1.0, description="Seeded share of the documents that is used.")
    max_bytes: int | None = Field(
        None,
        description="At most so many bytes of training text, and of validation text in proportion; "
        "None: no limit.",
    )
    validation: float = Field(0.05, description="Share of the documents that is held out.")
    seed: Annotated[int, Field(description="Seed of the share and of the order of the rows.")] = (
        1337
    )


TEXT_COLUMNS = {
    "text": "string: the document",
    "spans": "list of {start, end, label}: labelled spans, in character offsets into text",
}
TEXT_COUNTS = "{documents, bytes}: how many documents the split has, and bytes of UTF-8"

CORPUS = Kind(
    name="corpus",
    service=SERVICE,
    version=1,
    does="Splits the text of one corpus by content hash into train and validation.",
    parameters=CorpusParameters,
    files={
        "train.parquet": File(
            "documents of the training split, in seeded order, without exact duplicates",
            TEXT_COLUMNS,
        ),
        "validation.parquet": File(
            "documents held out, in seeded order, without exact duplicates", TEXT_COLUMNS
        ),
    },
    results={
        "train": TEXT_COUNTS,
        "validation": TEXT_COUNTS,
        "labels": "{label: number of spans in both splits}",
        "skipped": "{reason: number of documents that were left out}",
    },
)


class TrainedTokenizer(Parameters):
    """A byte-level BPE trained on the training split of the input corpora."""

    how: Literal["train"] = "train"
    vocab_size: int = Field(description="Number of tokens, end-of-text included.")
    max_bytes: int = Field(
        20_000_000, description="At most so many bytes of text are used to train it."
    )


class PretrainedTokenizer(Parameters):
    """The tokenizer of a hub repository, at one commit."""

    how: Literal["pretrained"] = "pretrained"
    name: str = Field(description="Repository with a tokenizer.json.")
    revision: str = Field(description="Commit.")


class UploadedTokenizer(Parameters):
    """An uploaded tokenizer.json, by content."""

    how: Literal["upload"] = "upload"
    digest: str = Field(description="sha256 of the file, hexadecimal.")


class TokenizerParameters(Parameters):
    """Where the tokenizer comes from."""

    tokenizer: Annotated[
        TrainedTokenizer | PretrainedTokenizer | UploadedTokenizer,
        Field(discriminator="how", description="How the tokenizer is made or found."),
    ]


TOKENIZER = Kind(
    name="tokenizer",
    service=SERVICE,
    version=1,
    does="Trains a tokenizer, or fetches one from the hub or from an upload.",
    parameters=TokenizerParameters,
    inputs={"corpus/*?": "corpora whose training splits it is trained on (only for `train`)"},
    files={
        "tokenizer.json": File("the tokenizer, in the format of Hugging Face tokenizers"),
        "tokenizer_config.json": File("generic class and names of the special tokens"),
    },
    results={
        "vocab_size": "rows that an embedding needs: the highest token id plus one",
        "end_of_text": "id of the end-of-text token",
    },
)


class TokensParameters(Parameters):
    """How a corpus is packed into blocks."""

    block: int = Field(description="Tokens of a block.")
    max_tokens: int | None = Field(None, description="At most so many training tokens; None: all.")


TOKENS = Kind(
    name="tokens",
    service=SERVICE,
    version=1,
    does=(
        "Tokenises a corpus and packs it: documents are concatenated, each followed by "
        "end-of-text, and cut into blocks; a rest shorter than a block is dropped."
    ),
    parameters=TokensParameters,
    inputs={"corpus": "the corpus", "tokenizer": "the tokenizer"},
    files={
        "train.npy": File(
            "training tokens [blocks, block], uint16 (vocabulary <= 65 536) or uint32, readable "
            "with numpy.load(mmap_mode='r')"
        ),
        "validation.npy": File("held-out tokens, in the same form"),
        "validation-labels.npy": File(
            "uint32 [blocks, block]: bit i is set where the token overlaps a span with label i"
        ),
    },
    results={
        "train_tokens": "tokens of train.npy",
        "validation_tokens": "tokens of validation.npy",
        "vocab_size": "that of the tokenizer",
        "end_of_text": "id of the end-of-text token",
        "labels": "names of the labels, in the order of their bits",
        "bytes_per_token": "bytes of UTF-8 a token, over the training text",
    },
)


class Architecture(Parameters):
    """A Mistral-style decoder (RMSNorm, rotary positions, grouped-query attention, SwiGLU)."""

    hidden: int = Field(description="Width of the residual stream.")
    mlp: int = Field(description="Width of the MLP.")
    heads: int = Field(description="Query heads of a layer.")
    kv_heads: int = Field(description="Key and value heads of a layer.")
    layers: int = Field(description="Number of layers.")
    context: int = Field(description="Most positions of a sequence.")
    rope_theta: float = Field(10_000.0, description="Base of the rotary positions' wavelengths.")
    norm_eps: float = Field(1e-6, description="Added to the mean square in RMSNorm.")
    tied_embeddings: bool = Field(False, description="Whether the unembedding is the embedding.")


class InitialiseParameters(Parameters):
    """Architecture and seed of a new model."""

    architecture: Architecture = Field(description="Sizes of the model.")
    seed: Annotated[int, Field(description="Seed of the weights.")]


INITIALISE = Kind(
    name="initialise",
    service=SERVICE,
    version=1,
    does="Draws the random weights of a new language model.",
    parameters=InitialiseParameters,
    inputs={"tokenizer": "tokenizer of the model"},
    files=MODEL_FILES,
    results=MODEL_RESULTS,
)


class ImportParameters(Parameters):
    """Where an existing model comes from: a hub repository at one commit, or an upload."""

    hub: str | None = Field(None, description="Repository of the model, or None.")
    revision: str | None = Field(None, description="Commit of that repository.")
    upload: str | None = Field(
        None, description="sha256 (hexadecimal) of an uploaded archive of its directory, or None."
    )
    format: Literal["zip", "tar"] | None = Field(None, description="Format of the upload.")


IMPORT = Kind(
    name="import",
    service=SERVICE,
    version=1,
    does="Brings in a causal language model from the hub or from an uploaded archive.",
    parameters=ImportParameters,
    inputs={"tokenizer": "tokenizer of the experiment; the imported vocabulary must equal it"},
    files=MODEL_FILES,
    results=MODEL_RESULTS,
)


class TrainParameters(Parameters):
    """How a model is trained; pre-training and fine-tuning differ only in where they start."""

    epochs: float = Field(description="Passes over the training tokens.")
    max_steps: int | None = Field(None, description="At most so many steps; None: no limit.")
    batch: int = Field(description="Blocks of a step.")
    block: int = Field(description="Tokens of a block.")
    learning_rate: float = Field(description="Highest learning rate of AdamW.")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        description="How the learning rate falls to 0 after the warm-up, or that it stays."
    )
    warmup_steps: int = Field(description="Steps over which the learning rate rises from 0.")
    weight_decay: float = Field(description="Decoupled weight decay of the matrices.")
    betas: tuple[float, float] = Field((0.9, 0.999), description="Betas of AdamW.")
    gradient_clip: float = Field(
        1.0, description="Largest L2 norm of all gradients together; 0: no limit."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Number format of the forward and backward pass; auto: by device."
    )
    seed: Annotated[int, Field(description="Seed of the order of the blocks.")]
    checkpoints: tuple[int, ...] = Field(
        (),
        description="Steps, ascending and below the last one, after which the model is kept.",
    )


TRAIN = Kind(
    name="train",
    service=SERVICE,
    version=1,
    does="Trains a language model: pre-training and fine-tuning alike, from the model it is given.",
    parameters=TrainParameters,
    inputs={
        "model": "model whose weights training starts from",
        "tokens/*": "packed tokens of each corpus, in order",
    },
    files={
        **MODEL_FILES,
        "curve.jsonl": File(
            "training curve, at most about 500 rows",
            {
                "step": "last step of the row",
                "loss": "mean training loss in nats of the steps since the row before",
                "learning_rate": "learning rate of the step",
                "gradient_norm": "L2 norm of all gradients before clipping, of the step",
                "tokens": "tokens read so far",
            },
        ),
        "step-{step}/?": File(
            "model directory with the weights after that step, for each of `checkpoints`; the "
            "step has eight digits"
        ),
    },
    results={
        "parameters": "number of weights",
        "steps": "number of steps",
        "tokens": "tokens read",
        "loss": "mean training loss in nats of the last row of the curve",
        "precision": "number format that was used: float32 or bfloat16",
    },
)


class CheckpointParameters(Parameters):
    """Which model of a training run is wanted."""

    step: int = Field(description="One of the run's `checkpoints`.")


CHECKPOINT = Kind(
    name="checkpoint",
    service=SERVICE,
    version=1,
    does="Takes the model after one step out of a training run.",
    parameters=CheckpointParameters,
    inputs={"train": "the training run"},
    files=MODEL_FILES,
    results={"parameters": "number of weights", "steps": "the step"},
)


class EvaluateParameters(Parameters):
    """How much held-out text a model is evaluated on."""

    max_tokens: MaxTokens = None


EVALUATION = (
    "{loss: mean next-token cross-entropy in nats (tokens 1.. of each block given those before "
    "them), accuracy: share of these tokens where the most likely token is the right one, tokens: "
    "how many these are}"
)

EVALUATE = Kind(
    name="evaluate",
    service=SERVICE,
    version=1,
    does="Measures loss and accuracy of a model on the validation split of every corpus.",
    parameters=EvaluateParameters,
    inputs={"model": "the model", "tokens/*": "packed tokens of each corpus, in order"},
    results={
        "corpora": f"one for each corpus, in the order of the inputs: {EVALUATION}",
        "parameters": "number of weights",
    },
)
