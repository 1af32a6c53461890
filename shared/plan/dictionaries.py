"""Stages that train dictionaries (or import them) and say how good they are."""

from __future__ import annotations

from typing import Any, Literal, cast

from shared.lineage.roles import Role
from shared.plan import estimates
from shared.plan.draft import Draft
from shared.plan.graph import Estimate, derived_seed, numbered
from shared.spec import distribution, family, group_edges, group_models
from shared.spec.dictionaries import Dictionaries, Recipe
from shared.spec.own_settings import passed_on
from shared.spec.variants import VARIANTS
from shared.spec.variants.base import AuxiliarySettings
from shared.stages.sae import (
    CrosscoderParameters,
    DictionaryParameters,
    EvaluateDictionaryParameters,
    HarvestParameters,
    ImportDictionaryParameters,
)


def add_dictionaries(draft: Draft, name: str) -> None:
    """For each model and seed a dictionary on the model's own data, and its evaluation.

    Of a variant of edges one stage for every edge, which evaluates itself.
    """
    group = draft.spec.dictionaries[name]
    if VARIANTS[group.variant].per == "edge":
        for parent, child in group_edges(draft.spec, name):
            _add_crosscoder(draft, name, parent, child)
        return
    for model in group_models(draft.spec, name):
        inputs = model_inputs(draft, model)
        if group.import_ is not None:
            _add_role(draft, name, model, 0, inputs, _add_import(draft, name, model))
            continue
        harvest = _harvest_of(draft, group, model, inputs)
        for replicate in range(len(group.seeds)):
            key = _add_dictionary(draft, name, model, replicate, {**inputs, **harvest})
            _add_role(draft, name, model, replicate, inputs, key)


def model_inputs(draft: Draft, model: str) -> dict[str, str]:
    """The inputs `model` and `tokens/0..`: a model and its own data distribution."""
    tokens = draft.tokens_of(distribution(draft.spec, model))
    return {"model": draft.roles[Role.model(model)], **numbered("tokens", tokens)}


def _add_role(
    draft: Draft, name: str, model: str, replicate: int, inputs: dict[str, str], key: str
) -> None:
    """Make a stage the dictionary of a model, and evaluate it."""
    group = draft.spec.dictionaries[name]
    draft.roles[Role.dictionary(name, model, replicate)] = key
    draft.roles[Role.quality(name, model, replicate)] = add_quality(
        draft,
        f"evaluate dictionary {name} of {model}, seed {group.seeds[replicate]}",
        group,
        {**inputs, "dictionary": key},
        estimates.evaluate_dictionary(
            group, estimates.size_of(draft.resolved, model), features_of(draft, group, model)
        ),
    )


def add_quality(
    draft: Draft, title: str, recipe: Recipe, inputs: dict[str, str], estimate: Estimate
) -> str:
    """The evaluation of a dictionary."""
    parameters = EvaluateDictionaryParameters(
        hook=recipe.hook,
        layer=recipe.layer,
        tokens=recipe.evaluate_tokens,
        context=recipe.context,
    )
    return draft.graph.add("evaluate_dictionary", title, parameters, inputs, estimate=estimate)


def features_of(draft: Draft, group: Dictionaries, model: str) -> int | None:
    """Features of a model's dictionary; None where the model's width is not known."""
    size = estimates.size_of(draft.resolved, model)
    if size is None:
        return group.features
    return estimates.features_of(group, size.width(group.hook))


# ------------------------------------------------------------------------------- training


def _harvest_of(
    draft: Draft, group: Dictionaries, model: str, inputs: dict[str, str]
) -> dict[str, str]:
    """The input `harvest`, where activations are stored first."""
    size = estimates.size_of(draft.resolved, model)
    pays = group.harvest == "auto" and estimates.harvest_pays(group, size)
    if group.harvest != "shards" and not pays:
        return {}
    parameters = HarvestParameters(
        hook=group.hook,
        layer=group.layer,
        tokens=group.vectors,
        context=group.context,
        seed=draft.seed("harvest"),
    )
    title = f"harvest {group.hook} of {model}"
    estimate = estimates.harvest(group, size)
    return {"harvest": draft.graph.add("harvest", title, parameters, inputs, estimate=estimate)}


def _add_dictionary(
    draft: Draft, name: str, model: str, replicate: int, inputs: dict[str, str]
) -> str:
    group = draft.spec.dictionaries[name]
    parent = _start_of(draft, name, model)
    if parent is not None:
        inputs = {**inputs, "start": draft.roles[Role.dictionary(name, parent, replicate)]}
    number = group.seeds[replicate]
    return draft.graph.add(
        "dictionary",
        f"train dictionary {name} of {model}, seed {number}",
        _parameters(draft, group, model, inputs["model"], number, started=parent is not None),
        inputs,
        estimate=estimates.dictionary(
            group,
            estimates.size_of(draft.resolved, model),
            group.vectors,
            features_of(draft, group, model),
            stored="harvest" in inputs,
        ),
    )


def _start_of(draft: Draft, name: str, model: str) -> str | None:
    """The parent whose dictionary a model's one starts from; a merge has that of at_zero first."""
    if draft.spec.dictionaries[name].init != "parent":
        return None
    models = group_models(draft.spec, name)
    parents = family(draft.spec)[model].parents
    return next((parent for parent in parents if parent in models), None)


def add_started(draft: Draft, name: str, model: str, target: str, what: str, order: int = 0) -> str:
    """A control of init "parent": a dictionary that starts from a model's first one.

    `target` is the key of the model whose activations it is trained on; with another `order` it
    reads the same data in another one.
    """
    group = draft.spec.dictionaries[name]
    tokens = draft.tokens_of(distribution(draft.spec, model))
    start = draft.roles[Role.dictionary(name, model, 0)]
    number = group.seeds[0] + order
    return draft.graph.add(
        "dictionary",
        f"train dictionary {name} {what}, from that of {model}",
        _parameters(draft, group, model, target, number, started=True),
        {"model": target, **numbered("tokens", tokens), "start": start},
        estimate=estimates.dictionary(
            group,
            estimates.size_of(draft.resolved, model),
            group.vectors,
            features_of(draft, group, model),
        ),
    )


def _parameters(
    draft: Draft, group: Dictionaries, model: str, key: str, number: int, *, started: bool
) -> DictionaryParameters:
    """`number` is the user's seed. Two models start alike only when init is shared."""
    words: list[object] = [draft.spec.seed, number]
    if group.init != "shared":
        words.append(key)
    init = group.init
    if init == "parent" and not started:
        init = "independent"  # a root has nothing to start from
    return DictionaryParameters(
        **recipe_parameters(group),
        expansion=group.expansion,
        features=group.features,
        l1=group.l1_of(model),
        l0=group.l0,
        k=group.k,
        tokens=group.vectors,
        seed=derived_seed(*words),
        replicate=number,
        init=init,
    )


def recipe_parameters(recipe: Recipe) -> dict[str, Any]:
    """What single dictionaries and those of a grid take from the spec in the same words."""
    return {
        "hook": recipe.hook,
        "layer": recipe.layer,
        "variant": recipe.variant,
        **passed_on(VARIANTS[recipe.variant], recipe),
        "sparsity_warmup_steps": recipe.sparsity_warmup_steps,
        "learning_rate": recipe.learning_rate,
        "warmup_steps": recipe.warmup_steps,
        "learning_rate_decay": recipe.learning_rate_decay,
        "betas": recipe.betas,
        "context": recipe.context,
        "batch": recipe.batch,
        "revive": recipe.reviving,
        "dead_after_steps": recipe.dead_after_steps,
    }


# --------------------------------------------------------- existing ones, and crosscoders


def _add_import(draft: Draft, name: str, model: str) -> str:
    group = draft.spec.dictionaries[name]
    assert group.import_ is not None
    source = group.import_[model]
    parameters = ImportDictionaryParameters(
        hub=source.hub,
        revision=source.revision,
        path=source.path or "",
        hook=group.hook,
        layer=group.layer,
    )
    uploads: tuple[str, ...] = ()
    if source.upload is not None:
        upload = draft.resolved.uploads[source.upload]
        form = cast(Literal["zip", "tar"], upload.format)
        parameters = parameters.model_copy(update={"upload": upload.digest, "format": form})
        uploads = (upload.digest,)
    return draft.graph.add(
        "import_dictionary",
        f"import dictionary {name} of {model}",
        parameters,
        {"model": draft.roles[Role.model(model)]},
        uploads=uploads,
    )


def _add_crosscoder(draft: Draft, name: str, parent: str, child: str) -> None:
    group, spec = draft.spec.dictionaries[name], draft.spec
    assert group.k is not None
    ends = {"parent": draft.roles[Role.model(parent)], "child": draft.roles[Role.model(child)]}
    aux = AuxiliarySettings.of(group).coefficient
    draft.roles[Role.crosscoder(name, parent, child)] = draft.graph.add(
        "crosscoder",
        f"train crosscoder {name} of {parent} -> {child}",
        CrosscoderParameters(
            hook=group.hook,
            layer=group.layer,
            expansion=group.expansion,
            features=group.features,
            k=group.k,
            aux_coefficient=0.0 if group.reviving == "none" else aux,
            learning_rate=group.learning_rate,
            warmup_steps=group.warmup_steps,
            learning_rate_decay=group.learning_rate_decay,
            betas=group.betas,
            tokens=group.vectors,
            context=group.context,
            batch=group.batch,
            dead_after_steps=group.dead_after_steps,
            scaling_tokens=group.evaluate_tokens,
            seed=derived_seed(spec.seed, group.seeds[0], *ends.values()),
        ),
        {**ends, **numbered("tokens", draft.tokens_of(distribution(spec, child)))},
        estimate=estimates.crosscoder(
            group,
            estimates.size_of(draft.resolved, child),
            features_of(draft, group, child),
        ),
    )
