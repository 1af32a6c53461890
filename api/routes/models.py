"""The models of an experiment over REST: what they are, how good, and where their files lie."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from api.backend import BackendDependency
from api.http.parameters import ModelName, Number
from api.lineage.names import Lineage, open_lineage
from shared.lineage.models import (
    Dictionary,
    Evaluation,
    Model,
    by_corpus,
    dictionaries_of,
    kind_of,
    model_of,
)
from shared.lineage.roles import Role
from shared.records.artifacts import Manifest

router = APIRouter(prefix="/v1/experiments", tags=["results"])


class DictionaryView(Dictionary):
    """A dictionary of a model. What is not finished yet is null."""

    key: str
    files: str | None = Field(description="Where its artifact is, once it exists.")


class ModelView(Model):
    """A model of the experiment. What is not finished yet is null."""

    name: str
    kind: str
    step: int | None = Field(
        description="The training step after which the weights were kept; null for a whole model."
    )
    finished: bool
    key: str
    files: str | None = Field(description="Where its artifact is, once it exists.")
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
    """Address of the artifact; None until it exists."""
    return None if manifest is None else f"/v1/artifacts/{manifest.key}"


def evaluation(lineage: Lineage, role: Role) -> dict[str, Evaluation] | None:
    """Loss and accuracy on every corpus, by name; None while the stage is not finished."""
    results = lineage.results(role)
    return by_corpus(results["corpora"], lineage.corpora) if results else None


def _view(lineage: Lineage, name: str) -> ModelView:
    model, step = lineage.model(name)
    fields = lineage.section("models")[model]
    made = lineage.finished(Role.model(name))
    return ModelView(
        **dict(model_of(name, fields, lineage.parameters.edges, lineage)),
        name=name,
        kind=kind_of(fields)[0],
        step=step,
        finished=made is not None,
        key=lineage.roles[Role.model(name)],
        files=artifact_url(made),
        evaluation=evaluation(lineage, Role.evaluate(name)),
        untrained=evaluation(lineage, Role.untrained(name)),
        dictionaries=[
            DictionaryView(
                **dict(dictionary),
                key=lineage.roles[role],
                files=artifact_url(lineage.finished(role)),
            )
            for role, dictionary in dictionaries_of(name, lineage.section("dictionaries"), lineage)
        ],
    )
