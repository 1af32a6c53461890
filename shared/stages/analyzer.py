"""Parameters of the stages of the analyzer."""

from __future__ import annotations

from shared.lineage.explanations.methods import MethodName
from shared.stages.base import Parameters
from shared.stages.sae import Hook


class EncodeParameters(Parameters):
    """Feature activations of a model over a held-out token stream, from clean activations.

    Inputs: model, dictionary, tokens/0.. Files: codes.safetensors with `indptr` int64 [tokens + 1],
    `features` int32 [non-zeros] (ascending within a token), `values` float32 [non-zeros];
    documents.npy, int32 [tokens]: number of the document of each token (it ends with end-of-text
    and with its corpus), ascending through the stream.
    Results: tokens, features, l0, corpora (token count of each input, in order), documents (count).
    """

    hook: Hook = "mlp_post"
    layer: int
    tokens: int
    context: int


class MatchParameters(Parameters):
    """Features of a parent against features of a child, over the same token positions.

    Inputs: parent, child (encode); and, where both models read the same basis, parent_dictionary
    and child_dictionary (for cosines between decoder directions).
    Files:
      parent.parquet and child.parquet, one row per feature: feature, firings, best, best_r, mutual
        (bool: each is the other's best, and best_r >= threshold), match, match_r, cosine (of the
        decoder directions of feature and best; null without dictionaries), p, q (null without
        shifts), multiple_r and parts (list of features of the other model), status;
      candidates.npz: all pairs of live features with r >= floor as parent, child, r;
      bootstrap.npz: share, share_any, share_mutual, each float64 [resamples];
      null.npz: best_r_parent and firings_parent of every shift, float64 and int64 [shifts, live].
    `best` is the live feature of the other model with the highest positive r (-1: none, or the
    feature is rare itself), `match` the one-to-one partner at r >= threshold (-1: none); their r is
    null where they are -1. `multiple_r` is the correlation of a feature with the best non-negative
    combination of up to `parts` live features of the other model, listed in `parts` (null and empty
    where fewer than two take part); neither depends on the threshold.
    Status: persist (has a match); split (parent: no match, but multiple_r >= threshold over parts
    that have none either; child: such a part); merge (child: likewise, parts are parents; parent:
    such a part); disappear (parent), emerge (child); rare (fewer than min_firings firings, dead
    ones included; the others are "alive"). persist goes before split before merge.
    p: share of the null's best r of features with about as many firings that are as high (plus one
    over plus one); q: Benjamini-Hochberg over the parent's (the child's) live features.
    Results: alive_parent, alive_child, persist, disappear, emerge, split, merge, split_child,
    merge_child (numbers of features with that status), persist_any, persist_any_child,
    persist_mutual, share, share_any, share_mutual (of alive_parent), significant (live parents with
    q <= 0.05, null without shifts), tokens, documents, best_r_parent and best_r_child ({edges,
    counts} over the live features' best r), interval, interval_any, interval_mutual ([low, high] of
    95 %, percentiles of the bootstrap over documents; null without resamples), null ({share,
    share_any, share_mutual: mean over the shifts; shifts: [tokens]}, or null), curve: [{threshold,
    share, share_any, share_mutual, null, null_any, null_mutual}] at 0.5, 0.55 .. 0.95, cosine
    ({mean: of matched pairs, mutual: share of live parents whose match is also the pair with the
    mutually highest cosine} or null). A share of none is null.
    `shifts` is the number of circular shifts of the null control: within each corpus the child's
    documents are rolled by about k / (shifts + 1) of the tokens, k = 1.., cut where documents end.
    Replicate b of the bootstrap draws the same documents in every stage over the same stream.
    """

    threshold: float
    min_firings: int
    floor: float = 0.2
    shifts: int = 0
    resamples: int = 0
    parts: int = 4


class LatentScalingParameters(Parameters):
    """Is a feature that one model's dictionary lacks in that model's activations all the same?

    Inputs: parent, child (models), parent_dictionary, child_dictionary, parent_codes, child_codes,
    match, tokens/0.. Files: parent.parquet and child.parquet, one row per feature: feature, own and
    other (the least-squares factor beta of f d in the activations of its own and of the other
    model, activations at their common scale), ratio (other / own), readable (R^2 of f from the
    other model's activations by ridge regression, chosen on even documents and measured on odd
    ones), and false_change (bool: the feature disappears or emerges by the match, but ratio >= 0.5
    or readable >= 0.5); null where a feature is rare.
    Results: disappear, false_disappear, emerge, false_emerge (counts), same_basis (bool: ratios
    mean something, otherwise they are null).
    """

    hook: Hook = "mlp_post"
    layer: int
    tokens: int
    context: int
    same_basis: bool = True


class ContextsParameters(Parameters):
    """Where each feature fires, and what it does.

    Inputs: codes (encode), tokens/0.., tokenizer, model, dictionary. Files:
      contexts.parquet: feature, kind "top" or "sample", rank (from 0), bin (0..9, of activation,
        the maximum is in 9), corpus (input number), position and start (token of the stream),
        tokens (list of str), activations (list of float).
      features.parquet: feature, density, mean (over firings), max, corpus_0.. (share of its firings
        by input), positions (list: share of its firings in each eighth of the context), histogram
        (list: firings in ten equal bins of activation), and label, precision, recall, f1 of the
        label that it tells best (or null).
      labels.parquet: feature, label, precision, recall, f1, threshold, support; rows with F1 >= .3.
      logits.parquet: feature, kind "raised" or "lowered", rank, token (str), id, effect: the direct
        effect of the decoder direction on the logits (through what follows the hook point in its
        layer, the last norm's weight and the unembedding; minus the mean over the vocabulary).
    Results: labels, {label: the best feature's {feature, precision, recall, f1, threshold, support}
    or null}. Thresholds and best features are chosen on the even contexts of the stream, figures
    measured on the odd ones; positions without the label count as negative in every corpus.
    """

    hook: Hook = "mlp_post"
    layer: int
    tokens: int
    context: int
    top: int = 8
    samples: int = 10
    window: int = 24
    logits: int = 8


class TrackEdge(Parameters):
    """One parent -> child edge, by the numbers of the models."""

    parent: int
    child: int


class TrackParameters(Parameters):
    """Chains of features through the family, and the features that the figures show.

    Inputs: codes/0.. (one per model, ancestors before descendants), contexts/0.. (same order),
    match/0.. (one per edge, in the order of `edges`), ancestor/0.. (one per pair of `ancestors`:
    an ancestor and a descendant that is not its child), tokens/0.., tokenizer.
    Files: universal.parquet (for each model i: feature_i, r_i = correlation with the first model's
    feature; then weakest_r over the edges), chains.parquet (one row per feature of every model:
    model, feature, fate: list of str), figures.json:
      universal_example: null or {label, reason, features: [index per model], correlations:
        [[r]] model x model, contexts: [{corpus, tokens: [str], activations: [[per model]]}]}
      failing_example: null or {parent, child (model numbers), feature, closest, r, label, reason,
        contexts: [{corpus, tokens, parent: [..], child: [..]}]}
      labels: [{label, model, feature, precision, recall, f1, persists_in: [model numbers]}], the
        best feature of each model for each label.
    Fates, of a model's feature: "universal"; "inherited/{parent}" (in a model of two parents: has a
    match in that parent only); "inherited/both"; "new" (a model with parents, a match in none);
    "lost/{descendant}" (of an ancestor: no path of matches leads there, nor a direct match);
    "regained/{descendant}" (no path of matches leads there, but the direct match with the
    descendant does).
    Results: universal (count), labels (as in figures.json), merges: [{child, parents: [2], both,
    only: [2], new, alive}], regained: [{ancestor, descendant, persist_direct, persist_path,
    regained, lost}], one per pair of `ancestors`; along: [{model, alive, new, from_first (features
    with an unbroken chain of matches from the root)}].
    """

    edges: tuple[TrackEdge, ...]
    ancestors: tuple[TrackEdge, ...] = ()
    threshold: float
    min_firings: int
    context: int
    tokens: int


class LanguageModel(Parameters):
    """Whom the prompts of an explanation go to, by what a key may know of it.

    `endpoint` is the sha256 (hex) of the address and the model's name, which are settings of the
    servers; `label` is what their operator calls it, and all that a report says of it. `prompts` is
    the sha256 over the prompt files of this project. `requests` and `tokens` (prompt and completion
    together) are what one stage may spend; None: no limit.
    """

    endpoint: str
    label: str
    prompts: str
    requests: int | None
    tokens: int | None


class ExplainParameters(Parameters):
    """Names for the features of one model, and how well the names predict the activations.

    Inputs: codes (encode), track, match/0.. (from this model to each of its children), tokens/0..,
    tokenizer. Files:
      explanations.parquet, one row per chosen feature: feature, status, density, explanation (str;
        null after a failure), score (Pearson over the tokens of the held-out windows, null where it
        is undefined), detection and fuzzing (balanced accuracies, null where not measured), failure
        (str: why there is no explanation or no score; else null), rule (JSON of the rule; null of a
        language model);
      simulations.parquet, one row per feature and held-out window: feature, window (number within
        the feature), start (token of the stream), corpus (input number), active (bool: chosen
        because the feature fires there, else drawn from the whole stream), activations and
        predicted (lists of float32 in units of activation; predicted is null where there is no
        simulation).
    `method` "rule" needs no language model and chooses by rules over tokens, what stands before
    them, their position and corpus (see services/analyzer/explain); "language_model" asks one.
    `model` is the number of the model in the order of the track stage. `features` is how many are
    chosen of each status, by seed and spread over the densities of that status; None: every live
    feature. Status of a feature: "universal"; else "disappearing" (without a match in a child, or
    with a fate lost/..); else "emerging" (new); else "persisting". The same features, windows and
    seed for both methods.
    Even contexts of the stream give examples, odd ones the held-out windows: `active_windows`
    where the feature fires, spread over ten equal bins of its activation, and `random_windows`
    drawn without looking, so that tokens on which it is silent count too. Windows have `window`
    tokens. Activations are shown in levels: 0 is silent, 1..9 are nine equal parts of (0, maximum
    of the even contexts], the maximum in 9. A simulated level counts as level x maximum / 9.
    Results: method, features (chosen), explained, failed (features with a failure; one whose
    detection broke may have a score all the same), statuses {status: {features, explained, score
    (mean), interval ([low, high] of 95 %, bootstrap over features; null for fewer than two)}},
    score, interval, detection, fuzzing (means over those measured, null of none), label (of the
    language model, or null), requests, tokens (spent in all attempts; 0 for rules), covered (share
    of the chosen features that were tried before the budget ended), failures {reason: count}.
    """

    method: MethodName
    model: int
    features: int | None
    min_firings: int
    context: int
    tokens: int
    window: int = 32
    examples: int = 12
    active_windows: int = 10
    random_windows: int = 10
    seed: int
    language_model: LanguageModel | None = None


class ExplainEdgeParameters(Parameters):
    """Does a parent's explanation predict the child's feature?

    Inputs: explain (of the parent), parent and child (codes), match. Files: cross.parquet, one row
    per explained live feature of the parent: feature, status (of the match), partner (the child's
    feature: the match of one that persists, else the closest, `best`; -1: none), partner_r, score
    (of the explanation on the parent's feature) and cross (Pearson of the same simulation with the
    partner's activations on the same windows; null where undefined).
    Results: method, persist and disappear (all without a match), each {features, score, cross
    (means over features that have both), interval ([low, high] of 95 % of the mean cross,
    bootstrap over features), difference (mean of score - cross), difference_interval}; null of
    none.
    """

    method: MethodName
    seed: int
