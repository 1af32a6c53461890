"""Stages that follow features along the lineage, and the report that gathers everything."""

from __future__ import annotations

from shared import parameters as p
from shared.plan import estimates
from shared.plan.draft import Draft
from shared.plan.graph import Estimate, numbered
from shared.spec import group_models, lineage_edges
from shared.spec.dictionaries import Tracking

# Of these roles a report reads the results in the manifests, not the files.
LIGHT_ROLES = ("model/", "corpus/", "tokens/", "dictionary/", "quality/")
# The null control rolls the child's stream by this share of the tokens. No simple fraction: where
# a corpus runs short the stream is a half or a third as long as asked for, and a roll by as much
# would bring it back to where it was.
NULL_SHIFT = 0.382


def add_tracking(draft: Draft, name: str) -> None:
    """Encode every model, match along every edge, with the controls; then chains and contexts."""
    tracking = draft.spec.tracking[name]
    models = group_models(draft.spec, tracking.dictionary)
    edges = [e for e in lineage_edges(draft.spec) if e[0] in models and e[1] in models]
    for model in models:
        _add_codes(draft, name, model, 0)
    for parent, child in edges:
        _add_edge(draft, name, parent, child)
    if compares_seeds(draft, tracking):
        for model in models:
            _add_codes(draft, name, model, 1)
            _add_match(draft, name, f"ceiling/{name}/{model}", (model, 0), (model, 1))
    for model in models:
        _add_contexts(draft, name, model)
    _add_track(draft, name, models, edges)


def compares_seeds(draft: Draft, tracking: Tracking) -> bool:
    """Whether the ceiling is computed: unless it is not wanted, where there are two seeds."""
    enough = len(draft.spec.dictionaries[tracking.dictionary].seeds) > 1
    return enough and tracking.controls.seeds is not False


def _add_codes(draft: Draft, name: str, model: str, replicate: int) -> None:
    tracking = draft.spec.tracking[name]
    group = draft.spec.dictionaries[tracking.dictionary]
    size = estimates.size_of(draft.resolved, model)
    draft.codes[name, model, replicate] = draft.graph.add(
        "encode",
        f"encode {model}, seed {group.seeds[replicate]}",
        p.EncodeParameters(
            hook=group.hook, layer=group.layer, tokens=tracking.tokens, context=group.context
        ),
        {
            "model": draft.roles[f"model/{model}"],
            "dictionary": draft.roles[f"dictionary/{tracking.dictionary}/{model}/{replicate}"],
            **numbered("tokens", draft.tokens_of(tracking.corpora)),
        },
        estimate=estimates.encode(group, size, tracking.tokens),
    )


def _add_edge(draft: Draft, name: str, parent: str, child: str) -> None:
    _add_match(draft, name, f"match/{name}/{parent}/{child}", (parent, 0), (child, 0))
    if draft.spec.tracking[name].controls.null:
        _add_match(draft, name, f"null/{name}/{parent}/{child}", (parent, 0), (child, 0))


def _add_match(
    draft: Draft, name: str, role: str, parent: tuple[str, int], child: tuple[str, int]
) -> None:
    """A match for a role of the report: along an edge, against chance, or between two seeds."""
    tracking = draft.spec.tracking[name]
    kind = role.split("/", 1)[0]
    titles = {
        "match": f"match {parent[0]} -> {child[0]}",
        "null": f"match {parent[0]} -> {child[0]} shifted (null)",
        "ceiling": f"match two seeds of {parent[0]} (ceiling)",
    }
    draft.roles[role] = draft.graph.add(
        "match",
        titles[kind],
        p.MatchParameters(
            threshold=tracking.threshold,
            min_firings=tracking.min_firings,
            shift=max(1, int(NULL_SHIFT * tracking.tokens)) if kind == "null" else 0,
        ),
        {"parent": draft.codes[name, *parent], "child": draft.codes[name, *child]},
        estimate=Estimate(tokens=tracking.tokens),
    )


def _add_contexts(draft: Draft, name: str, model: str) -> None:
    tracking = draft.spec.tracking[name]
    draft.roles[f"contexts/{name}/{model}"] = draft.graph.add(
        "contexts",
        f"find contexts of {model}",
        p.ContextsParameters(
            tokens=tracking.tokens,
            context=draft.spec.dictionaries[tracking.dictionary].context,
        ),
        {
            "codes": draft.codes[name, model, 0],
            "tokenizer": draft.tokenizer,
            **numbered("tokens", draft.tokens_of(tracking.corpora)),
        },
        estimate=Estimate(tokens=tracking.tokens),
    )


def _add_track(
    draft: Draft, name: str, models: tuple[str, ...], edges: list[tuple[str, str]]
) -> None:
    tracking = draft.spec.tracking[name]
    numbers = {model: number for number, model in enumerate(models)}
    draft.roles[f"track/{name}"] = draft.graph.add(
        "track",
        f"track {name}",
        p.TrackParameters(
            edges=tuple(p.TrackEdge(parent=numbers[a], child=numbers[b]) for a, b in edges),
            threshold=tracking.threshold,
            min_firings=tracking.min_firings,
            context=draft.spec.dictionaries[tracking.dictionary].context,
            tokens=tracking.tokens,
        ),
        {
            **numbered("codes", [draft.codes[name, model, 0] for model in models]),
            **numbered("contexts", [draft.roles[f"contexts/{name}/{m}"] for m in models]),
            **numbered("match", [draft.roles[f"match/{name}/{a}/{b}"] for a, b in edges]),
            **numbered("tokens", draft.tokens_of(tracking.corpora)),
            "tokenizer": draft.tokenizer,
        },
        estimate=Estimate(tokens=tracking.tokens),
    )


def add_report(draft: Draft) -> None:
    """The report over everything that was added before."""
    spec = draft.spec
    roles = draft.roles
    draft.graph.add(
        "report",
        "write report",
        p.ReportParameters(
            spec=spec.model_dump(mode="json", exclude_none=True),
            models={
                name: group_models(spec, tracking.dictionary)
                for name, tracking in spec.tracking.items()
            },
            edges=lineage_edges(spec),
            corpora=tuple(spec.corpora),
        ),
        roles,
        light=[role for role in roles if role.startswith(LIGHT_ROLES)],
    )
