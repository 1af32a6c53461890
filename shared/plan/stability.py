"""Stages of a grid: dictionaries of one model over sizes and sparsities, and how much two seeds of
each share."""

from __future__ import annotations

from shared.lineage.roles import Role
from shared.plan import estimates
from shared.plan.dictionaries import add_quality, model_inputs, recipe_parameters
from shared.plan.draft import Draft
from shared.plan.graph import Estimate, derived_seed, numbered
from shared.spec import distribution
from shared.spec.tracking import Stability
from shared.stages.analyzer import EncodeParameters, MatchParameters
from shared.stages.sae import DictionaryParameters, DictionarySetParameters, MemberParameters


def add_stability(draft: Draft, name: str) -> None:
    """One set of dictionaries for each seed, trained in one pass; for each cell both measures."""
    grid = draft.spec.stability[name]
    draft.cells[name] = tuple(
        {"features": features, "sparsity": sparsity, grid.sparsity: sparsity}
        for features, sparsity in grid.cells
    )
    sets = [_add_set(draft, name, number) for number in grid.seeds]
    for cell in range(len(grid.cells)):
        for replicate, key in enumerate(sets):
            _add_member(draft, name, cell, replicate, key)
        _add_ceiling(draft, name, cell)


def _label(grid: Stability, cell: int) -> str:
    features, sparsity = grid.cells[cell]
    return f"{features} features, {grid.sparsity} {sparsity:g}"


def _add_set(draft: Draft, name: str, number: int) -> str:
    grid = draft.spec.stability[name]
    seed = derived_seed(draft.spec.seed, number, draft.roles[Role.model(grid.model)])
    members = [
        DictionaryParameters(
            **recipe_parameters(grid),
            features=features,
            **{grid.sparsity: sparsity},
            tokens=grid.tokens,
            seed=seed,
            replicate=number,
        )
        for features, sparsity in grid.cells
    ]
    size = estimates.size_of(draft.resolved, grid.model)
    total = sum(features for features, _ in grid.cells)
    return draft.graph.add(
        "dictionary_set",
        f"train dictionaries of grid {name}, seed {number}",
        DictionarySetParameters(members=tuple(members)),
        model_inputs(draft, grid.model),
        estimate=estimates.dictionary(grid, size, grid.tokens, total),
    )


def _add_member(draft: Draft, name: str, cell: int, replicate: int, key: str) -> None:
    """A cell's dictionary with its evaluation, and its codes where seeds are compared."""
    grid, number = draft.spec.stability[name], draft.spec.stability[name].seeds[replicate]
    what = f"of grid {name} ({_label(grid, cell)}), seed {number}"
    features = grid.cells[cell][0]
    size = estimates.size_of(draft.resolved, grid.model)
    dictionary = draft.graph.add(
        "dictionary_member",
        f"take dictionary {what}",
        MemberParameters(member=cell),
        {"set": key},
    )
    draft.roles[Role.cell_quality(name, cell, replicate)] = add_quality(
        draft,
        f"evaluate dictionary {what}",
        grid,
        {**model_inputs(draft, grid.model), "dictionary": dictionary},
        estimates.evaluate_dictionary(grid, size, features),
    )
    if replicate > 1:
        return
    corpora = grid.corpora or distribution(draft.spec, grid.model)
    draft.codes[f"stability/{name}/{cell}", grid.model, replicate] = draft.graph.add(
        "encode",
        f"encode {grid.model} by dictionary {what}",
        EncodeParameters(
            hook=grid.hook, layer=grid.layer, tokens=grid.tracking_tokens, context=grid.context
        ),
        {
            "model": draft.roles[Role.model(grid.model)],
            "dictionary": dictionary,
            **numbered("tokens", draft.tokens_of(corpora)),
        },
        estimate=estimates.encode(grid, size, grid.tracking_tokens, features),
    )


def _add_ceiling(draft: Draft, name: str, cell: int) -> None:
    grid = draft.spec.stability[name]
    place = f"stability/{name}/{cell}"
    draft.roles[Role.cell_ceiling(name, cell)] = draft.graph.add(
        "match",
        f"match two seeds of grid {name} ({_label(grid, cell)})",
        MatchParameters(
            threshold=grid.threshold, min_firings=grid.min_firings, resamples=grid.resamples
        ),
        {
            "parent": draft.codes[place, grid.model, 0],
            "child": draft.codes[place, grid.model, 1],
        },
        estimate=Estimate(tokens=grid.tracking_tokens),
    )
