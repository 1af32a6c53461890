"""What is said about models and their dictionaries: how they were made, and how good they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from shared.lineage.pair import Results, Source
from shared.lineage.roles import Role

KINDS = ("pretrain", "finetune", "merge", "import")
MERGED_BY = ("method", "at_zero", "at_one", "t")  # fields of a merge
Pairs = Sequence[tuple[str, str]]


class Evaluation(BaseModel):
    """Loss in nats and accuracy of the next token over `tokens` held-out tokens of one corpus."""

    model_config = ConfigDict(frozen=True)

    loss: float
    accuracy: float
    tokens: int | None = None


class Model(BaseModel):
    """How a model was made."""

    model_config = ConfigDict(frozen=True)

    parents: list[str]
    parameters: int | None = Field(description="Number of weights.")
    trained_on: list[str]
    merge: dict[str, Any] | None


class Dictionary(BaseModel):
    """A dictionary of a model. What is not finished yet is null."""

    model_config = ConfigDict(frozen=True)

    group: str
    replicate: int = Field(description="Which of the group's seeds, from 0.")
    seed: int | None = Field(description="Null for a dictionary that was imported.")
    features: int | None
    l0: float | None = Field(description="Features above zero on a token, on average.")
    explained_variance: float | None
    loss_recovered: float | None
    loss_recovered_mean: float | None
    dead_share: float | None


def kind_of(model: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Which of KINDS a model of the spec is, and its fields."""
    for kind in KINDS:
        fields = model.get(kind)
        if fields is not None:
            return kind, fields
    raise ValueError(f"a model is one of {', '.join(KINDS)}, not {', '.join(model)}")


def model_of(name: str, spec: Mapping[str, Any], edges: Pairs, source: Source) -> Model:
    """A member of the family, as far as it is finished; `spec` is its entry in the user's spec."""
    kind, fields = kind_of(spec)
    return Model(
        parents=[parent for parent, child in edges if child == name],
        parameters=source.results(Role.model(name)).get("parameters"),
        trained_on=list(fields.get("corpora") or ()),
        merge={key: fields.get(key) for key in MERGED_BY} if kind == "merge" else None,
    )


def by_corpus(measured: Sequence[Results], corpora: Sequence[str]) -> dict[str, Evaluation]:
    """Measurements in the order of `corpora`, by name."""
    return {
        name: Evaluation.model_validate(values)
        for name, values in zip(corpora, measured, strict=True)
    }


def dictionaries_of(
    model: str, groups: Mapping[str, Any], source: Source
) -> Iterator[tuple[Role, Dictionary]]:
    """The dictionaries of a model with their roles, group by group, replicates in order.

    `groups` is the spec's section of dictionaries.
    """
    for group, fields in groups.items():
        imported = fields.get("import") is not None
        for replicate, seed in enumerate(fields["seeds"]):
            role = Role.dictionary(group, model, replicate)
            if role in source.roles:
                quality = source.results(Role.quality(group, model, replicate))
                names = Dictionary.model_fields.keys() - {"group", "replicate", "seed", "features"}
                yield (
                    role,
                    Dictionary(
                        group=group,
                        replicate=replicate,
                        seed=None if imported else seed,
                        features=source.results(role).get("features"),
                        **{name: quality.get(name) for name in names},
                    ),
                )
