"""Parameters that several routes take, described once."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

PAGE_LIMIT = 100  # entries on a page

Number = Annotated[str, Path(description="Id of an experiment, as submitting it returned.")]
StageKey = Annotated[str, Path(description="Key of a stage: 64 hexadecimal digits.")]
ArtifactKey = Annotated[
    str, Path(description="Key of a finished stage, which names its artifact too.")
]
ModelName = Annotated[str, Path(description="Name of a model in the spec.")]
ParentName = Annotated[str, Path(description="Name of the model that the edge starts from.")]
ChildName = Annotated[str, Path(description="Name of the model that the edge leads to.")]
SweepName = Annotated[str, Path(description="Name of a sweep in the spec.")]
FilePath = Annotated[
    str,
    Path(description="Path of a file in the artifact, as in its manifest; slashes are allowed."),
]

Cursor = Annotated[
    str | None,
    Query(description="next_page or previous_page of an earlier answer; omit for the first page."),
]
PageSize = Annotated[int, Query(ge=1, le=PAGE_LIMIT, description="Entries on a page.")]
