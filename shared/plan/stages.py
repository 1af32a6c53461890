"""From a resolved spec to its stages, one function a kind of thing in the spec. Pure, no I/O.

Which inputs a stage has, and in which order, is said in shared.parameters.
"""

from __future__ import annotations

from typing import Literal, cast

from shared import parameters as p
from shared.plan import estimates
from shared.plan.dictionaries import add_dictionaries
from shared.plan.draft import Draft
from shared.plan.graph import Estimate, Plan, numbered
from shared.plan.tracking import add_report, add_tracking
from shared.resolved import ResolvedSpec
from shared.spec import topological
from shared.spec.corpora import Corpus
from shared.spec.models import Architecture, Finetune, Import, Merge, Pretrain


def make_plan(resolved: ResolvedSpec) -> Plan:
    """The DAG of stages of an experiment: inputs before the stages that need them, report last."""
    draft = Draft(resolved)
    for name in resolved.spec.corpora:
        _add_corpus(draft, name)
    _add_tokenizer(draft)
    for name in resolved.spec.corpora:
        _add_tokens(draft, name)
    for name in topological(resolved.spec):
        _add_model(draft, name)
    for name in resolved.spec.sweeps:
        _add_sweep(draft, name)
    for name in resolved.spec.dictionaries:
        add_dictionaries(draft, name)
    for name in resolved.spec.tracking:
        add_tracking(draft, name)
    add_report(draft)
    return Plan(
        name=resolved.spec.name, provisional=resolved.provisional, stages=draft.graph.stages()
    )


# ------------------------------------------------------------------------------- corpora


def _source(
    resolved: ResolvedSpec, corpus: Corpus
) -> p.HubSource | p.UploadSource | p.BuiltinSource:
    if corpus.hub is not None:
        return p.HubSource(
            name=corpus.hub,
            revision=corpus.revision or "",
            config=corpus.config,
            split=corpus.split,
            text_column=corpus.text_column,
        )
    if corpus.upload is not None:
        upload = resolved.uploads[corpus.upload]
        form = cast(Literal["jsonl", "parquet", "text", "zip", "tar"], upload.format)
        return p.UploadSource(digest=upload.digest, format=form, text_column=corpus.text_column)
    assert corpus.builtin is not None
    return p.BuiltinSource(name=corpus.builtin, digest=resolved.builtins[corpus.builtin].digest)


def _add_corpus(draft: Draft, name: str) -> None:
    corpus = draft.spec.corpora[name]
    source = _source(draft.resolved, corpus)
    draft.roles[f"corpus/{name}"] = draft.graph.add(
        "corpus",
        f"read {name}",
        p.CorpusParameters(
            source=source,
            fraction=corpus.fraction,
            max_bytes=corpus.byte_limit,
            validation=corpus.validation,
            seed=draft.seed("corpus"),
        ),
        {},
        uploads=[source.digest] if isinstance(source, p.UploadSource) else (),
        estimate=Estimate(bytes=estimates.corpus_bytes(draft.resolved, corpus)),
    )


def _add_tokenizer(draft: Draft) -> None:
    tokenizer, resolved = draft.spec.tokenizer, draft.resolved
    how: p.TrainedTokenizer | p.PretrainedTokenizer | p.UploadedTokenizer
    inputs: dict[str, str] = {}
    uploads: list[str] = []
    if tokenizer.train is not None:
        how = p.TrainedTokenizer(
            vocab_size=tokenizer.train.vocab_size, max_bytes=tokenizer.train.max_bytes
        )
        inputs = numbered("corpus", [draft.roles[f"corpus/{c}"] for c in tokenizer.train.corpora])
    elif tokenizer.pretrained is not None:
        how = p.PretrainedTokenizer(name=tokenizer.pretrained, revision=tokenizer.revision or "")
    else:
        assert tokenizer.upload is not None
        uploads = [resolved.uploads[tokenizer.upload].digest]
        how = p.UploadedTokenizer(digest=uploads[0])
    title = "train tokenizer" if tokenizer.train else "fetch tokenizer"
    draft.tokenizer = draft.graph.add(
        "tokenizer", title, p.TokenizerParameters(tokenizer=how), inputs, uploads=uploads
    )


def _add_tokens(draft: Draft, name: str) -> None:
    corpus = draft.spec.corpora[name]
    tokens = estimates.total(*estimates.corpus_tokens(draft.resolved, corpus))
    vocabulary = draft.resolved.vocab_size
    width = 2 if vocabulary is None or vocabulary <= 1 << 16 else 4
    draft.roles[f"tokens/{name}"] = draft.graph.add(
        "tokens",
        f"tokenise {name}",
        p.TokensParameters(block=draft.spec.block, max_tokens=corpus.token_limit),
        {"corpus": draft.roles[f"corpus/{name}"], "tokenizer": draft.tokenizer},
        estimate=Estimate(tokens=tokens, bytes=None if tokens is None else width * tokens),
    )


# -------------------------------------------------------------------------------- models


def _add_model(draft: Draft, name: str) -> None:
    """The model, its evaluation on every corpus, and that of the weights it started from."""
    model = draft.spec.models[name]
    if model.pretrain is not None:
        start = _add_initialise(draft, name, model.pretrain)
        draft.roles[f"untrained/{name}"] = _add_evaluate(draft, name, start, f"untrained {name}")
        key = _add_train(draft, name, start, model.pretrain)
    elif model.finetune is not None:
        parent = draft.roles[f"model/{model.finetune.parent}"]
        key = _add_train(draft, name, parent, model.finetune)
    elif model.merge is not None:
        key = _add_merge(draft, name, model.merge)
    else:
        assert model.import_ is not None
        key = _add_import(draft, name, model.import_)
    draft.roles[f"model/{name}"] = key
    draft.roles[f"evaluate/{name}"] = _add_evaluate(draft, name, key, name)


def _architecture(shape: Architecture) -> p.Architecture:
    return p.Architecture.model_validate(shape.model_dump(exclude={"vocab_size"}))


def _add_initialise(draft: Draft, name: str, pretrain: Pretrain) -> str:
    return draft.graph.add(
        "initialise",
        f"initialise {name}",
        p.InitialiseParameters(
            architecture=_architecture(pretrain.architecture),
            seed=draft.seed("weights", pretrain.seed),
        ),
        {"tokenizer": draft.tokenizer},
        estimate=Estimate(bytes=estimates.weights(estimates.size_of(draft.resolved, name))),
    )


def _add_train(draft: Draft, name: str, start: str, training: Pretrain | Finetune) -> str:
    parameters = p.TrainParameters(
        epochs=training.epochs,
        max_steps=training.max_steps,
        batch=training.batch,
        block=draft.spec.block,
        learning_rate=training.learning_rate,
        schedule=training.schedule,
        warmup_steps=training.warmup_steps,
        weight_decay=training.weight_decay,
        betas=training.betas,
        gradient_clip=training.gradient_clip,
        precision=training.precision,
        seed=draft.seed("order", training.seed),
    )
    size = estimates.size_of(draft.resolved, name)
    return draft.graph.add(
        "train",
        f"train {name}",
        parameters,
        {"model": start, **numbered("tokens", draft.tokens_of(training.corpora))},
        estimate=estimates.train(size, _trained_tokens(draft, training)),
    )


def _trained_tokens(draft: Draft, training: Pretrain | Finetune) -> int | None:
    corpora = [draft.spec.corpora[name] for name in training.corpora]
    once = estimates.total(*(estimates.corpus_tokens(draft.resolved, c)[0] for c in corpora))
    limits = [] if once is None else [round(training.epochs * once)]
    if training.max_steps is not None:
        limits.append(training.max_steps * training.batch * draft.spec.block)
    return min(limits) if limits else None


def _add_merge(draft: Draft, name: str, merge: Merge) -> str:
    return draft.graph.add(
        "merge",
        f"merge {merge.at_zero} (t = 0) and {merge.at_one} (t = 1) at t = {merge.t:g}",
        p.MergeParameters(method=merge.method, t=merge.t),
        {
            "at_zero": draft.roles[f"model/{merge.at_zero}"],
            "at_one": draft.roles[f"model/{merge.at_one}"],
        },
        estimate=Estimate(bytes=estimates.weights(estimates.size_of(draft.resolved, name))),
    )


def _add_import(draft: Draft, name: str, source: Import) -> str:
    parameters = p.ImportParameters(hub=source.hub, revision=source.revision)
    if source.upload is not None:
        upload = draft.resolved.uploads[source.upload]
        form = cast(Literal["zip", "tar"], upload.format)
        parameters = p.ImportParameters(upload=upload.digest, format=form)
    return draft.graph.add(
        "import",
        f"import {name}",
        parameters,
        {"tokenizer": draft.tokenizer},
        uploads=[parameters.upload] if parameters.upload is not None else (),
        estimate=Estimate(bytes=estimates.weights(estimates.size_of(draft.resolved, name))),
    )


def _held_out(draft: Draft, corpora: tuple[str, ...], limit: int | None) -> int | None:
    """Validation tokens of some corpora, at most `limit` of each; None when not known."""
    found = []
    for name in corpora:
        tokens = estimates.corpus_tokens(draft.resolved, draft.spec.corpora[name])[1]
        known = [one for one in (tokens, limit) if one is not None]
        found.append(min(known) if known else None)
    return estimates.total(*found)


def _add_evaluate(draft: Draft, name: str, model: str, what: str) -> str:
    """Evaluation of a model on all corpora of the experiment, in the order of the spec."""
    corpora, limit = tuple(draft.spec.corpora), draft.spec.evaluate_tokens
    tokens = _held_out(draft, corpora, limit)
    flops = estimates.forward(estimates.size_of(draft.resolved, name), tokens)
    return draft.graph.add(
        "evaluate",
        f"evaluate {what}",
        p.EvaluateParameters(max_tokens=limit),
        {"model": model, **numbered("tokens", draft.tokens_of(corpora))},
        estimate=Estimate(tokens=tokens, flops=flops),
    )


def _add_sweep(draft: Draft, name: str) -> None:
    sweep, limit = draft.spec.sweeps[name], draft.spec.evaluate_tokens
    tokens = _held_out(draft, sweep.evaluate_on, limit)
    read = None if tokens is None else sweep.steps * tokens
    flops = estimates.forward(estimates.size_of(draft.resolved, sweep.at_zero), read)
    draft.roles[f"sweep/{name}"] = draft.graph.add(
        "sweep",
        f"sweep from {sweep.at_zero} (t = 0) to {sweep.at_one} (t = 1)",
        p.SweepParameters(method=sweep.method, steps=sweep.steps, max_tokens=limit),
        {
            "at_zero": draft.roles[f"model/{sweep.at_zero}"],
            "at_one": draft.roles[f"model/{sweep.at_one}"],
            **numbered("tokens", draft.tokens_of(sweep.evaluate_on)),
        },
        estimate=Estimate(tokens=read, flops=flops),
    )
