"""Parameters of the stages of the report."""

from __future__ import annotations

from pydantic import Field

from shared.stages.base import Parameters


class ReportParameters(Parameters):
    """The only stage that knows the user's names, through the resolved spec (JSON).

    Inputs are named by role: model/{model}, evaluate/{model}, untrained/{model} (evaluation of the
    starting weights of a pre-trained model), sweep/{sweep}, corpus/{corpus}, tokens/{corpus},
    dictionary/{group}/{model}/{replicate}, quality/{group}/{model}/{replicate}
    (evaluate_dictionary), match/{tracking}/{parent}/{child}, ancestor/{tracking}/{ancestor}/{model}
    (match with a descendant that is not a child), crossed/{tracking}/{parent}/{child} (parent's
    first seed against the child's second), ceiling/{tracking}/{model} (two seeds of one model),
    warm/{tracking}/{model} and unrelated/{tracking}/{model} (controls of init "parent": the model's
    dictionary against one started from it on the same model with another order of data, and on an
    untrained model), scaling/{tracking}/{parent}/{child} (latent scaling),
    contexts/{tracking}/{model}, track/{tracking}, explain/{tracking}/{method}/{model} and
    explained_edge/{tracking}/{method}/{parent}/{child} (method rule or language_model),
    crosscoder/{group}/{parent}/{child}, stability/{name}/{cell}/quality/{replicate} and
    stability/{name}/{cell}/ceiling (match of two seeds), where `cells[name][cell]` are the cell's
    {features, sparsity, k | l0 | l1}.
    Of model/, corpus/, tokens/, dictionary/, quality/, crosscoder/ and stability/ only the results
    are given, no files.
    `models` gives, per tracking, the model names in the order of its track stage; `edges` all
    parent -> child edges of the lineage (checkpoints of a training run are models named
    {model}@{step}, each the parent of the next); `corpora` the names in the order of every
    evaluation's inputs (when empty, the order of the spec).
    Files: report.html, results.json, csv/*.csv, png/*.png.
    """

    spec: dict[str, object]
    models: dict[str, tuple[str, ...]]
    edges: tuple[tuple[str, str], ...]
    corpora: tuple[str, ...] = ()
    cells: dict[str, tuple[dict[str, float], ...]] = Field(default_factory=dict)
