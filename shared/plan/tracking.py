"""Stages that follow features along the lineage, with their controls."""

from __future__ import annotations

from dataclasses import dataclass

from shared.lineage.roles import Role
from shared.plan import estimates
from shared.plan.dictionaries import add_started, features_of
from shared.plan.draft import Draft
from shared.plan.graph import Estimate, numbered
from shared.plan.models import add_untrained
from shared.spec import ancestor_pairs, group_edges, group_models, shares_basis
from shared.spec.dictionaries import Dictionaries
from shared.spec.tracking import ANCESTOR_PAIRS, Tracking
from shared.stages.analyzer import EncodeParameters, LatentScalingParameters, MatchParameters
from shared.stages.tracking import ContextsParameters, TrackEdge, TrackParameters

OTHER_ORDER = 1000  # added to the seed of a warm start's control: the same data in another order


@dataclass(frozen=True)
class Coded:
    """A stream of codes: whose they are, by which dictionary, and the stages of all three.

    `member` is the model whose basis they live in.
    """

    codes: str
    dictionary: str
    member: str


def add_tracking(draft: Draft, name: str) -> None:
    """Encode every model, match along every edge, with the controls; then chains and contexts."""
    tracking = draft.spec.tracking[name]
    models = group_models(draft.spec, tracking.dictionary)
    edges = group_edges(draft.spec, tracking.dictionary)
    pairs = _ancestors(draft, tracking)
    for model in models:
        _add_codes(draft, name, model, 0)
    for parent, child in edges:
        _add_match(draft, name, Role.match(name, parent, child), (parent, 0), (child, 0))
    for old, new in pairs:
        _add_match(draft, name, Role.ancestor(name, old, new), (old, 0), (new, 0))
    _add_seeds(draft, name, models, edges)
    if draft.spec.dictionaries[tracking.dictionary].init == "parent":
        for model in dict.fromkeys(parent for parent, _ in edges):
            _add_warm(draft, name, model)
    for model in models:
        _add_contexts(draft, name, model)
    if tracking.controls.latent_scaling:
        for parent, child in edges:
            _add_scaling(draft, name, parent, child)
    _add_track(draft, name, models, edges, pairs)


def _ancestors(draft: Draft, tracking: Tracking) -> tuple[tuple[str, str], ...]:
    """Pairs that are compared beside the edges."""
    pairs = ancestor_pairs(draft.spec, tracking.dictionary)
    wanted = tracking.ancestors
    return pairs if wanted or (wanted is None and len(pairs) <= ANCESTOR_PAIRS) else ()


def _group(draft: Draft, name: str) -> Dictionaries:
    return draft.spec.dictionaries[draft.spec.tracking[name].dictionary]


# --------------------------------------------------------------------------------- codes


def _add_codes(draft: Draft, name: str, model: str, replicate: int) -> None:
    number = _group(draft, name).seeds[replicate]
    draft.codes[name, model, replicate] = _encode(
        draft,
        name,
        f"encode {model}, seed {number}",
        model,
        draft.roles[Role.model(model)],
        _dictionary(draft, name, model, replicate),
    )


def _dictionary(draft: Draft, name: str, model: str, replicate: int) -> str:
    group = draft.spec.tracking[name].dictionary
    return draft.roles[Role.dictionary(group, model, replicate)]


def _encode(draft: Draft, name: str, title: str, like: str, model: str, dictionary: str) -> str:
    """The codes of a model (a key) of the shape of `like` (a name) by a dictionary."""
    tracking, group = draft.spec.tracking[name], _group(draft, name)
    size = estimates.size_of(draft.resolved, like)
    return draft.graph.add(
        "encode",
        title,
        EncodeParameters(
            hook=group.hook, layer=group.layer, tokens=tracking.tokens, context=group.context
        ),
        {
            "model": model,
            "dictionary": dictionary,
            **numbered("tokens", draft.tokens_of(tracking.corpora)),
        },
        estimate=estimates.encode(group, size, tracking.tokens, features_of(draft, group, like)),
    )


# ------------------------------------------------------------------------------- matches


def _add_match(
    draft: Draft, name: str, role: Role, parent: tuple[str, int], child: tuple[str, int]
) -> None:
    """A match for a role of the report, between the codes of two (model, replicate)."""
    ends = [
        Coded(draft.codes[name, *end], _dictionary(draft, name, *end), end[0])
        for end in (parent, child)
    ]
    titles = {
        "match": f"match {parent[0]} -> {child[0]}",
        "ancestor": f"match ancestor {parent[0]} -> {child[0]}",
        "crossed": f"match {parent[0]} -> {child[0]}, crossed seeds",
        "ceiling": f"match two seeds of {parent[0]} (ceiling)",
    }
    null = role.kind in ("match", "ancestor")
    draft.roles[role] = _match(draft, name, titles[role.kind], ends[0], ends[1], null=null)


def _match(draft: Draft, name: str, title: str, parent: Coded, child: Coded, *, null: bool) -> str:
    tracking = draft.spec.tracking[name]
    controls = tracking.controls
    inputs = {"parent": parent.codes, "child": child.codes}
    if parent.member and child.member and shares_basis(draft.spec, parent.member, child.member):
        inputs |= {"parent_dictionary": parent.dictionary, "child_dictionary": child.dictionary}
    return draft.graph.add(
        "match",
        title,
        MatchParameters(
            threshold=tracking.threshold,
            min_firings=tracking.min_firings,
            shifts=controls.shifts if null and controls.null else 0,
            resamples=controls.resamples,
        ),
        inputs,
        estimate=Estimate(tokens=tracking.tokens),
    )


def _add_seeds(
    draft: Draft, name: str, models: tuple[str, ...], edges: tuple[tuple[str, str], ...]
) -> None:
    """Ceilings and crossed matches, which need a second seed: by default where there is one."""
    controls = draft.spec.tracking[name].controls
    if len(_group(draft, name).seeds) < 2:
        return
    ceilings = controls.seeds is not False
    crossed = ceilings if controls.crossed is None else controls.crossed
    ends = [*(models if ceilings else ()), *(child for _, child in edges if crossed)]
    for model in dict.fromkeys(ends):
        _add_codes(draft, name, model, 1)
    if ceilings:
        for model in models:
            _add_match(draft, name, Role.ceiling(name, model), (model, 0), (model, 1))
    if crossed:
        for parent, child in edges:
            _add_match(draft, name, Role.crossed(name, parent, child), (parent, 0), (child, 1))


def _add_warm(draft: Draft, name: str, model: str) -> None:
    """What a common start alone explains: see shared.lineage.roles, `warm` and `unrelated`."""
    group, itself = draft.spec.tracking[name].dictionary, draft.roles[Role.model(model)]
    own = Coded(draft.codes[name, model, 0], _dictionary(draft, name, model, 0), model)
    what = f"of {model} in another order"
    started = add_started(draft, group, model, itself, what, OTHER_ORDER)
    codes = _encode(draft, name, f"encode {model}, started again", model, itself, started)
    title = f"match {model} with itself, started again (ceiling)"
    draft.roles[Role.warm(name, model)] = _match(
        draft, name, title, own, Coded(codes, started, model), null=False
    )
    untrained = add_untrained(draft, model)
    if untrained is None:
        return
    started = add_started(draft, group, model, untrained, "of an untrained model")
    title = f"encode an untrained model, started from {model}"
    codes = _encode(draft, name, title, model, untrained, started)
    title = f"match {model} with an untrained model (floor)"
    draft.roles[Role.unrelated(name, model)] = _match(
        draft, name, title, own, Coded(codes, started, ""), null=False
    )


def _add_scaling(draft: Draft, name: str, parent: str, child: str) -> None:
    tracking, group = draft.spec.tracking[name], _group(draft, name)
    draft.roles[Role.scaling(name, parent, child)] = draft.graph.add(
        "latent_scaling",
        f"look for changed features of {parent} -> {child} in the other model",
        LatentScalingParameters(
            hook=group.hook,
            layer=group.layer,
            tokens=tracking.tokens,
            context=group.context,
            same_basis=shares_basis(draft.spec, parent, child),
        ),
        {
            "parent": draft.roles[Role.model(parent)],
            "child": draft.roles[Role.model(child)],
            "parent_dictionary": _dictionary(draft, name, parent, 0),
            "child_dictionary": _dictionary(draft, name, child, 0),
            "parent_codes": draft.codes[name, parent, 0],
            "child_codes": draft.codes[name, child, 0],
            "match": draft.roles[Role.match(name, parent, child)],
            **numbered("tokens", draft.tokens_of(tracking.corpora)),
        },
        estimate=estimates.latent_scaling(
            group, estimates.size_of(draft.resolved, parent), tracking.tokens
        ),
    )


# -------------------------------------------------------------------- contexts and chains


def _add_contexts(draft: Draft, name: str, model: str) -> None:
    tracking, group = draft.spec.tracking[name], _group(draft, name)
    draft.roles[Role.contexts(name, model)] = draft.graph.add(
        "contexts",
        f"find contexts of {model}",
        ContextsParameters(
            hook=group.hook, layer=group.layer, tokens=tracking.tokens, context=group.context
        ),
        {
            "codes": draft.codes[name, model, 0],
            "model": draft.roles[Role.model(model)],
            "dictionary": _dictionary(draft, name, model, 0),
            "tokenizer": draft.tokenizer,
            **numbered("tokens", draft.tokens_of(tracking.corpora)),
        },
        estimate=Estimate(tokens=tracking.tokens),
    )


def _add_track(
    draft: Draft,
    name: str,
    models: tuple[str, ...],
    edges: tuple[tuple[str, str], ...],
    pairs: tuple[tuple[str, str], ...],
) -> None:
    tracking = draft.spec.tracking[name]
    place = {model: number for number, model in enumerate(models)}
    draft.roles[Role.track(name)] = draft.graph.add(
        "track",
        f"track {name}",
        TrackParameters(
            edges=tuple(TrackEdge(parent=place[a], child=place[b]) for a, b in edges),
            ancestors=tuple(TrackEdge(parent=place[a], child=place[b]) for a, b in pairs),
            threshold=tracking.threshold,
            min_firings=tracking.min_firings,
            context=_group(draft, name).context,
            tokens=tracking.tokens,
        ),
        {
            **numbered("codes", [draft.codes[name, model, 0] for model in models]),
            **numbered("contexts", [draft.roles[Role.contexts(name, m)] for m in models]),
            **numbered("match", [draft.roles[Role.match(name, a, b)] for a, b in edges]),
            **numbered("ancestor", [draft.roles[Role.ancestor(name, a, b)] for a, b in pairs]),
            **numbered("tokens", draft.tokens_of(tracking.corpora)),
            "tokenizer": draft.tokenizer,
        },
        estimate=Estimate(tokens=tracking.tokens),
    )
