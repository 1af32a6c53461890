"""The report, which gathers everything."""

from __future__ import annotations

from shared.lineage.roles import Role
from shared.plan.draft import Draft
from shared.spec import group_models, lineage_edges
from shared.stages.report import ReportParameters

# Of roles of these kinds a report reads the results in the manifests, not the files.
LIGHT_KINDS = (
    "model",
    "corpus",
    "tokens",
    "dictionary",
    "quality",
    "crosscoder",
    "stability",
)


def add_report(draft: Draft) -> None:
    """The report over everything that was added before."""
    spec, roles = draft.spec, draft.roles
    draft.graph.add(
        "report",
        "write report",
        ReportParameters(
            spec=spec.model_dump(mode="json", exclude_none=True),
            models={
                name: group_models(spec, tracking.dictionary)
                for name, tracking in spec.tracking.items()
            },
            edges=lineage_edges(spec),
            corpora=tuple(spec.corpora),
            cells=draft.cells,
        ),
        roles,
        light=[role for role in roles if Role(role).kind in LIGHT_KINDS],
    )
