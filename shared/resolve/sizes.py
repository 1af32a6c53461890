"""Refuse a spec that asks for more tokens than its corpora can have."""

from __future__ import annotations

from collections.abc import Iterator

from shared.data.archives import MAX_RATIO, RATIO_FREE
from shared.resolve.resolved import ResolvedSpec
from shared.spec import distribution, group_models
from shared.spec.corpora import Corpus
from shared.spec.errors import SpecError

ARCHIVES = ("zip", "tar")


def possible_tokens(resolved: ResolvedSpec, corpus: Corpus) -> int | None:
    """An upper bound on the tokens of a corpus; None when there is none.

    A token takes at least a byte. Archives unpack to at most what `shared.data.archives` accepts;
    Parquet has no such limit.
    """
    size: int | None = None
    if corpus.builtin is not None:
        size = resolved.builtins[corpus.builtin].bytes
    elif corpus.upload is not None:
        upload = resolved.uploads[corpus.upload]
        if upload.format in ARCHIVES:
            size = max(RATIO_FREE, MAX_RATIO * upload.bytes)
        elif upload.format != "parquet":
            size = upload.bytes
    return None if size is None else int(size * corpus.fraction)


def too_many_tokens(resolved: ResolvedSpec) -> Iterator[SpecError]:
    """Errors of everything that asks for more tokens than its corpora can have."""
    spec = resolved.spec
    for name, corpus in spec.corpora.items():
        possible = possible_tokens(resolved, corpus)
        if corpus.max_tokens and possible is not None and corpus.max_tokens > possible:
            yield SpecError(
                f"corpora.{name}.max_tokens",
                f"asks for {corpus.max_tokens:,} tokens, but the corpus has {possible:,} bytes "
                "at most",
            )
    for name, tracking in spec.tracking.items():
        yield from _too_few_held_out(
            resolved, f"tracking.{name}.tokens", tracking.tokens, tracking.corpora
        )
    for name, group in spec.dictionaries.items():
        for model in group_models(spec, name):
            path = f"dictionaries.{name}.evaluate_tokens"
            corpora = distribution(spec, model)
            yield from _too_few_held_out(resolved, path, group.evaluate_tokens, corpora)
    for name, grid in spec.stability.items():
        corpora = distribution(spec, grid.model)
        wanted = {
            "evaluate_tokens": (grid.evaluate_tokens, corpora),
            "tracking_tokens": (grid.tracking_tokens, grid.corpora or corpora),
        }
        for field, (tokens, read) in wanted.items():
            yield from _too_few_held_out(resolved, f"stability.{name}.{field}", tokens, read)


def _too_few_held_out(
    resolved: ResolvedSpec, path: str, tokens: int, corpora: tuple[str, ...]
) -> Iterator[SpecError]:
    """An error when the validation splits cannot have `tokens` tokens of at least a byte each."""
    held_out = 0.0
    for name in corpora:
        corpus = resolved.spec.corpora[name]
        possible, limit = possible_tokens(resolved, corpus), corpus.byte_limit
        bounds = [] if possible is None else [possible * corpus.validation]
        if limit is not None:  # of training text; held-out text is limited in proportion
            bounds.append(limit * corpus.validation / (1 - corpus.validation))
        if not bounds:
            return
        held_out += min(bounds)
    if tokens > held_out:
        yield SpecError(
            path,
            f"asks for {tokens:,} held-out tokens, but the validation splits of "
            f"{', '.join(corpora)} have {int(held_out):,} bytes at most",
        )
