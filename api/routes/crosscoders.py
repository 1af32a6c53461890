"""Crosscoders of an experiment over REST: what a parent and its child share by one dictionary."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from api.backend import BackendDependency
from api.http.parameters import ChildName, Number, ParentName
from api.http.problems import SpecProblem, UnknownProblem
from api.lineage.names import Lineage, listed, open_lineage
from shared.lineage.crosscoders import Crosscoder, crosscoder_of
from shared.lineage.roles import Role, roles_of

router = APIRouter(prefix="/v1/experiments", tags=["results"])


class CrosscoderView(Crosscoder):
    """What one dictionary of a parent and its child together found.

    kinds are numbers of features: shared, parent and child (in that one only), false_parent and
    false_child (so by their norms, but not by latent scaling), dead. relative_norm is a histogram
    of child / (parent + child) over decoder norms.
    """

    group: str
    key: str
    files: str = Field(description="Where its artifact is.")


@router.get("/{number}/crosscoders/{parent}/{child}")
def crosscoder(
    number: Number,
    parent: ParentName,
    child: ChildName,
    backend: BackendDependency,
    group: Annotated[
        str | None,
        Query(description="Which crosscoders; may be left out where one fits.", max_length=64),
    ] = None,
) -> CrosscoderView:
    """What the crosscoder of an edge found, once it is trained."""
    lineage = open_lineage(backend, number)
    name = _group(lineage, parent, child, group)
    manifest = lineage.manifest(Role.crosscoder(name, parent, child))
    return CrosscoderView(
        **dict(crosscoder_of(parent, child, manifest.results)),
        group=name,
        key=manifest.key,
        files=f"/v1/artifacts/{manifest.key}",
    )


def _group(lineage: Lineage, parent: str, child: str, wanted: str | None) -> str:
    """The group of crosscoders that is meant; 404 when none fits, 422 when several do."""
    fitting = [
        name
        for name in lineage.section("dictionaries")
        if Role.crosscoder(name, parent, child) in lineage.roles and wanted in (None, name)
    ]
    if not fitting:
        roles = [role.names for role in roles_of(lineage.roles, "crosscoder")]
        known = listed([f"{parent} -> {child} ({group})" for group, parent, child in roles])
        raise UnknownProblem(
            detail=f"{lineage.experiment.id} has no such crosscoder of {parent} -> {child}; "
            f"it has {known}"
        )
    if len(fitting) > 1:
        sentence = f"name one of the groups {listed(fitting)}"
        raise SpecProblem(
            detail=f"group: {sentence}", errors=[{"field": "group", "message": sentence}]
        )
    return fitting[0]
