"""The report: its parameters and its contract."""

from __future__ import annotations

from pydantic import Field

from shared.stages.analyzer import SERVICE
from shared.stages.base import File, Kind, Parameters

RESULTS_ONLY = "only the results, no files"


class ReportParameters(Parameters):
    """What the report must know beside its inputs; the only stage that knows the user's names."""

    spec: dict[str, object] = Field(description="Resolved spec (JSON).")
    models: dict[str, tuple[str, ...]] = Field(
        description="Names of the models of each tracking, in the order of its `track` stage."
    )
    edges: tuple[tuple[str, str], ...] = Field(
        description="All parent -> child edges of the lineage; checkpoints of a training run are "
        "models named {model}@{step}, each the parent of the next."
    )
    corpora: tuple[str, ...] = Field(
        (),
        description="Names in the order of every evaluation's inputs; when empty, the order of the "
        "spec.",
    )
    cells: dict[str, tuple[dict[str, float], ...]] = Field(
        default_factory=dict,
        description="Cells of each grid by its name: {features, sparsity, k | l0 | l1}.",
    )


REPORT = Kind(
    name="report",
    service=SERVICE,
    version=3,
    does="Writes the report of an experiment: a page, numbers, tables and figures.",
    parameters=ReportParameters,
    inputs={
        "model/{model}": f"the model ({RESULTS_ONLY})",
        "evaluate/{model}": "`evaluate` of the model",
        "untrained/{model}": "`evaluate` of the starting weights of a pre-trained model",
        "sweep/{sweep}": "`sweep`",
        "corpus/{corpus}": f"`corpus` ({RESULTS_ONLY})",
        "tokens/{corpus}": f"`tokens` ({RESULTS_ONLY})",
        "dictionary/{group}/{model}/{replicate}": f"dictionary of the model ({RESULTS_ONLY})",
        "quality/{group}/{model}/{replicate}": f"its `evaluate_dictionary` ({RESULTS_ONLY})",
        "match/{tracking}/{parent}/{child}": "`match` of an edge",
        "ancestor/{tracking}/{ancestor}/{model}": "`match` with a descendant that is not a child",
        "crossed/{tracking}/{parent}/{child}": "`match` of the parent's first seed and the child's "
        "second",
        "ceiling/{tracking}/{model}": "`match` of two seeds of one model",
        "warm/{tracking}/{model}": "control of init `parent`: `match` of the model's dictionary "
        "with one started from it on the same model with another order of data",
        "unrelated/{tracking}/{model}": "control of init `parent`: `match` of the model's "
        "dictionary with one started from it on an untrained model",
        "scaling/{tracking}/{parent}/{child}": "`latent_scaling` of an edge",
        "contexts/{tracking}/{model}": "`contexts` of the model",
        "track/{tracking}": "`track`",
        "explain/{tracking}/{method}/{model}": "`explain` by one method: rule or language_model",
        "explained_edge/{tracking}/{method}/{parent}/{child}": "`explain_edge` by one method",
        "crosscoder/{group}/{parent}/{child}": f"`crosscoder` of an edge ({RESULTS_ONLY})",
        "stability/{name}/{cell}/quality/{replicate}": "`evaluate_dictionary` of a cell of a grid, "
        f"numbered as in `cells` ({RESULTS_ONLY})",
        "stability/{name}/{cell}/ceiling": f"`match` of two seeds of a cell ({RESULTS_ONLY})",
    },
    files={
        "report.html": File("page with every figure and table, in one file"),
        "results.json": File("every number of the report"),
        "csv/{table}.csv": File("the tables"),
        "png/{figure}.png": File("the figures"),
    },
    results={
        "models": "number of models",
        "edges": "number of edges that were tracked",
        "universal": "number of universal features, over all trackings",
        "sweeps": "number of sweeps",
    },
)
