"""What stages are expected to cost: tokens, floating point operations, bytes. Rough, and pure.

N: parameters that take part in a matrix product for every token, V: vocabulary, h: hidden width,
w: width at the hook point, F: features of a dictionary.

- forward pass 2 N a token, training 6 N (Kaplan et al. 2020, Scaling Laws for Neural Language
  Models, section 2.1; the look-up of the input embedding costs nothing, attention scores over the
  short contexts used here are left out);
- dictionary: encoder and decoder are 2 w F each forward, three times that with the backward pass,
  12 w F a token, and the forward pass of the model up to the hook point.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.lineage.explanations.feature_status import FEATURE_STATUSES
from shared.plan.graph import Estimate
from shared.resolve.resolved import ResolvedSpec
from shared.spec import architecture_of
from shared.spec.corpora import Corpus
from shared.spec.dictionaries import Dictionaries, Hook, Recipe
from shared.spec.models import Architecture
from shared.stages.explain import ExplainParameters

TEXT_BYTES_PER_TOKEN = 4.0  # English and source code with a vocabulary of a few thousand or more
FLOAT32 = 4  # bytes
HALF = 2  # bytes of a stored activation (bfloat16)

# Harvesting pays when computing an activation again costs more time than writing and reading it.
# Both numbers are a small machine's (two cores, one local disk) and part of no key but the choice.
COMPUTE_RATE = 100e9  # FLOP/s
DISK_RATE = 500e6  # bytes/s
HARVEST_LIMIT = 50e9  # bytes of one model's activations; beyond that disks fill up


def total(*parts: int | None) -> int | None:
    """The sum, None when a part is unknown."""
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


# What a language model reads and writes of one explained feature, roughly: every token of a window
# is told with its number and level, and a request has its instructions before that.
BATCH = 5  # windows that are judged in one request
TOKENS_PER_TOKEN = 8  # a token of the stream in quotes, with number and level, and its answer
INSTRUCTIONS = 400  # tokens of a request without its windows


@dataclass(frozen=True)
class Size:
    """Parameters of a model."""

    shape: Architecture
    vocabulary: int

    @property
    def layer(self) -> int:
        """Matrix parameters of one layer: attention (q, o and grouped k, v) and the gated MLP."""
        return self.attention + 3 * self.shape.hidden * self.shape.mlp

    @property
    def attention(self) -> int:
        """Matrix parameters of one layer's attention."""
        grouped = self.shape.hidden * self.shape.kv_heads // self.shape.heads
        return 2 * self.shape.hidden * (self.shape.hidden + grouped)

    @property
    def active(self) -> int:
        """N: parameters in a matrix product for every token, the output layer included."""
        return self.shape.layers * self.layer + self.vocabulary * self.shape.hidden

    @property
    def parameters(self) -> int:
        """All parameters: with embeddings and norms (two a layer and the last one)."""
        norms = (2 * self.shape.layers + 1) * self.shape.hidden
        inputs = 0 if self.shape.tied_embeddings else self.vocabulary * self.shape.hidden
        return self.active + inputs + norms

    def width(self, hook: Hook) -> int:
        """Values a token at a hook point: the MLP's inside, or the residual stream."""
        return self.shape.mlp if hook == "mlp_post" else self.shape.hidden

    def to_hook(self, hook: Hook, layer: int) -> int:
        """Matrix parameters before a hook point of a layer; mlp_post comes before down_proj."""
        inside = {
            "resid_pre": 0,
            "attn_out": self.attention,
            "mlp_post": self.attention + 2 * self.shape.hidden * self.shape.mlp,
            "mlp_out": self.layer,
            "resid_post": self.layer,
        }
        return layer * self.layer + inside[hook]


def size_of(resolved: ResolvedSpec, model: str) -> Size | None:
    """The size of a model; None when its shape or the vocabulary is not known yet."""
    imported = {name: known.architecture for name, known in resolved.imported.items()}
    shape = architecture_of(resolved.spec, model, imported)
    if shape is None or resolved.vocab_size is None:
        return None
    return Size(shape, resolved.vocab_size)


def text_bytes(resolved: ResolvedSpec, corpus: Corpus) -> int | None:
    """Bytes of the text that a corpus is taken from; None for the hub and for generated text."""
    if corpus.builtin is not None:
        return resolved.builtins[corpus.builtin].bytes
    return resolved.uploads[corpus.upload].bytes if corpus.upload is not None else None


def corpus_bytes(resolved: ResolvedSpec, corpus: Corpus) -> int | None:
    """Bytes of text that will be kept; None for a hub corpus without max_tokens."""
    size, limit = text_bytes(resolved, corpus), corpus.byte_limit
    limits = [] if size is None else [round(size * corpus.fraction)]
    if limit is not None:
        limits.append(round(limit / (1 - corpus.validation)))
    return min(limits, default=None)


def corpus_tokens(resolved: ResolvedSpec, corpus: Corpus) -> tuple[int | None, int | None]:
    """(training, held-out) tokens of a corpus; None where the size of the text is not known."""
    size = corpus_bytes(resolved, corpus)
    if size is None:
        return None, None
    train = round(size * (1 - corpus.validation) / TEXT_BYTES_PER_TOKEN)
    if corpus.token_limit is not None:
        train = min(train, corpus.token_limit)
    return train, round(train * corpus.validation / (1 - corpus.validation))


def forward(size: Size | None, tokens: int | None, passes: int = 1) -> float | None:
    """FLOPs of forward passes over tokens, logits included."""
    if size is None or tokens is None:
        return None
    return 2.0 * size.active * tokens * passes


def train(size: Size | None, tokens: int | None, copies: int = 1) -> Estimate:
    """Training: 6 N a token; leaves the weights in float32, `copies` times with the checkpoints."""
    flops = None if size is None or tokens is None else 6.0 * size.active * tokens
    each = weights(size)
    return Estimate(tokens=tokens, flops=flops, bytes=None if each is None else copies * each)


def weights(size: Size | None) -> int | None:
    """Bytes of a model's weights."""
    return None if size is None else FLOAT32 * size.parameters


def features_of(group: Dictionaries, width: int) -> int | None:
    """Features of a dictionary over activations of that width; None for one that exists already."""
    if group.import_ is not None:
        return None
    return group.features or round((group.expansion or 0) * width)


def harvest(group: Dictionaries, size: Size | None) -> Estimate:
    """Storing activations: the model up to the hook point, `width` numbers of two bytes a token."""
    if size is None:
        return Estimate(tokens=group.tokens)
    return Estimate(
        tokens=group.tokens,
        flops=2.0 * size.to_hook(group.hook, group.layer) * group.vectors,
        bytes=group.vectors * size.width(group.hook) * HALF,
    )


def dictionary(
    recipe: Recipe, size: Size | None, tokens: int, features: int | None, *, stored: bool = False
) -> Estimate:
    """Training a dictionary, with the model's forward passes unless activations are stored.

    `features` may be those of several dictionaries that are trained in one pass.
    """
    if size is None or features is None:
        return Estimate(tokens=tokens)
    weights = size.width(recipe.hook) * features
    each = 12.0 * weights + (0 if stored else 2.0 * size.to_hook(recipe.hook, recipe.layer))
    return Estimate(tokens=tokens, flops=each * tokens, bytes=2 * FLOAT32 * weights)


def crosscoder(group: Dictionaries, size: Size | None, features: int | None) -> Estimate:
    """Training on two models at once: the passes and the weights of two dictionaries."""
    each = dictionary(group, size, group.vectors, features)
    double = each.model_dump(include={"flops", "bytes"}, exclude_none=True)
    return each.model_copy(update={name: 2 * value for name, value in double.items()})


def evaluate_dictionary(recipe: Recipe, size: Size | None, features: int | None) -> Estimate:
    """Four losses (clean, reconstructed, zero, mean) and one reconstruction of each token."""
    tokens = recipe.evaluate_tokens
    flops = forward(size, tokens, passes=4)
    if size is None or features is None or flops is None:
        return Estimate(tokens=tokens)
    return Estimate(tokens=tokens, flops=flops + 4.0 * size.width(recipe.hook) * features * tokens)


def encode(recipe: Recipe, size: Size | None, tokens: int, features: int | None) -> Estimate:
    """The model up to the hook point and the encoder; how much is stored depends on L0."""
    if size is None or features is None:
        return Estimate(tokens=tokens)
    encoder = size.width(recipe.hook) * features
    each = 2.0 * size.to_hook(recipe.hook, recipe.layer) + 2.0 * encoder
    return Estimate(tokens=tokens, flops=each * tokens)


def latent_scaling(recipe: Recipe, size: Size | None, tokens: int) -> Estimate:
    """Both models up to the hook point, and the covariance of each one's activations."""
    if size is None:
        return Estimate(tokens=tokens)
    each = 2.0 * size.to_hook(recipe.hook, recipe.layer) + 2.0 * size.width(recipe.hook) ** 2
    return Estimate(tokens=tokens, flops=2 * each * tokens)


def questions(parameters: ExplainParameters) -> tuple[int, int]:
    """(requests, tokens) that a language model may cost at most, its budget heeded.

    A feature takes one request for its explanation, one for each held-out window, and one for each
    batch of windows that are judged, twice (detection and fuzzing).
    """
    features = len(FEATURE_STATUSES) * (parameters.features or 0)
    windows = parameters.active_windows + parameters.random_windows
    requests = features * (1 + windows + 2 * -(-windows // BATCH))
    shown = features * (parameters.examples + 3 * windows) * parameters.window
    tokens = requests * INSTRUCTIONS + shown * TOKENS_PER_TOKEN
    asked = parameters.language_model
    limits = (asked.requests, asked.tokens) if asked else (None, None)
    return (
        requests if limits[0] is None else min(requests, limits[0]),
        tokens if limits[1] is None else min(tokens, limits[1]),
    )


def harvest_pays(group: Dictionaries, size: Size | None) -> bool:
    """Whether storing activations is cheaper than computing them for each of the group's seeds.

    Streaming runs the model once for every seed; harvesting runs it once, writes every vector once
    and reads it once for every seed. Never pays for one seed, nor past HARVEST_LIMIT.
    """
    if size is None or group.vectors * size.width(group.hook) * HALF > HARVEST_LIMIT:
        return False
    seeds = len(group.seeds)
    compute = 2.0 * size.to_hook(group.hook, group.layer) / COMPUTE_RATE
    move = size.width(group.hook) * HALF / DISK_RATE
    return seeds * compute > compute + (1 + seeds) * move
