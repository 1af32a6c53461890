"""Stages that make models: initialise, train and its checkpoints, merge, import; and evaluate."""

from __future__ import annotations

from typing import Literal, cast

from shared.lineage.roles import Role
from shared.plan import estimates
from shared.plan.draft import Draft
from shared.plan.graph import Estimate, numbered
from shared.spec import checkpoint_name
from shared.spec.merges import METHODS
from shared.spec.models import Architecture, Finetune, Import, Merge, Pretrain
from shared.spec.own_settings import passed_on
from shared.stages import trainer
from shared.stages.merger import MergeParameters
from shared.stages.trainer import (
    CheckpointParameters,
    EvaluateParameters,
    ImportParameters,
    InitialiseParameters,
    TrainParameters,
)


def add_model(draft: Draft, name: str) -> None:
    """The model, its checkpoints, and evaluations of them and of the weights it started from."""
    model = draft.spec.models[name]
    if model.pretrain is not None:
        start = _add_initialise(draft, name, model.pretrain)
        draft.roles[Role.untrained(name)] = _add_evaluate(draft, name, start, f"untrained {name}")
        key = _add_train(draft, name, start, model.pretrain)
    elif model.finetune is not None:
        parent = draft.roles[Role.model(model.finetune.parent)]
        key = _add_train(draft, name, parent, model.finetune)
    elif model.merge is not None:
        key = _add_merge(draft, name, model.merge)
    else:
        assert model.import_ is not None
        key = _add_import(draft, name, model.import_)
    for step in model.checkpoints:
        _add_role(draft, name, checkpoint_name(name, step), _add_checkpoint(draft, name, key, step))
    _add_role(draft, name, name, key)


def _add_role(draft: Draft, name: str, member: str, key: str) -> None:
    """Make a stage a member of the family: `name` is the model of the spec that it belongs to."""
    draft.roles[Role.model(member)] = key
    draft.roles[Role.evaluate(member)] = _add_evaluate(draft, name, key, member)


def _add_checkpoint(draft: Draft, name: str, train: str, step: int) -> str:
    return draft.graph.add(
        "checkpoint",
        f"take {name} after step {step}",
        CheckpointParameters(step=step),
        {"train": train},
        estimate=Estimate(bytes=estimates.weights(estimates.size_of(draft.resolved, name))),
    )


def _architecture(shape: Architecture) -> trainer.Architecture:
    return trainer.Architecture.model_validate(shape.model_dump(exclude={"vocab_size"}))


def _add_initialise(draft: Draft, name: str, pretrain: Pretrain) -> str:
    return draft.graph.add(
        "initialise",
        f"initialise {name}",
        InitialiseParameters(
            architecture=_architecture(pretrain.architecture),
            seed=draft.seed("weights", pretrain.seed),
        ),
        {"tokenizer": draft.tokenizer},
        estimate=Estimate(bytes=estimates.weights(estimates.size_of(draft.resolved, name))),
    )


def add_untrained(draft: Draft, name: str) -> str | None:
    """An untrained model of a model's shape, with weights of its own; None for an unknown shape."""
    size = estimates.size_of(draft.resolved, name)
    if size is None:
        return None
    return draft.graph.add(
        "initialise",
        f"initialise an untrained model of the shape of {name}",
        InitialiseParameters(
            architecture=_architecture(size.shape), seed=draft.seed("unrelated weights")
        ),
        {"tokenizer": draft.tokenizer},
        estimate=Estimate(bytes=estimates.weights(size)),
    )


def _add_train(draft: Draft, name: str, start: str, training: Pretrain | Finetune) -> str:
    parameters = TrainParameters(
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
        checkpoints=training.checkpoints,
    )
    size = estimates.size_of(draft.resolved, name)
    return draft.graph.add(
        "train",
        f"train {name}",
        parameters,
        {"model": start, **numbered("tokens", draft.tokens_of(training.corpora))},
        estimate=estimates.train(
            size, _trained_tokens(draft, training), copies=1 + len(training.checkpoints)
        ),
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
        MergeParameters(method=merge.method, t=merge.t, **passed_on(METHODS[merge.method], merge)),
        {
            "at_zero": draft.roles[Role.model(merge.at_zero)],
            "at_one": draft.roles[Role.model(merge.at_one)],
        },
        estimate=Estimate(bytes=estimates.weights(estimates.size_of(draft.resolved, name))),
    )


def _add_import(draft: Draft, name: str, source: Import) -> str:
    parameters = ImportParameters(hub=source.hub, revision=source.revision)
    if source.upload is not None:
        upload = draft.resolved.uploads[source.upload]
        form = cast(Literal["zip", "tar"], upload.format)
        parameters = ImportParameters(upload=upload.digest, format=form)
    return draft.graph.add(
        "import",
        f"import {name}",
        parameters,
        {"tokenizer": draft.tokenizer},
        uploads=[parameters.upload] if parameters.upload is not None else (),
        estimate=Estimate(bytes=estimates.weights(estimates.size_of(draft.resolved, name))),
    )


def held_out(draft: Draft, corpora: tuple[str, ...], limit: int | None) -> int | None:
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
    tokens = held_out(draft, corpora, limit)
    flops = estimates.forward(estimates.size_of(draft.resolved, name), tokens)
    return draft.graph.add(
        "evaluate",
        f"evaluate {what}",
        EvaluateParameters(max_tokens=limit),
        {"model": model, **numbered("tokens", draft.tokens_of(corpora))},
        estimate=Estimate(tokens=tokens, flops=flops),
    )
