"""Stages of the analyzer that look at one model or at two: parameters and contracts."""

from __future__ import annotations

from pydantic import Field

from shared.stages.base import File, Kind, Parameters
from shared.stages.fields import Context, HeldOutTokens, HookPoint, Layer, MinFirings, Threshold

SERVICE = "analyzer"
TOKENS = "packed tokens of each corpus, in order; the validation splits are read in equal parts"


class EncodeParameters(Parameters):
    """Where the activations are read, and how many."""

    hook: HookPoint = "mlp_post"
    layer: Layer
    tokens: HeldOutTokens
    context: Context


ENCODE = Kind(
    name="encode",
    service=SERVICE,
    version=2,
    does=(
        "Computes the feature activations of a model over a held-out token stream, from clean "
        "activations."
    ),
    parameters=EncodeParameters,
    inputs={"model": "the model", "dictionary": "its dictionary", "tokens/*": TOKENS},
    files={
        "codes.safetensors": File(
            "activations that are not zero, as a sparse matrix, token by token",
            {
                "indptr": "int64 [tokens + 1]: where each token's entries begin",
                "features": "int32 [non-zeros]: features, ascending within a token",
                "values": "float32 [non-zeros]: activations",
            },
        ),
        "documents.npy": File(
            "int32 [tokens]: number of the document of each token, ascending through the stream; a "
            "document ends with end-of-text, and with its corpus"
        ),
    },
    results={
        "tokens": "token positions of the stream",
        "features": "number of features",
        "l0": "mean number of active features of a token",
        "corpora": "token count of each input, in order",
        "documents": "number of documents",
    },
)


class MatchParameters(Parameters):
    """How features are matched, and the controls beside it."""

    threshold: Threshold
    min_firings: MinFirings
    floor: float = Field(0.2, description="Least r of the pairs that are stored.")
    shifts: int = Field(
        0,
        description="Circular shifts of the null control; 0: none. Within each corpus the child's "
        "documents are rolled by about k / (shifts + 1) of the tokens, k = 1.., cut where "
        "documents end.",
    )
    resamples: int = Field(
        0,
        description="Replicates of the bootstrap over documents; 0: none. Replicate b draws the "
        "same documents in every stage over the same stream.",
    )
    parts: int = Field(4, description="Most features that a combination may have.")


# Columns of a match's tables; `other` is the model on the other side of the edge.
MATCH_COLUMNS = {
    "feature": "its number",
    "firings": "number of tokens on which it is active",
    "best": "live feature of the other model with the highest positive r; -1: none, or the feature "
    "is rare itself",
    "best_r": "r of best; null where that is -1",
    "mutual": "bool: each is the other's best, and best_r >= threshold",
    "match": "one-to-one partner at r >= threshold; -1: none",
    "match_r": "r of match; null where that is -1",
    "cosine": "of the decoder directions of feature and best; null without dictionaries",
    "p": "share of the null's best r, among features with about as many firings, that are at least "
    "as high (one is added above and below); null without shifts",
    "q": "Benjamini-Hochberg over the model's live features; null without shifts",
    "multiple_r": "correlation with the best non-negative combination of live features of the "
    "other model (up to `parts`); null where fewer than two take part; it does not depend on the "
    "threshold",
    "parts": "list of the features that take part; empty where multiple_r is null",
    "status": "persist, split, merge, disappear or emerge, rare: see terms",
}
SHARE_OF = "(of alive_parent; null of none)"

MATCH = Kind(
    name="match",
    service=SERVICE,
    version=2,
    does="Matches features of a parent with features of a child, over the same token positions.",
    parameters=MatchParameters,
    inputs={
        "parent": "codes of the parent (`encode`)",
        "child": "codes of the child (`encode`)",
        "parent_dictionary?": "the parent's dictionary, where both models read the same basis (for "
        "cosines between decoder directions)",
        "child_dictionary?": "the child's dictionary, likewise",
    },
    files={
        "parent.parquet": File("one row a feature of the parent", MATCH_COLUMNS),
        "child.parquet": File("one row a feature of the child", MATCH_COLUMNS),
        "candidates.npz": File(
            "all pairs of live features with r >= floor (or >= threshold, where that is lower)",
            {
                "parent": "int32 [pairs]: feature of the parent",
                "child": "int32 [pairs]: feature of the child",
                "r": "float64 [pairs]: their correlation",
            },
        ),
        "bootstrap.npz": File(
            "shares in every replicate of the bootstrap",
            {
                "share": "float64 [resamples]",
                "share_any": "float64 [resamples]",
                "share_mutual": "float64 [resamples]",
            },
        ),
        "null.npz": File(
            "the parent's live features under every shift",
            {
                "best_r_parent": "float64 [shifts, live]",
                "firings_parent": "int64 [shifts, live]",
            },
        ),
    },
    results={
        "alive_parent": "live features of the parent",
        "alive_child": "live features of the child",
        "persist": "features of the parent with that status; as many of the child have it",
        "disappear": "features of the parent with that status",
        "emerge": "features of the child with that status",
        "split": "features of the parent with that status",
        "merge": "features of the parent with that status",
        "split_child": "features of the child with status split",
        "merge_child": "features of the child with status merge",
        "persist_any": "features of the parent with best_r >= threshold",
        "persist_any_child": "features of the child with best_r >= threshold",
        "persist_mutual": "features of the parent that are mutual",
        "share": f"persist as a share {SHARE_OF}",
        "share_any": f"persist_any as a share {SHARE_OF}",
        "share_mutual": f"persist_mutual as a share {SHARE_OF}",
        "significant": "live features of the parent with q <= 0.05; null without shifts",
        "tokens": "token positions",
        "documents": "number of documents",
        "best_r_parent": "{edges, counts}: histogram of best r of the parent's live features",
        "best_r_child": "{edges, counts}: histogram of best r of the child's live features",
        "interval": "[low, high] of 95 % of share: percentiles of the bootstrap over documents; "
        "null without resamples",
        "interval_any": "the same of share_any",
        "interval_mutual": "the same of share_mutual",
        "null": "{share, share_any, share_mutual: mean over the shifts; shifts: [tokens]}; null "
        "without shifts",
        "curve": "[{threshold, share, share_any, share_mutual, null, null_any, null_mutual}] at "
        "0.5, 0.55 .. 0.95",
        "cosine": "{mean: of matched pairs, mutual: share of live parents whose match is also the "
        "pair with the mutually highest cosine}; null without dictionaries",
    },
    terms={
        "r": "Pearson correlation of activations over all token positions",
        "rare": "status of a feature with fewer than min_firings firings, dead ones included; the "
        "others are live (`alive`)",
        "persist": "status of a live feature that has a match; it goes before split",
        "split": "of the parent: no match, but multiple_r >= threshold over parts that have none "
        "either; of the child: such a part; it goes before merge",
        "merge": "of the child: no match, but multiple_r >= threshold over parts (of the parent) "
        "that have none either; of the parent: such a part",
        "disappear": "status of any other live feature of the parent",
        "emerge": "status of any other live feature of the child",
    },
)


class LatentScalingParameters(Parameters):
    """Where the activations are read, how many, and whether directions can be compared."""

    hook: HookPoint = "mlp_post"
    layer: Layer
    tokens: HeldOutTokens
    context: Context
    same_basis: bool = Field(
        True, description="Whether a direction means the same in both models; if not, no ratios."
    )


SCALING_COLUMNS = {
    "feature": "its number",
    "own": "least-squares factor beta of f d in the activations of its own model, activations at "
    "their common scale",
    "other": "the same in the activations of the other model",
    "ratio": "other / own",
    "readable": "R^2 of f from the other model's activations by ridge regression, chosen on even "
    "documents and measured on odd ones",
    "false_change": "bool: it disappears or emerges by the match, but ratio >= 0.5 or readable >= "
    "0.5",
}

LATENT_SCALING = Kind(
    name="latent_scaling",
    service=SERVICE,
    version=1,
    does=(
        "Looks in each model's activations for the features that only the other model's dictionary "
        "has."
    ),
    parameters=LatentScalingParameters,
    inputs={
        "parent": "model of the parent",
        "child": "model of the child",
        "parent_dictionary": "the parent's dictionary",
        "child_dictionary": "the child's dictionary",
        "parent_codes": "codes of the parent (`encode`)",
        "child_codes": "codes of the child (`encode`)",
        "match": "`match` of these codes",
        "tokens/*": TOKENS,
    },
    files={
        "parent.parquet": File(
            "one row a feature of the parent; null where it is rare", SCALING_COLUMNS
        ),
        "child.parquet": File(
            "one row a feature of the child; null where it is rare", SCALING_COLUMNS
        ),
    },
    results={
        "disappear": "features of the parent that disappear by the match",
        "false_disappear": "those of them with false_change",
        "emerge": "features of the child that emerge by the match",
        "false_emerge": "those of them with false_change",
        "same_basis": "bool: ratios mean something; otherwise they are null",
    },
    terms={
        "f": "activation of the feature over the token stream",
        "d": "its decoder direction",
    },
)
