"""Who descends from whom, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import TopologicalSorter

from shared.spec.document import Spec
from shared.spec.models import Architecture


def lineage_edges(spec: Spec) -> tuple[tuple[str, str], ...]:
    """All (parent, child) pairs, children in topological order; a merge has two parents."""
    return tuple(
        (parent, child) for child in topological(spec) for parent in spec.models[child].parents
    )


def topological(spec: Spec) -> tuple[str, ...]:
    """All models, ancestors before descendants; graphlib.CycleError if that is impossible."""
    return tuple(TopologicalSorter(_parents(spec)).static_order())


def _parents(spec: Spec) -> dict[str, tuple[str, ...]]:
    return {name: model.parents for name, model in spec.models.items()}


def ancestry(spec: Spec, model: str) -> tuple[str, ...]:
    """The model's ancestors, roots first, and the model itself; each once."""
    found: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in found:
            for parent in spec.models[name].parents:
                visit(parent)
            found[name] = None

    visit(model)
    return tuple(found)


def distribution(spec: Spec, model: str) -> tuple[str, ...]:
    """The model's own data: corpora of its ancestors and itself, in order of first appearance."""
    corpora = [corpus for name in ancestry(spec, model) for corpus in spec.models[name].corpora]
    return tuple(dict.fromkeys(corpora))


def architecture_of(
    spec: Spec, model: str, imported: Mapping[str, Architecture] | None = None
) -> Architecture | None:
    """The shape a model has from the root it descends from; None for an unread import."""
    for name in ancestry(spec, model):
        pretrain = spec.models[name].pretrain
        if pretrain is not None:
            return pretrain.architecture
        if imported and name in imported:
            return imported[name]
    return None


def group_models(spec: Spec, group: str) -> tuple[str, ...]:
    """The models of a group of dictionaries, ancestors before descendants."""
    wanted = spec.dictionaries[group].models
    return tuple(name for name in topological(spec) if wanted == "all" or name in wanted)
