"""The models of an experiment over REST: what they are, how good, and where their files lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.backend import BackendDependency
from api.http.parameters import ModelName, Number
from api.lineage.names import Lineage, kind_of, open_lineage
from shared.lineage.roles import Role
from shared.records.artifacts import Manifest

router = APIRouter(prefix="/v1/experiments", tags=["results"])


class Evaluation(BaseModel):
    """Loss in nats and accuracy of the next token over `tokens` held-out tokens of one corpus."""

    loss: float
    accuracy: float
    tokens: int | None = None


class DictionaryView(BaseModel):
    """A dictionary of a model. What is not finished yet is null."""

    group: str
    replicate: int = Field(description="Which of the group's seeds, from 0.")
    seed: int | None = Field(description="Null for a dictionary that was imported.")
    key: str
    files: str | None = Field(description="Where its artifact is, once it exists.")
    features: int | None
    l0: float | None = Field(description="Features above zero on a token, on average.")
    explained_variance: float | None
    loss_recovered: float | None
    loss_recovered_mean: float | None
    dead_share: float | None


class ModelView(BaseModel):
    """A model of the experiment. What is not finished yet is null."""

    name: str
    kind: str
    step: int | None = Field(
        description="The training step after which the weights were kept; null for a whole model."
    )
    parents: list[str]
    finished: bool
    key: str
    files: str | None = Field(description="Where its artifact is, once it exists.")
    parameters: int | None = Field(description="Number of weights.")
    trained_on: list[str]
    merge: dict[str, Any] | None
    evaluation: dict[str, Evaluation] | None = Field(description="By corpus.")
    untrained: dict[str, Evaluation] | None = Field(
        description="The same of the weights that a pre-trained model started from."
    )
    dictionaries: list[DictionaryView]


@router.get("/{number}/models")
def models(number: Number, backend: BackendDependency) -> list[ModelView]:
    """Every model of the experiment, as far as it is finished.

    They come in the order of the spec, the checkpoints of a training run before its model.
    """
    lineage = open_lineage(backend, number)
    return [_view(lineage, name) for name in lineage.models]


@router.get("/{number}/models/{model}")
def model(number: Number, model: ModelName, backend: BackendDependency) -> ModelView:
    """One model, as far as it is finished."""
    lineage = open_lineage(backend, number)
    return _view(lineage, model)


def artifact_url(manifest: Manifest | None) -> str | None:
    """Where an artifact can be had; None while there is none."""
    return None if manifest is None else f"/v1/artifacts/{manifest.key}"


def evaluation(manifest: Manifest | None, corpora: Sequence[str]) -> dict[str, Evaluation] | None:
    """Loss and accuracy by corpus, from a stage that measured them in the order of `corpora`."""
    if manifest is None:
        return None
    return by_corpus(manifest.results["corpora"], corpora)


def by_corpus(
    measured: Sequence[Mapping[str, Any]], corpora: Sequence[str]
) -> dict[str, Evaluation]:
    """Measurements in the order of `corpora`, by name."""
    return {
        name: Evaluation.model_validate(values)
        for name, values in zip(corpora, measured, strict=True)
    }


def _view(lineage: Lineage, name: str) -> ModelView:
    model, step = lineage.model(name)
    kind, fields = kind_of(lineage.section("models")[model])
    made = lineage.finished(Role.model(name))
    return ModelView(
        name=name,
        kind=kind,
        step=step,
        parents=[parent for parent, child in lineage.parameters.edges if child == name],
        finished=made is not None,
        key=lineage.roles[Role.model(name)],
        files=artifact_url(made),
        parameters=made.results.get("parameters") if made else None,
        trained_on=list(fields.get("corpora") or ()),
        merge={key: fields.get(key) for key in ("method", "at_zero", "at_one", "t")}
        if kind == "merge"
        else None,
        evaluation=evaluation(lineage.finished(Role.evaluate(name)), lineage.corpora),
        untrained=evaluation(lineage.finished(Role.untrained(name)), lineage.corpora),
        dictionaries=_dictionaries(lineage, name),
    )


def _dictionaries(lineage: Lineage, model: str) -> list[DictionaryView]:
    """The dictionaries of a model, group by group, replicates in order."""
    found = []
    for group, fields in lineage.section("dictionaries").items():
        imported = fields.get("import") is not None
        for replicate, seed in enumerate(fields.get("seeds") or (0,)):
            if Role.dictionary(group, model, replicate) in lineage.roles:
                number = None if imported else seed
                found.append(_dictionary(lineage, group, model, replicate, number))
    return found


def _dictionary(
    lineage: Lineage, group: str, model: str, replicate: int, seed: int | None
) -> DictionaryView:
    role = Role.dictionary(group, model, replicate)
    made = lineage.finished(role)
    measured = lineage.finished(Role.quality(group, model, replicate))
    quality = measured.results if measured else {}
    names = ("l0", "explained_variance", "loss_recovered", "loss_recovered_mean", "dead_share")
    return DictionaryView(
        group=group,
        replicate=replicate,
        seed=seed,
        key=lineage.roles[role],
        files=artifact_url(made),
        features=made.results.get("features") if made else None,
        **{name: quality.get(name) for name in names},
    )
