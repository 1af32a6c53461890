"""The family of models: pre-trained, fine-tuned, merged, imported; and merge sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from shared.spec.base import (
    Between,
    Count,
    Distinct,
    Flag,
    HubId,
    Name,
    Number,
    OneOf,
    Part,
    Revision,
    Share,
    UploadName,
    Whole,
    mistake,
)
from shared.spec.corpora import MAX_VOCABULARY
from shared.spec.merges import DEFAULT, DIRECTED
from shared.spec.own_settings import check_owned, in_spec
from shared.spec.registry import prose

MAX_WIDTH = 1 << 20
MAX_CHECKPOINTS = 64  # of one run
Width = Annotated[Whole, Between(1, MAX_WIDTH)]
Corpora = Annotated[tuple[Name, ...], Distinct()]
Method = Annotated[str, OneOf(tuple(DIRECTED))]
DIRECTION = "does not say which parent is t = 0; name the parents by at_zero and at_one"


class Architecture(Part):
    """A Mistral-style decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU."""

    hidden: Width = Field(description="Width of the residual stream.")
    mlp: Width = Field(description="Width of the MLP, where mlp_post is hooked.")
    heads: Width = Field(description="Query heads; must divide hidden.")
    kv_heads: Width = Field(description="Key and value heads; must divide heads.")
    layers: Annotated[Whole, Between(1, 1000)] = Field(description="Number of layers.")
    context: Width = Field(2048, description="Longest sequence, in tokens.")
    rope_theta: Annotated[Number, Between(0, 1e12, above=True)] = Field(
        10_000.0, description="Base of the rotary position frequencies."
    )
    norm_eps: Annotated[Number, Between(0, 1, above=True)] = Field(
        1e-6, description="Added to the mean square in RMSNorm."
    )
    tied_embeddings: Flag = Field(
        False, description="Whether input and output embeddings are one tensor."
    )
    vocab_size: Annotated[Whole, Between(1, MAX_VOCABULARY)] | None = Field(
        None, description="Must equal the tokenizer's; checked when given."
    )

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.hidden % self.heads:
            raise mistake(f"must divide hidden ({self.hidden}), {self.heads} does not", "heads")
        if (self.hidden // self.heads) % 2:
            per_head = self.hidden // self.heads
            raise mistake(
                f"must leave an even width a head (hidden / heads), not {per_head}", "heads"
            )
        if self.heads % self.kv_heads:
            raise mistake(f"must divide heads ({self.heads}), {self.kv_heads} does not", "kv_heads")
        return self


class Training(Part):
    """What pre-training and fine-tuning share; the defaults that differ are set below."""

    corpora: Corpora = Field(description="Corpora it is trained on, in proportion to their size.")
    max_steps: Count | None = Field(None, description="Stop after so many steps.")
    batch: Annotated[Whole, Between(1, 1 << 20)] = Field(64, description="Blocks a step.")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="How the learning rate falls after the warm-up."
    )
    betas: tuple[Share, Share] = Field((0.9, 0.999), description="Betas of AdamW.")
    gradient_clip: Annotated[Number, Between(0, 1e6, above=True)] = Field(
        1.0, description="Largest norm of the gradient."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Autocast; auto is bfloat16 where the hardware is faster with it."
    )
    seed: Annotated[Whole, Between(0, 2**31 - 1)] | None = Field(
        None, description="Seed of weights and order of data; the experiment's by default."
    )
    checkpoints: tuple[Count, ...] = Field(
        (),
        max_length=MAX_CHECKPOINTS,
        description="Steps, ascending, after which the weights are kept as a model named "
        "{model}@{step}.",
    )

    @model_validator(mode="after")
    def _checkpoints_ascend(self) -> Self:
        if any(after <= before for before, after in pairwise(self.checkpoints)):
            raise mistake("must ascend, each step higher than the one before", "checkpoints")
        if (
            self.max_steps is not None
            and self.checkpoints
            and (self.checkpoints[-1] >= self.max_steps)
        ):
            raise mistake(
                f"must be below the last step ({self.max_steps}), {self.checkpoints[-1]} is not",
                "checkpoints",
            )
        return self


class Pretrain(Training):
    """A model trained from random weights; the defaults are the paper's."""

    architecture: Architecture = Field(description="Shape of the model.")
    epochs: Annotated[Number, Between(0, 10_000, above=True)] = Field(
        3.0, description="How often the corpora are read."
    )
    learning_rate: Annotated[Number, Between(0, 10, above=True)] = Field(
        6e-4, description="Highest learning rate."
    )
    warmup_steps: Annotated[Whole, Between(0, 10**9)] = Field(
        0, description="Steps over which the learning rate rises from 0."
    )
    weight_decay: Annotated[Number, Between(0, 10)] = Field(
        0.1, description="Decoupled weight decay of AdamW."
    )


class Finetune(Training):
    """A model trained on from its parent's weights; the defaults are the paper's."""

    parent: Name = Field(description="Model whose weights it starts from.")
    epochs: Annotated[Number, Between(0, 10_000, above=True)] = Field(
        1.0, description="How often the corpora are read."
    )
    learning_rate: Annotated[Number, Between(0, 10, above=True)] = Field(
        2e-5, description="Highest learning rate."
    )
    warmup_steps: Annotated[Whole, Between(0, 10**9)] = Field(
        500, description="Steps over which the learning rate rises from 0."
    )
    weight_decay: Annotated[Number, Between(0, 10)] = Field(
        0.01, description="Decoupled weight decay of AdamW."
    )


@in_spec(DIRECTED)
class Parents(Part):
    """Two models and the direction between them, with the settings of each method."""

    HINTS: ClassVar[Mapping[str, str]] = {"base_model": DIRECTION, "models": DIRECTION}

    method: Method = Field(
        DEFAULT, description=f"How the weights are combined ({prose(DIRECTED)})."
    )
    at_zero: Name = Field(description="The model that t = 0 gives back.")
    at_one: Name = Field(description="The model that t = 1 gives back.")

    @model_validator(mode="after")
    def _two_parents(self) -> Self:
        if self.at_zero == self.at_one:
            raise mistake(f"must be another model than at_zero, both are {self.at_one}", "at_one")
        check_owned(DIRECTED, self.method, self)
        return self


class Merge(Parents):
    """A model between two others, without training."""

    t: Share = Field(description="Where between at_zero (0) and at_one (1) the merge is.")


class Import(Part):
    """A causal language model from the hub or from an uploaded archive of its directory."""

    hub: HubId | None = Field(None, description="Model repository on the Hugging Face hub.")
    revision: Revision | None = Field(
        None, description="Commit, branch or tag of that repository; the newest commit by default."
    )
    upload: UploadName | None = Field(None, description="Name of an uploaded zip or tar archive.")
    corpora: tuple[Name, ...] = Field(
        (), description="Its own data distribution, for dictionaries; nothing is trained on it."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        self.exactly_one("hub", "upload")
        if self.revision is not None and self.hub is None:
            raise mistake("belongs to a model from the hub", "revision")
        if len(set(self.corpora)) < len(self.corpora):
            raise mistake("names a corpus twice", "corpora")
        return self


class Model(Part):
    """One model. Exactly one of pretrain, finetune, merge and import."""

    pretrain: Pretrain | None = Field(None, description="Train from random weights.")
    finetune: Finetune | None = Field(None, description="Train on from another model.")
    merge: Merge | None = Field(None, description="Combine two models.")
    import_: Import | None = Field(None, alias="import", description="Take a model that exists.")

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        return self.exactly_one("pretrain", "finetune", "merge", "import")

    @property
    def training(self) -> Pretrain | Finetune | None:
        """How it is trained, if it is."""
        return self.pretrain or self.finetune

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Steps of its training after which the weights are kept."""
        return self.training.checkpoints if self.training is not None else ()

    @property
    def parents(self) -> tuple[str, ...]:
        """Models it is made from: none, the parent, or at_zero and at_one."""
        if self.finetune is not None:
            return (self.finetune.parent,)
        if self.merge is not None:
            return (self.merge.at_zero, self.merge.at_one)
        return ()

    @property
    def corpora(self) -> tuple[str, ...]:
        """Corpora that it adds to the data distribution of its ancestors."""
        if self.import_ is not None:
            return self.import_.corpora
        return self.training.corpora if self.training is not None else ()


class Sweep(Parents):
    """Merges at evenly spaced t from 0 to 1, evaluated but not kept."""

    steps: Annotated[Whole, Between(2, 1001)] = Field(
        description="Number of values of t, 0 and 1 included."
    )
    evaluate_on: Corpora = Field(description="Corpora whose validation splits are evaluated.")
    reference: Name | None = Field(
        None, description="Model whose accuracy is drawn dashed beside the curves."
    )
