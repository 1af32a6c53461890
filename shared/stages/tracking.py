"""Stages of the analyzer that follow features through a family: parameters and contracts."""

from __future__ import annotations

from pydantic import Field

from shared.stages.analyzer import SERVICE, TOKENS
from shared.stages.base import File, Kind, Parameters
from shared.stages.fields import Context, HeldOutTokens, HookPoint, Layer, MinFirings, Threshold


class ContextsParameters(Parameters):
    """How many contexts and tokens are shown of each feature."""

    hook: HookPoint = "mlp_post"
    layer: Layer
    tokens: HeldOutTokens
    context: Context
    top: int = Field(8, description="Windows of each feature with its highest activations.")
    samples: int = Field(10, description="Windows of each feature drawn from all its firings.")
    window: int = Field(24, description="Tokens of a window, at most a context.")
    logits: int = Field(8, description="Tokens raised, and tokens lowered, for each feature.")


LABEL_SCORES = "positions without the label count as negative in every corpus"

CONTEXTS = Kind(
    name="contexts",
    service=SERVICE,
    version=2,
    does="Finds where each feature fires, and what it does.",
    parameters=ContextsParameters,
    inputs={
        "codes": "codes of the model (`encode`)",
        "tokens/*": TOKENS,
        "tokenizer": "the tokenizer",
        "model": "the model",
        "dictionary": "its dictionary",
    },
    files={
        "contexts.parquet": File(
            "one row a window",
            {
                "feature": "number of the feature",
                "kind": "top or sample",
                "rank": "rank within feature and kind, from 0",
                "bin": "0..9: tenth of the activation range; the maximum is in 9",
                "corpus": "number of the input",
                "position": "token of the stream on which the feature fires",
                "start": "first token of the window in the stream",
                "tokens": "list of str: the window's tokens",
                "activations": "list of float: the feature's activation on each of them",
            },
        ),
        "features.parquet": File(
            "one row a feature",
            {
                "feature": "its number",
                "density": "share of the tokens on which it fires",
                "mean": "mean activation where it fires",
                "max": "highest activation",
                "corpus_*": "share of its firings in each input",
                "positions": "list: share of its firings in each eighth of the context",
                "histogram": "list: firings in ten equal bins of activation",
                "label": "label that it tells best, or null",
                "precision": "of that label, or null",
                "recall": "of that label, or null",
                "f1": "of that label, or null",
            },
        ),
        "labels.parquet": File(
            "one row a pair of feature and label with F1 >= 0.3",
            {
                "feature": "number of the feature",
                "label": "the label",
                "precision": "share of the tokens at or above the threshold that have the label",
                "recall": "share of the tokens with the label that are at or above the threshold",
                "f1": "harmonic mean of both",
                "threshold": "activation from which the feature says the label",
                "support": "number of tokens with the label, in the odd contexts",
            },
        ),
        "logits.parquet": File(
            "direct effect of each decoder direction on the logits: through what follows the hook "
            "point in its layer, the last norm's weight and the unembedding, minus the mean over "
            "the vocabulary",
            {
                "feature": "number of the feature",
                "kind": "raised or lowered",
                "rank": "rank within feature and kind, from 0",
                "token": "str: the token",
                "id": "its id",
                "effect": "float32: the effect on its logit",
            },
        ),
    },
    results={
        "labels": "{label: the best feature's {feature, precision, recall, f1, threshold, "
        "support}, or null}"
    },
    terms={
        "precision, recall, f1": f"measured on the odd contexts of the stream; {LABEL_SCORES}",
        "threshold, best feature": "chosen on the even contexts",
    },
)


class TrackEdge(Parameters):
    """One parent -> child edge, by the numbers of the models."""

    parent: int = Field(description="Number of the parent.")
    child: int = Field(description="Number of the child.")


class TrackParameters(Parameters):
    """The family as numbered models and edges, and what counts as a match."""

    edges: tuple[TrackEdge, ...] = Field(description="Parent -> child edges.")
    ancestors: tuple[TrackEdge, ...] = Field(
        (), description="Pairs of an ancestor and a descendant that is not its child."
    )
    threshold: Threshold
    min_firings: MinFirings
    context: Context
    tokens: HeldOutTokens


TRACK = Kind(
    name="track",
    service=SERVICE,
    version=2,
    does="Follows features through the whole family, and chooses those that the figures show.",
    parameters=TrackParameters,
    inputs={
        "codes/*": "codes of each model (`encode`), ancestors before descendants",
        "contexts/*": "`contexts` of each model, in the same order",
        "match/*?": "`match` of each edge, in the order of `edges`",
        "ancestor/*?": "`match` of each pair, in the order of `ancestors`",
        "tokens/*": TOKENS,
        "tokenizer": "the tokenizer",
    },
    files={
        "universal.parquet": File(
            "one row a universal feature (see terms)",
            {
                "feature_*": "its number in each model",
                "r_*": "correlation of that model's feature with the first model's",
                "weakest_r": "lowest r over the edges",
            },
        ),
        "chains.parquet": File(
            "one row a feature of every model",
            {
                "model": "number of the model",
                "feature": "number of the feature",
                "fate": "list of str: its fates",
            },
        ),
        "figures.json": File(
            "features that the figures show",
            {
                "universal_example": "null or {label, reason, features: [index per model], "
                "correlations: [[r]] model x model, contexts: [{corpus, tokens: [str], "
                "activations: [[per model]]}]}",
                "failing_example": "null or {parent, child (model numbers), feature, closest, r, "
                "label, reason, contexts: [{corpus, tokens, parent: [..], child: [..]}]}",
                "labels": "[{label, model, feature, precision, recall, f1, persists_in: [model "
                "numbers]}], the best feature of each model for each label",
            },
        ),
    },
    results={
        "universal": "number of universal features",
        "labels": "as in figures.json",
        "merges": "[{child, parents: [2], both, only: [2], new, alive}], one for each model of two "
        "parents",
        "regained": "[{ancestor, descendant, persist_direct, persist_path, regained, lost}], one "
        "for each pair of `ancestors`",
        "along": "[{model, alive, new, from_first: features with an unbroken chain of matches from "
        "the root}], one for each model",
    },
    terms={
        "fate universal": "its matches lead along every edge of the family, to one feature of each "
        "model",
        "fate inherited/{parent}": "in a model of two parents: it has a match in that parent only",
        "fate inherited/both": "in a model of two parents: it has a match in both",
        "fate new": "in a model with parents: it has a match in none",
        "fate lost/{descendant}": "of an ancestor: no path of matches leads there, nor a direct "
        "match",
        "fate regained/{descendant}": "no path of matches leads there, but the direct match with "
        "the descendant does",
    },
)
