"""The finished report over REST: all its numbers, and its tables."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from api.backend import BackendDependency
from api.http.accept import CSV, JSON, negotiated
from api.http.parameters import Number
from api.http.problems import PROBLEMS, SpecProblem, UnknownProblem
from api.lineage.names import Lineage, NotFinishedProblem, listed, open_lineage
from api.routes.artifacts import PART_ANSWERS, send_file
from shared.records.artifacts import Manifest

router = APIRouter(prefix="/v1/experiments", tags=["results"])

ANSWERS: dict[int | str, dict[str, Any]] = {
    **PART_ANSWERS,
    **PROBLEMS(406),
    200: {
        "description": "results.json, or a table.",
        "content": {JSON: {"schema": {"type": "object"}}, CSV: {"schema": {"type": "string"}}},
    },
}


class TableView(BaseModel):
    """A table of the report: its name, its size in bytes and where it can be had."""

    name: str
    bytes: int
    url: str


@router.get("/{number}/results", response_class=Response, responses=ANSWERS)
def results(
    number: Number,
    backend: BackendDependency,
    request: Request,
    table: Annotated[
        str | None, Query(description="Name of a table, which is sent as CSV.", max_length=200)
    ] = None,
) -> Response:
    """Every number of the finished report, as JSON; with `table` one of its tables, as CSV."""
    lineage = open_lineage(backend, number)
    form = negotiated(request, (JSON, CSV) if table is None else (CSV,))
    manifest = _report(lineage)
    if form == JSON:
        return send_file(request, backend, manifest, "results.json", inline=True, vary="Accept")
    if table is None:
        sentence = f"name one of the tables {listed(list(_tables(manifest)))}"
        raise SpecProblem(
            detail=f"table: {sentence}", errors=[{"field": "table", "message": sentence}]
        )
    file = _tables(manifest).get(table)
    if file is None:
        raise UnknownProblem(
            detail=f"there is no table {table!r}, only {listed(list(_tables(manifest)))}"
        )
    return send_file(request, backend, manifest, file, vary="Accept")


@router.get("/{number}/results/tables")
def tables(number: Number, backend: BackendDependency) -> list[TableView]:
    """The tables of the finished report."""
    manifest = _report(open_lineage(backend, number))
    return [
        TableView(
            name=name,
            bytes=manifest.files[file].bytes,
            url=f"/v1/experiments/{number}/results?table={name}",
        )
        for name, file in _tables(manifest).items()
    ]


def _report(lineage: Lineage) -> Manifest:
    """The manifest of the report; a 404 problem that says how much is missing."""
    manifest = lineage.manifest_or_none(lineage.key)
    if manifest is None:
        missing = lineage.unfinished(list(lineage.roles))
        stages = f" and {len(missing)} stages before it" if missing else ""
        raise NotFinishedProblem(detail=f"not finished yet: {lineage.title(lineage.key)}{stages}")
    return manifest


def _tables(manifest: Manifest) -> dict[str, str]:
    """Names of the CSV tables and their files, by name."""
    return {
        file.removeprefix("csv/").removesuffix(".csv"): file
        for file in sorted(manifest.files)
        if file.startswith("csv/") and file.endswith(".csv")
    }
