"""Where text and tokens come from: corpora and the tokenizer."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from shared.spec.base import (
    Between,
    Count,
    Distinct,
    HubId,
    Label,
    Name,
    Number,
    OneOf,
    Part,
    Revision,
    UploadName,
    Whole,
    mistake,
)
from shared.spec.builtins import BUILTINS
from shared.spec.registry import prose

BYTE_LEVEL_VOCABULARY = 257  # 256 bytes and end-of-text
MAX_VOCABULARY = 2_000_000
Builtin = Annotated[str, OneOf(tuple(BUILTINS))]
GENERATED_TOKENS = 1_000_000  # of a text that a generator could write without end
BYTES_PER_TOKEN = 6  # bytes of text kept for each token asked for; tokenizers need 3 to 5


class Corpus(Part):
    """Text of one kind. Exactly one of hub, upload and builtin says where it comes from."""

    hub: HubId | None = Field(None, description="Data set on the Hugging Face hub.")
    revision: Revision | None = Field(
        None, description="Commit, branch or tag of the data set; the newest commit by default."
    )
    config: Label | None = Field(None, description="Configuration (subset) of the data set.")
    split: Label = Field("train", description="Split of the data set that is read.")
    text_column: Label = Field(
        "text", description="Column (Parquet, hub) or key (JSONL) that holds the text."
    )
    upload: UploadName | None = Field(None, description="Name of a file uploaded before.")
    builtin: Builtin | None = Field(
        None, description=f"Text that comes with Lineament ({prose(BUILTINS)})."
    )
    fraction: Annotated[Number, Between(0, 1, above=True)] = Field(
        1.0, description="Seeded share of the documents that is used."
    )
    max_tokens: Count | None = Field(
        None,
        description="At most so many training tokens, and held-out ones in proportion; for "
        "generated text 1,000,000 by default.",
    )
    validation: Annotated[Number, Between(0, 0.5, above=True)] = Field(
        0.05, description="Share of the documents held out for evaluation."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        self.exactly_one("hub", "upload", "builtin")
        if self.hub is None:
            for field in ("revision", "config"):
                if getattr(self, field) is not None:
                    raise mistake("belongs to a corpus from the hub", field)
            if self.split != "train":
                raise mistake("belongs to a corpus from the hub", "split")
        if self.builtin is not None and self.text_column != "text":
            raise mistake("does not belong to a built-in corpus", "text_column")
        return self

    @property
    def token_limit(self) -> int | None:
        """At most so many training tokens; None for all there are."""
        generated = self.builtin is not None and BUILTINS[self.builtin].generated
        return self.max_tokens or (GENERATED_TOKENS if generated else None)

    @property
    def byte_limit(self) -> int | None:
        """At most so many bytes of training text; None for all there are."""
        return None if self.token_limit is None else self.token_limit * BYTES_PER_TOKEN


class TokenizerTraining(Part):
    """A byte-level BPE trained here."""

    vocab_size: Annotated[Whole, Between(BYTE_LEVEL_VOCABULARY, MAX_VOCABULARY)] = Field(
        description="Number of tokens, end-of-text included."
    )
    corpora: Annotated[tuple[Name, ...], Distinct()] = Field(
        description="Corpora whose training splits it is trained on."
    )
    max_bytes: Annotated[Whole, Between(1, 10**10)] = Field(
        20_000_000, description="At most so many bytes of text are used to train it."
    )


class Tokenizer(Part):
    """The tokenizer of all models. Exactly one of pretrained, upload and train."""

    pretrained: HubId | None = Field(None, description="Hub repository with a tokenizer.json.")
    revision: Revision | None = Field(
        None, description="Commit, branch or tag of that repository; the newest commit by default."
    )
    upload: UploadName | None = Field(None, description="Name of an uploaded tokenizer.json.")
    train: TokenizerTraining | None = Field(None, description="Train one on corpora of this spec.")
    vocab_size: Annotated[Whole, Between(1, MAX_VOCABULARY)] | None = Field(
        None, description="Number of tokens it must have; checked when given."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        self.exactly_one("pretrained", "upload", "train")
        if self.revision is not None and self.pretrained is None:
            raise mistake("belongs to a tokenizer from the hub", "revision")
        return self
