"""Stages of the analyzer that explain features: parameters and contracts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.lineage.explanations.methods import MethodName
from shared.lineage.explanations.scores import MEANS, SCORES
from shared.stages.analyzer import SERVICE, TOKENS
from shared.stages.base import File, Kind, Parameters
from shared.stages.fields import Context, HeldOutTokens, MinFirings

BY_METHOD = (
    "`rule` needs no language model and chooses by rules over tokens, what stands before them, "
    "their position and corpus; `language_model` asks one."
)
MEAN = "mean over those measured; null of none"


class LanguageModel(Parameters):
    """Whom the prompts of an explanation go to, by what a key may know of it."""

    endpoint: str = Field(
        description="sha256 (hexadecimal) of the address and the model's name, which are settings "
        "of the servers."
    )
    label: str = Field(
        description="What their operator calls it, and all that a report says of it."
    )
    prompts: str = Field(description="sha256 over the prompt files of this project.")
    requests: int | None = Field(description="Requests that one stage may spend; None: no limit.")
    tokens: int | None = Field(
        description="Tokens that one stage may spend, prompt and completion together; None: no "
        "limit."
    )


class ExplainParameters(Parameters):
    """Which features are explained, how, and on what the explanations are scored.

    The same features, windows and seed for both methods. Even contexts of the stream give
    examples, odd ones the held-out windows.
    """

    method: MethodName = Field(description=BY_METHOD)
    model: int = Field(description="Number of the model in the order of the `track` stage.")
    features: int | None = Field(
        description="How many are chosen of each status, by seed and spread over the densities of "
        "that status; None: every live feature."
    )
    min_firings: MinFirings
    context: Context
    tokens: HeldOutTokens
    window: int = Field(32, description="Tokens of a held-out window.")
    examples: int = Field(12, description="Examples of each feature.")
    active_windows: int = Field(
        10,
        description="Held-out windows where the feature fires, spread over ten equal bins of its "
        "activation.",
    )
    random_windows: int = Field(
        10,
        description="Held-out windows drawn without looking, so that tokens on which it is silent "
        "count too.",
    )
    seed: Annotated[int, Field(description="Seed of the choice of features and windows.")]
    language_model: LanguageModel | None = Field(
        None, description="The language model that is asked; None for rules."
    )


EXPLAIN = Kind(
    name="explain",
    service=SERVICE,
    version=1,
    does="Names features of one model, and measures how well the names predict the activations.",
    parameters=ExplainParameters,
    inputs={
        "codes": "codes of the model (`encode`)",
        "track": "`track` of its family",
        "match/*?": "`match` with each of the model's children",
        "tokens/*": TOKENS,
        "tokenizer": "the tokenizer",
    },
    files={
        "explanations.parquet": File(
            "one row a chosen feature",
            {
                "feature": "its number",
                "status": "universal, disappearing, emerging or persisting",
                "density": "share of the tokens on which it fires",
                "explanation": "str; null after a failure",
                **{score.column: score.cell for score in SCORES.values()},
                "failure": "str: why there is no explanation or no score; else null",
                "rule": "JSON of the rule; null of a language model",
            },
        ),
        "simulations.parquet": File(
            "one row a feature and held-out window",
            {
                "feature": "number of the feature",
                "window": "number within the feature",
                "start": "first token of the window in the stream",
                "corpus": "number of the input",
                "active": "bool: chosen because the feature fires there, else drawn from the whole "
                "stream",
                "activations": "list of float32",
                "predicted": "list of float32 in units of activation; null where there is no "
                "simulation",
            },
        ),
    },
    results={
        "method": "as in the parameters",
        "label": "of the language model, or null",
        "features": "number of features chosen",
        "explained": "number of features with an explanation",
        "failed": "number of features with a failure; one whose detection broke may have a score "
        "all the same",
        "statuses": "{status: {features, explained, score: mean, interval: [low, high] of 95 %, "
        "bootstrap over features; null for fewer than two}}",
        **dict.fromkeys(MEANS, MEAN),
        "interval": "[low, high] of 95 % of the mean score, bootstrap over features; null for "
        "fewer than two",
        "requests": "requests spent in all attempts; 0 for rules",
        "tokens": "tokens spent in all attempts; 0 for rules",
        "covered": "share of the chosen features that were tried before the budget ended",
        "failures": "{reason: number of features}",
    },
    terms={
        "universal": "status of a feature with the fate universal; it goes before the others",
        "disappearing": "status of a feature without a match in a child, or with a fate lost/..; "
        "it goes before emerging",
        "emerging": "status of a feature with the fate new; it goes before persisting",
        "persisting": "status of any other live feature",
        "level": "how activations are shown: 0 is silent, 1..9 are nine equal parts of (0, maximum "
        "of the even contexts], the maximum in 9; a simulated level counts as level x maximum / 9",
    },
)


class ExplainEdgeParameters(Parameters):
    """Whose explanations are held against a child's features."""

    method: MethodName = Field(description="Method of the parent's explanations.")
    seed: Annotated[int, Field(description="Seed of the bootstrap.")]


EDGE_MEANS = (
    "{features, score, cross: means over features that have both, interval: [low, high] of 95 % of "
    "the mean cross, bootstrap over features, difference: mean of score - cross, "
    "difference_interval}; null of none"
)

EXPLAIN_EDGE = Kind(
    name="explain_edge",
    service=SERVICE,
    version=1,
    does="Tests whether a parent's explanations predict the child's features.",
    parameters=ExplainEdgeParameters,
    inputs={
        "explain": "`explain` of the parent",
        "parent": "codes of the parent (`encode`)",
        "child": "codes of the child (`encode`)",
        "match": "`match` of these codes",
    },
    files={
        "cross.parquet": File(
            "one row an explained live feature of the parent",
            {
                "feature": "its number",
                "status": "status of the match",
                "partner": "the child's feature: the match of one that persists, else the closest "
                "(`best`); -1: none",
                "partner_r": "correlation with the partner; null where there is none",
                "score": "of the explanation on the parent's feature",
                "cross": "Pearson of the same simulation with the partner's activations on the "
                "same windows; null where undefined",
            },
        )
    },
    results={
        "method": "as in the parameters",
        "persist": f"of features that have a match: {EDGE_MEANS}",
        "disappear": f"of all features without a match: {EDGE_MEANS}",
    },
)
