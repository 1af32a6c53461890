"""From a resolved spec to its stages, one function a kind of thing in the spec. Pure, no I/O.

Which inputs a stage has, and in which order, is said in shared.stages.kinds.
"""

from __future__ import annotations

from typing import Literal, cast

from shared.lineage.roles import Role
from shared.plan import estimates
from shared.plan.dictionaries import add_dictionaries
from shared.plan.draft import Draft
from shared.plan.explain import add_explanations
from shared.plan.graph import Estimate, Plan, numbered
from shared.plan.models import add_model, held_out
from shared.plan.report import add_report
from shared.plan.stability import add_stability
from shared.plan.tracking import add_tracking
from shared.resolve.resolved import ResolvedSpec
from shared.spec import topological
from shared.spec.corpora import Corpus
from shared.spec.merges import METHODS
from shared.spec.own_settings import passed_on
from shared.stages.merger import SweepParameters
from shared.stages.trainer import (
    BuiltinSource,
    CorpusParameters,
    HubSource,
    PretrainedTokenizer,
    TokenizerParameters,
    TokensParameters,
    TrainedTokenizer,
    UploadedTokenizer,
    UploadSource,
)


def make_plan(resolved: ResolvedSpec) -> Plan:
    """The DAG of stages of an experiment: inputs before the stages that need them, report last."""
    draft = Draft(resolved)
    for name in resolved.spec.corpora:
        _add_corpus(draft, name)
    _add_tokenizer(draft)
    for name in resolved.spec.corpora:
        _add_tokens(draft, name)
    for name in topological(resolved.spec):
        add_model(draft, name)
    for name in resolved.spec.sweeps:
        _add_sweep(draft, name)
    for name in resolved.spec.dictionaries:
        add_dictionaries(draft, name)
    for name in resolved.spec.tracking:
        add_tracking(draft, name)
        add_explanations(draft, name)
    for name in resolved.spec.stability:
        add_stability(draft, name)
    add_report(draft)
    return Plan(
        name=resolved.spec.name, provisional=resolved.provisional, stages=draft.graph.stages()
    )


# ------------------------------------------------------------------------------- corpora


def _source(resolved: ResolvedSpec, corpus: Corpus) -> HubSource | UploadSource | BuiltinSource:
    if corpus.hub is not None:
        return HubSource(
            name=corpus.hub,
            revision=corpus.revision or "",
            config=corpus.config,
            split=corpus.split,
            text_column=corpus.text_column,
        )
    if corpus.upload is not None:
        upload = resolved.uploads[corpus.upload]
        form = cast(Literal["jsonl", "parquet", "text", "zip", "tar"], upload.format)
        return UploadSource(digest=upload.digest, format=form, text_column=corpus.text_column)
    assert corpus.builtin is not None
    return BuiltinSource(name=corpus.builtin, digest=resolved.builtins[corpus.builtin].digest)


def _add_corpus(draft: Draft, name: str) -> None:
    corpus = draft.spec.corpora[name]
    source = _source(draft.resolved, corpus)
    draft.roles[Role.corpus(name)] = draft.graph.add(
        "corpus",
        f"read {name}",
        CorpusParameters(
            source=source,
            fraction=corpus.fraction,
            max_bytes=corpus.byte_limit,
            validation=corpus.validation,
            seed=draft.seed("corpus"),
        ),
        {},
        uploads=[source.digest] if isinstance(source, UploadSource) else (),
        estimate=Estimate(bytes=estimates.corpus_bytes(draft.resolved, corpus)),
    )


def _add_tokenizer(draft: Draft) -> None:
    tokenizer, resolved = draft.spec.tokenizer, draft.resolved
    how: TrainedTokenizer | PretrainedTokenizer | UploadedTokenizer
    inputs: dict[str, str] = {}
    uploads: list[str] = []
    if tokenizer.train is not None:
        how = TrainedTokenizer(
            vocab_size=tokenizer.train.vocab_size, max_bytes=tokenizer.train.max_bytes
        )
        inputs = numbered("corpus", [draft.roles[Role.corpus(c)] for c in tokenizer.train.corpora])
    elif tokenizer.pretrained is not None:
        how = PretrainedTokenizer(name=tokenizer.pretrained, revision=tokenizer.revision or "")
    else:
        assert tokenizer.upload is not None
        uploads = [resolved.uploads[tokenizer.upload].digest]
        how = UploadedTokenizer(digest=uploads[0])
    title = "train tokenizer" if tokenizer.train else "fetch tokenizer"
    draft.tokenizer = draft.graph.add(
        "tokenizer", title, TokenizerParameters(tokenizer=how), inputs, uploads=uploads
    )


def _add_tokens(draft: Draft, name: str) -> None:
    corpus = draft.spec.corpora[name]
    tokens = estimates.total(*estimates.corpus_tokens(draft.resolved, corpus))
    vocabulary = draft.resolved.vocab_size
    width = 2 if vocabulary is None or vocabulary <= 1 << 16 else 4
    draft.roles[Role.tokens(name)] = draft.graph.add(
        "tokens",
        f"tokenise {name}",
        TokensParameters(block=draft.spec.block, max_tokens=corpus.token_limit),
        {"corpus": draft.roles[Role.corpus(name)], "tokenizer": draft.tokenizer},
        estimate=Estimate(tokens=tokens, bytes=None if tokens is None else width * tokens),
    )


# -------------------------------------------------------------------------------- sweeps


def _add_sweep(draft: Draft, name: str) -> None:
    sweep, limit = draft.spec.sweeps[name], draft.spec.evaluate_tokens
    tokens = held_out(draft, sweep.evaluate_on, limit)
    read = None if tokens is None else sweep.steps * tokens
    flops = estimates.forward(estimates.size_of(draft.resolved, sweep.at_zero), read)
    draft.roles[Role.sweep(name)] = draft.graph.add(
        "sweep",
        f"sweep from {sweep.at_zero} (t = 0) to {sweep.at_one} (t = 1)",
        SweepParameters(
            method=sweep.method,
            steps=sweep.steps,
            max_tokens=limit,
            **passed_on(METHODS[sweep.method], sweep),
        ),
        {
            "at_zero": draft.roles[Role.model(sweep.at_zero)],
            "at_one": draft.roles[Role.model(sweep.at_one)],
            **numbered("tokens", draft.tokens_of(sweep.evaluate_on)),
        },
        estimate=Estimate(tokens=read, flops=flops),
    )
