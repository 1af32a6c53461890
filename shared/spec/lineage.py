"""Descent in the family: edges, ancestors, and the data and shapes that models inherit."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import TopologicalSorter

from shared.spec.document import Spec
from shared.spec.family import Member, family
from shared.spec.models import Architecture


def lineage_edges(spec: Spec) -> tuple[tuple[str, str], ...]:
    """All (parent, child) pairs of the family, children in order; a merge has several parents."""
    return tuple(
        (parent, child.name) for child in family(spec).values() for parent in child.parents
    )


def group_edges(spec: Spec, group: str) -> tuple[tuple[str, str], ...]:
    """The edges whose two models both have a dictionary of the group."""
    models = set(group_models(spec, group))
    return tuple(edge for edge in lineage_edges(spec) if models.issuperset(edge))


def ancestor_pairs(spec: Spec, group: str) -> tuple[tuple[str, str], ...]:
    """(ancestor, descendant) pairs of the group's models that are not edges, in family order."""
    models, edges = group_models(spec, group), set(lineage_edges(spec))
    members, place = family(spec), {name: number for number, name in enumerate(models)}
    pairs = (
        (old, new)
        for new in models
        for old in sorted(
            set(ancestry_in(members, new)) & set(models) - {new}, key=place.__getitem__
        )
    )
    return tuple(pair for pair in pairs if pair not in edges)


def topological(spec: Spec) -> tuple[str, ...]:
    """The models of the spec, without checkpoints, ancestors before descendants.

    Raises graphlib.CycleError if that is impossible.
    """
    return tuple(
        TopologicalSorter({name: m.parents for name, m in spec.models.items()}).static_order()
    )


def ancestry(spec: Spec, model: str) -> tuple[str, ...]:
    """The model's ancestors in the family, roots first, and the model itself; each once."""
    return ancestry_in(family(spec), model)


def ancestry_in(members: Mapping[str, Member], model: str) -> tuple[str, ...]:
    """`ancestry` for a caller that has the family already."""
    ancestors: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in ancestors:
            for parent in members[name].parents:
                visit(parent)
            ancestors[name] = None

    visit(model)
    return tuple(ancestors)


def roots(spec: Spec, model: str) -> frozenset[str]:
    """The models without parents that a model descends from, or itself if it has no parents.

    The first checkpoint of a pre-training has no parent, so it is the root of that run.
    """
    members = family(spec)
    return frozenset(name for name in ancestry_in(members, model) if not members[name].parents)


def shares_basis(spec: Spec, parent: str, child: str) -> bool:
    """Whether both models use the same basis: their weights go back to the same roots.

    A merge of models with different roots mixes two bases.
    """
    return roots(spec, parent) == roots(spec, child)


def distribution(spec: Spec, model: str) -> tuple[str, ...]:
    """The model's own data: corpora of its ancestors and itself, in order of first appearance."""
    members = family(spec)
    corpora = [corpus for name in ancestry_in(members, model) for corpus in members[name].corpora]
    return tuple(dict.fromkeys(corpora))


def architecture_of(
    spec: Spec, model: str, imported: Mapping[str, Architecture] | None = None
) -> Architecture | None:
    """The shape that a model has from its root; None for an import whose shape is not read yet."""
    members = family(spec)
    for name in ancestry_in(members, model):
        pretrain = spec.models[members[name].model].pretrain
        if pretrain is not None:
            return pretrain.architecture
        if imported and name in imported:
            return imported[name]
    return None


def group_models(spec: Spec, group: str) -> tuple[str, ...]:
    """The models of a group of dictionaries, ancestors before descendants."""
    section = spec.dictionaries[group]
    wanted = section.models if section.import_ is None else tuple(section.import_)
    return tuple(name for name in family(spec) if wanted == "all" or name in wanted)
