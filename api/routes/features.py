"""One feature of a model over REST: where it fires, what it tells, and what became of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from api.backend import BackendDependency
from api.http.parameters import ModelName, Number
from api.http.problems import UnknownProblem
from api.lineage.edges import match_role, relation
from api.lineage.explanations import (
    Explanation,
    corpora_of,
    explain_roles,
    explanations_of,
    name_of,
)
from api.lineage.names import Lineage, chosen_tracking, open_lineage
from api.lineage.rows import MatchRow, row_of
from api.routes.edges import Threshold, Tracking, ancestors_of, edges_of
from shared.lineage.chains import Chain, chain_of
from shared.lineage.roles import Role
from shared.records.artifacts import Manifest

router = APIRouter(prefix="/v1/experiments", tags=["results"])


class LabelScore(BaseModel):
    """How well the feature tells a label, on contexts that did not choose its threshold."""

    label: str
    precision: float
    recall: float
    f1: float
    threshold: float
    support: int


class Context(BaseModel):
    """A window of tokens in which the feature fires at `position` of the stream.

    `bin` is the tenth of the range of its activations that it falls in, the maximum in 9.
    """

    rank: int
    bin: int
    corpus: str
    position: int
    start: int
    tokens: list[str]
    activations: list[float]


class FeatureMatch(MatchRow):
    """The feature on one edge that touches its model."""

    parent: str
    child: str
    relation: str = Field(description="edge, or ancestor where the parent is further up.")
    side: Literal["parent", "child"] = Field(description="Which side the feature is on.")
    threshold: float
    partner_explanation: str | None = Field(
        description="What the partner is about: the language model's words, else a rule's."
    )


class Effect(BaseModel):
    """What the feature does to the logit of one token, directly, where it fires with 1."""

    rank: int
    token: str
    id: int
    effect: float


class Fate(BaseModel):
    """What became of the feature in the whole family.

    universal: found in every model; inherited: from the model named, or from `both` parents of a
    merge; new: no parent has it; lost: no path of matches leads to the model named; regained: no
    path does, but the direct match with it.
    """

    fate: Literal["universal", "inherited", "new", "lost", "regained"]
    model: str | None = None


class FeatureView(BaseModel):
    """A feature. What is undefined because it never fires, or not finished yet, is null."""

    model: str
    feature: int
    tracking: str
    tokens: int = Field(description="Token positions of the stream.")
    firings: int
    density: float = Field(description="Share of the tokens on which it fires.")
    mean: float | None = Field(description="Mean activation where it fires.")
    max: float | None
    corpora: dict[str, float | None] = Field(description="Share of its firings in each corpus.")
    positions: list[float] = Field(
        description="Share of its firings in each eighth of the context; empty if it never fires."
    )
    histogram: list[int] = Field(
        description="Firings in ten equal bins of activation; empty if it never fires."
    )
    explanations: list[Explanation] = Field(
        description="What it is about, by rules and by the language model, as far as asked for."
    )
    raised: list[Effect] = Field(description="Tokens whose logits it raises most.")
    lowered: list[Effect] = Field(description="Tokens whose logits it lowers most.")
    labels: list[LabelScore] = Field(description="Labels it tells with F1 >= 0.3, best first.")
    top: list[Context] = Field(description="Where it fires strongest.")
    samples: list[Context] = Field(description="Random places where it fires.")
    matches: list[FeatureMatch]
    fate: list[Fate] | None = Field(
        description="What became of it along the lineage; null until all edges are matched."
    )
    universal: bool | None = Field(description="Whether it is found in every model.")
    chain: Chain | None
    not_finished: list[str] = Field(description="Stages that would tell more and are to come.")


@router.get("/{number}/features/{model}/{index}")
def feature(
    number: Number,
    model: ModelName,
    index: Annotated[int, Path(ge=0, le=2**31 - 1, description="Number of the feature, from 0.")],
    backend: BackendDependency,
    tracking: Tracking = None,
    threshold: Threshold = None,
) -> FeatureView:
    """A feature of a model, once its contexts are found; matches follow as they are finished."""
    lineage = open_lineage(backend, number)
    lineage.model(model)
    fitting = [name for name, models in lineage.parameters.models.items() if model in models]
    name = chosen_tracking(lineage, tracking, fitting)
    contexts = lineage.manifest(Role.contexts(name, model))
    about = _statistics(lineage, name, model, index, contexts)
    pairs = [*edges_of(lineage), *ancestors_of(lineage)]
    edges = [place for place in pairs if place[0] == name and model in place[1:]]
    chain = _chain(lineage, name, model, index)
    tracked = lineage.finished(Role.track(name)) is not None
    return FeatureView(
        model=model,
        feature=index,
        tracking=name,
        **about,
        labels=_labels(lineage, contexts, index),
        **_contexts(lineage, name, contexts, index),
        matches=[
            match for edge in edges if (match := _match(lineage, edge, model, index, threshold))
        ],
        explanations=explanations_of(lineage, name, model, index),
        **_effects(lineage, contexts, index),
        fate=_fate(lineage, name, model, index),
        universal=chain is not None if tracked else None,
        chain=chain,
        not_finished=lineage.unfinished(
            [
                *(match_role(lineage, *edge) for edge in edges),
                Role.track(name),
                *explain_roles(name, model),
            ]
        ),
    )


def _statistics(
    lineage: Lineage, tracking: str, model: str, index: int, contexts: Manifest
) -> dict[str, Any]:
    rows = lineage.backend.files.rows(contexts, "features.parquet", "feature", index)
    if not rows:
        raise UnknownProblem(detail=f"{model} has no feature {index} in the tracking {tracking}")
    codes = lineage.manifest_or_none(contexts.inputs["codes"])
    assert codes is not None, "contexts come after codes"
    tokens = int(codes.results["tokens"])
    return {
        "tokens": tokens,
        "firings": round(rows[0]["density"] * tokens),
        **{name: rows[0][name] for name in ("density", "mean", "max")},
        **{name: rows[0][name] or [] for name in ("positions", "histogram")},
        "corpora": {
            corpus: rows[0][f"corpus_{number}"]
            for number, corpus in enumerate(corpora_of(lineage, tracking))
        },
    }


def _labels(lineage: Lineage, contexts: Manifest, index: int) -> list[LabelScore]:
    rows = lineage.backend.files.rows(contexts, "labels.parquet", "feature", index)
    scores = [LabelScore.model_validate(row) for row in rows]
    return sorted(scores, key=lambda score: (-score.f1, score.label))


def _contexts(
    lineage: Lineage, tracking: str, contexts: Manifest, index: int
) -> dict[str, list[Context]]:
    corpora = corpora_of(lineage, tracking)
    by_kind: dict[str, list[Context]] = {"top": [], "sample": []}
    rows = lineage.backend.files.rows(contexts, "contexts.parquet", "feature", index)
    for row in sorted(rows, key=lambda row: row["rank"]):
        place = Context.model_validate({**row, "corpus": corpora[row["corpus"]]})
        by_kind[row["kind"]].append(place)
    return {"top": by_kind["top"], "samples": by_kind["sample"]}


def _effects(lineage: Lineage, contexts: Manifest, index: int) -> dict[str, list[Effect]]:
    effects: dict[str, list[Effect]] = {"raised": [], "lowered": []}
    rows = lineage.backend.files.rows(contexts, "logits.parquet", "feature", index)
    for row in sorted(rows, key=lambda row: row["rank"]):
        effects[row["kind"]].append(Effect.model_validate(row))
    return effects


def _fate(lineage: Lineage, tracking: str, model: str, index: int) -> list[Fate] | None:
    """What track says of the feature; models are numbers there."""
    manifest = lineage.finished(Role.track(tracking))
    if manifest is None:
        return None
    models = lineage.parameters.models[tracking]
    rows = lineage.backend.files.rows(manifest, "chains.parquet", "feature", index)
    stored = [row["fate"] for row in rows if row["model"] == models.index(model)]
    named = []
    for word in (word for fates in stored for word in fates or ()):
        fate, _, place = word.partition("/")
        name = models[int(place)] if place.isdecimal() else place or None
        named.append(Fate.model_validate({"fate": fate, "model": name}))
    return named


def _match(
    lineage: Lineage,
    edge: tuple[str, str, str],
    model: str,
    index: int,
    threshold: float | None,
) -> FeatureMatch | None:
    """What became of the feature on an edge; None while the edge is not finished."""
    manifest = lineage.finished(match_role(lineage, *edge))
    if manifest is None:
        return None
    at = manifest.parameters["threshold"] if threshold is None else threshold
    tracking, parent, child = edge
    side: Literal["parent", "child"] = "parent" if model == parent else "child"
    row = row_of(lineage.backend.edges.at(manifest.key, at).side(side), index)
    return FeatureMatch(
        **row.model_dump(),
        parent=parent,
        child=child,
        relation=relation(lineage, *edge) or "edge",
        side=side,
        threshold=at,
        partner_explanation=name_of(
            lineage, tracking, child if side == "parent" else parent, row.partner
        ),
    )


def _chain(lineage: Lineage, tracking: str, model: str, index: int) -> Chain | None:
    """The chain through every model that holds the feature; None if there is none (yet)."""
    manifest = lineage.finished(Role.track(tracking))
    if manifest is None:
        return None
    models = lineage.parameters.models[tracking]
    column = f"feature_{models.index(model)}"
    rows = lineage.backend.files.rows(manifest, "universal.parquet", column, index)
    if not rows:
        return None
    return chain_of(models, rows[0])
