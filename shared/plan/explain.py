"""Stages that name the features of tracked models, and ask whether the names hold in the child."""

from __future__ import annotations

from shared.lineage.explanations.methods import METHODS, Method
from shared.lineage.roles import Role
from shared.plan import estimates
from shared.plan.draft import Draft
from shared.plan.graph import Estimate, numbered
from shared.spec import group_edges, group_models
from shared.spec.explain import Explain
from shared.stages.explain import ExplainEdgeParameters, ExplainParameters, LanguageModel


def add_explanations(draft: Draft, name: str) -> None:
    """Rules for every live feature of a tracking's models, then the language model for some."""
    explain = draft.spec.explain
    if explain is None or name not in (explain.tracking or draft.spec.tracking):
        return
    dictionary = draft.spec.tracking[name].dictionary
    for method in METHODS.values():
        if method.needs_language_model and not explain.language_model:
            continue
        for place, model in enumerate(group_models(draft.spec, dictionary)):
            _add_explain(draft, name, explain, method, place, model)
        for parent, child in group_edges(draft.spec, dictionary):
            _add_edge(draft, name, method, parent, child)


def _add_explain(
    draft: Draft, name: str, explain: Explain, method: Method, place: int, model: str
) -> None:
    tracking = draft.spec.tracking[name]
    asked = _language_model(draft, explain) if method.needs_language_model else None
    parameters = ExplainParameters(
        method=method.name,
        model=place,
        features=explain.features if asked else None,
        min_firings=tracking.min_firings,
        context=draft.spec.dictionaries[tracking.dictionary].context,
        tokens=tracking.tokens,
        seed=draft.seed("explain"),
        language_model=asked,
    )
    title = f"name the features of {model} {method.adverb}"
    estimate = Estimate(tokens=tracking.tokens)
    if asked is not None:
        requests, tokens = estimates.questions(parameters)
        title = f"ask the language model about {model}, at most {requests:,} requests"
        estimate = Estimate(tokens=tokens)
    draft.roles[Role.explain(name, method.name, model)] = draft.graph.add(
        "explain",
        title,
        parameters,
        {
            "codes": draft.codes[name, model, 0],
            "track": draft.roles[Role.track(name)],
            "tokenizer": draft.tokenizer,
            **numbered("tokens", draft.tokens_of(tracking.corpora)),
            **numbered("match", _matches(draft, name, model)),
        },
        estimate=estimate,
    )


def _matches(draft: Draft, name: str, model: str) -> list[str]:
    """The matches with the model's children, which say what disappears there."""
    edges = group_edges(draft.spec, draft.spec.tracking[name].dictionary)
    return [
        draft.roles[Role.match(name, parent, child)] for parent, child in edges if parent == model
    ]


def _language_model(draft: Draft, explain: Explain) -> LanguageModel:
    pinned = draft.resolved.language_model
    assert pinned is not None, "resolving refuses a spec that asks for a model that is not there"
    return LanguageModel(
        endpoint=pinned.endpoint,
        label=pinned.label,
        prompts=pinned.prompts,
        requests=explain.requests,
        tokens=explain.tokens,
    )


def _add_edge(draft: Draft, name: str, method: Method, parent: str, child: str) -> None:
    words = "explanations of" if method.needs_language_model else "rules for"
    draft.roles[Role.explained_edge(name, method.name, parent, child)] = draft.graph.add(
        "explain_edge",
        f"hold {words} {parent} against {child}",
        ExplainEdgeParameters(method=method.name, seed=draft.seed("explain_edge")),
        {
            "explain": draft.roles[Role.explain(name, method.name, parent)],
            "parent": draft.codes[name, parent, 0],
            "child": draft.codes[name, child, 0],
            "match": draft.roles[Role.match(name, parent, child)],
        },
        estimate=Estimate(tokens=draft.spec.tracking[name].tokens),
    )
