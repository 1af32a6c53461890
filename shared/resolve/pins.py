"""Pin every hub name in a spec to a commit."""

from __future__ import annotations

from shared.resolve.hub import (
    COMMIT,
    WORDS,
    HubDown,
    HubMissing,
    HubResolver,
    HubUnreachable,
    RepositoryKind,
)
from shared.spec import Spec
from shared.spec.corpora import Corpus, Tokenizer
from shared.spec.dictionaries import Dictionaries
from shared.spec.errors import SpecError, raise_all
from shared.spec.models import Model


def pin(spec: Spec, hub: HubResolver) -> Spec:
    """The spec with a commit for everything that comes from the hub.

    Raises SpecError or SpecErrors for what the hub does not have, HubUnreachable when it does not
    answer.
    """
    pins = _Pins(hub)
    pinned = spec.model_copy(
        update={
            "corpora": {name: pins.corpus(name, corpus) for name, corpus in spec.corpora.items()},
            "models": {name: pins.model(name, model) for name, model in spec.models.items()},
            "tokenizer": pins.tokenizer(spec.tokenizer),
            "dictionaries": {
                name: pins.dictionaries(name, group) for name, group in spec.dictionaries.items()
            },
        }
    )
    raise_all(pins.errors)
    return pinned


def revisions(spec: Spec) -> list[str | None]:
    """The commit of everything in a spec; None for what does not come from the hub."""
    corpora = [corpus.revision for corpus in spec.corpora.values()]
    models = [model.import_.revision for model in spec.models.values() if model.import_]
    groups = [group.import_ for group in spec.dictionaries.values() if group.import_]
    dictionaries = [source.revision for group in groups for source in group.values()]
    return [*corpora, *models, *dictionaries, spec.tokenizer.revision]


class _Pins:
    """Looks up commits, and collects in `errors` what the hub does not have."""

    def __init__(self, hub: HubResolver) -> None:
        self._hub = hub
        self.errors: list[SpecError] = []

    def corpus(self, name: str, corpus: Corpus) -> Corpus:
        if corpus.hub is None:
            return corpus
        sha = self._commit("dataset", corpus.hub, corpus.revision, f"corpora.{name}.hub")
        return corpus.model_copy(update={"revision": sha})

    def model(self, name: str, model: Model) -> Model:
        source = model.import_
        if source is None or source.hub is None:
            return model
        sha = self._commit("model", source.hub, source.revision, f"models.{name}.import.hub")
        return model.model_copy(update={"import_": source.model_copy(update={"revision": sha})})

    def tokenizer(self, tokenizer: Tokenizer) -> Tokenizer:
        if tokenizer.pretrained is None:
            return tokenizer
        path = "tokenizer.pretrained"
        sha = self._commit("model", tokenizer.pretrained, tokenizer.revision, path)
        return tokenizer.model_copy(update={"revision": sha})

    def dictionaries(self, name: str, group: Dictionaries) -> Dictionaries:
        if group.import_ is None:
            return group
        pinned = dict(group.import_)
        for model, source in group.import_.items():
            if source.hub is not None:
                path = f"dictionaries.{name}.import.{model}.hub"
                sha = self._commit("model", source.hub, source.revision, path)
                pinned[model] = source.model_copy(update={"revision": sha})
        return group.model_copy(update={"import_": pinned})

    def _commit(
        self, kind: RepositoryKind, name: str, revision: str | None, path: str
    ) -> str | None:
        if revision is not None and COMMIT.fullmatch(revision):
            return revision
        try:
            return self._hub.commit(kind, name, revision)
        except HubMissing as error:
            self.errors.append(SpecError(path, str(error)))
        except HubDown:
            raise HubUnreachable(
                path,
                f"the hub cannot be reached to look up the {WORDS[kind]} {name}; a commit in "
                "`revision` (40 hexadecimal digits) needs no look-up",
            ) from None
        return revision
