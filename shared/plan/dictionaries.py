"""Stages that train dictionaries and say how good they are."""

from __future__ import annotations

from shared import parameters as p
from shared.plan import estimates
from shared.plan.draft import Draft
from shared.plan.graph import derived_seed, numbered
from shared.spec import distribution, group_models
from shared.spec.dictionaries import Dictionaries


def add_dictionaries(draft: Draft, name: str) -> None:
    """For each model and seed a dictionary on the model's own data, and its evaluation."""
    group = draft.spec.dictionaries[name]
    for model in group_models(draft.spec, name):
        size = estimates.size_of(draft.resolved, model)
        inputs = {
            "model": draft.roles[f"model/{model}"],
            **numbered("tokens", draft.tokens_of(distribution(draft.spec, model))),
        }
        harvest: dict[str, str] = {}
        if group.harvest == "shards" or (
            group.harvest == "auto" and estimates.harvest_pays(group, size)
        ):
            harvest = {"harvest": _add_harvest(draft, group, model, inputs)}
        for replicate, number in enumerate(group.seeds):
            dictionary = draft.graph.add(
                "dictionary",
                f"train dictionary {name} of {model}, seed {number}",
                _dictionary_parameters(draft, group, model, number),
                {**inputs, **harvest},
                estimate=estimates.dictionary(group, size, stored=bool(harvest)),
            )
            draft.roles[f"dictionary/{name}/{model}/{replicate}"] = dictionary
            draft.roles[f"quality/{name}/{model}/{replicate}"] = draft.graph.add(
                "evaluate_dictionary",
                f"evaluate dictionary {name} of {model}, seed {number}",
                p.EvaluateDictionaryParameters(
                    hook=group.hook,
                    layer=group.layer,
                    tokens=group.evaluate_tokens,
                    context=group.context,
                ),
                {**inputs, "dictionary": dictionary},
                estimate=estimates.evaluate_dictionary(group, size),
            )


def _add_harvest(draft: Draft, group: Dictionaries, model: str, inputs: dict[str, str]) -> str:
    return draft.graph.add(
        "harvest",
        f"harvest {group.hook} of {model}",
        p.HarvestParameters(
            hook=group.hook,
            layer=group.layer,
            tokens=group.tokens,
            context=group.context,
            seed=draft.seed("harvest"),
        ),
        inputs,
        estimate=estimates.harvest(group, estimates.size_of(draft.resolved, model)),
    )


def _dictionary_parameters(
    draft: Draft, group: Dictionaries, model: str, number: int
) -> p.DictionaryParameters:
    """`number` is the user's seed. Two models start alike only when init is shared."""
    words: list[object] = [draft.spec.seed, number]
    if group.init == "independent":
        words.append(draft.roles[f"model/{model}"])
    l1 = group.l1_of(model)
    assert l1 is not None
    return p.DictionaryParameters(
        hook=group.hook,
        layer=group.layer,
        variant=group.variant,
        expansion=group.expansion,
        features=group.features,
        l1=l1,
        l1_warmup_steps=group.l1_warmup_steps,
        learning_rate=group.learning_rate,
        learning_rate_decay=group.learning_rate_decay,
        betas=group.betas,
        tokens=group.tokens,
        context=group.context,
        batch=group.batch,
        revive=group.revive,
        dead_after_steps=group.dead_after_steps,
        seed=derived_seed(*words),
        replicate=number,
        init=group.init,
    )
