"""Pin everything in a spec that could change, then check what only the pinned files show.

Hub names become commits, upload names become digests, built-in texts become the digest of their
content. What cannot work is refused here, before anything is queued.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

from shared.data.uploads import UploadInfo
from shared.resolve.hub import (
    Hub,
    HubMissing,
    HubResolver,
    HubUnreachable,
    ProvisionalHub,
)
from shared.resolve.model_files import read_config, vocabulary_size
from shared.resolve.pins import pin, revisions
from shared.resolve.resolved import (
    UNRESOLVED,
    BuiltinText,
    ImportedModel,
    PinnedLanguageModel,
    ResolvedSpec,
)
from shared.resolve.sizes import ARCHIVES, too_many_tokens
from shared.resolve.standard_library import python_stdlib_digest, python_stdlib_files
from shared.spec import Spec
from shared.spec.builtins import BUILTINS
from shared.spec.check import check_shapes, check_vocabulary
from shared.spec.errors import SpecError, raise_all

__all__ = [
    "Hub",
    "HubResolver",
    "HubUnreachable",
    "ProvisionalHub",
    "ResolvedSpec",
    "UploadInfo",
    "resolve",
]

FindUpload = Callable[[str], UploadInfo | None]
ReadUpload = Callable[[UploadInfo, str], bytes | None]
NO_LANGUAGE_MODEL = (
    "this server has none; its operator names one by LINEAMENT_EXPLAIN_URL and "
    "LINEAMENT_EXPLAIN_MODEL, and without it rules name the features all the same"
)
CORPUS_FORMATS = ("jsonl", "parquet", "text", "zip", "tar")


def resolve(
    spec: Spec,
    uploads: FindUpload,
    hub: HubResolver,
    read_upload: ReadUpload | None = None,
    language_model: PinnedLanguageModel | None = None,
) -> ResolvedSpec:
    """The spec with its hub revisions, uploads and built-in texts pinned.

    `uploads` finds an upload by name. `read_upload` reads a small file of one (config.json in an
    archive, tokenizer.json of an uploaded tokenizer), or gives None where there is none; without
    it only the stages check such files. `language_model` is the server's, None where it has none.
    Raises SpecError or SpecErrors, and HubUnreachable when the hub does not answer.
    """
    needs_language_model = spec.explain is not None and spec.explain.language_model
    if needs_language_model and language_model is None:
        raise SpecError("explain.language_model", NO_LANGUAGE_MODEL)
    pinned = pin(spec, hub)
    infos = _uploads(pinned, uploads)
    files = _Files(infos, hub, read_upload)
    imported = _imported(pinned, files)
    vocabulary = _vocabulary(pinned, files)
    resolved = ResolvedSpec(
        spec=pinned,
        uploads=infos,
        builtins={c.builtin: _builtin(c.builtin) for c in pinned.corpora.values() if c.builtin},
        imported=imported,
        vocab_size=vocabulary,
        provisional=UNRESOLVED in revisions(pinned),
        language_model=language_model if needs_language_model else None,
    )
    raise_all([*_misfits(resolved), *too_many_tokens(resolved)])
    return resolved


# ------------------------------------------------------------------------------- uploads


def _wanted_uploads(spec: Spec) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(path of the field, name of the upload, formats that fit) for every upload of a spec."""
    if spec.tokenizer.upload is not None:
        yield "tokenizer.upload", spec.tokenizer.upload, ("tokenizer",)
    for name, corpus in spec.corpora.items():
        if corpus.upload is not None:
            yield f"corpora.{name}.upload", corpus.upload, CORPUS_FORMATS
    for name, model in spec.models.items():
        if model.import_ is not None and model.import_.upload is not None:
            yield f"models.{name}.import.upload", model.import_.upload, ARCHIVES
    for name, group in spec.dictionaries.items():
        for model_name, source in (group.import_ or {}).items():
            if source.upload is not None:
                path = f"dictionaries.{name}.import.{model_name}.upload"
                yield path, source.upload, ARCHIVES


def _uploads(spec: Spec, find: FindUpload) -> dict[str, UploadInfo]:
    infos: dict[str, UploadInfo] = {}
    errors: list[SpecError] = []
    for path, name, formats in _wanted_uploads(spec):
        info = find(name)
        if info is None:
            errors.append(SpecError(path, f"there is no upload {name}"))
        elif info.format not in formats:
            errors.append(
                SpecError(path, f"{name} is {info.format}; here {', '.join(formats)} fits")
            )
        elif info.bytes == 0 or info.rows == 0:
            errors.append(SpecError(path, f"{name} is empty"))
        else:
            infos[name] = info
    raise_all(errors)
    return infos


class _Files:
    """Small files of imported models and tokenizers, from the hub or from uploads."""

    def __init__(
        self, uploads: dict[str, UploadInfo], hub: HubResolver, read: ReadUpload | None
    ) -> None:
        self._uploads = uploads
        self._hub = hub
        self._read = read

    def of_hub(self, name: str, commit: str | None, file: str, path: str) -> bytes | None:
        """A file of a hub repository; None when the hub cannot be asked."""
        if commit is None or commit == UNRESOLVED:
            return None
        try:
            return self._hub.file(name, commit, file)
        except HubMissing as error:
            raise SpecError(path, str(error)) from None

    def of_upload(self, name: str, file: str, path: str) -> bytes | None:
        """A file of an upload; None when the caller gave no way to read uploads."""
        if self._read is None:
            return None
        data = self._read(self._uploads[name], file)
        if data is None:
            raise SpecError(path, f"{name} has no {file}")
        return data


# ---------------------------------------------------------------- models and vocabularies


def _imported(spec: Spec, files: _Files) -> dict[str, ImportedModel]:
    imported: dict[str, ImportedModel] = {}
    for name, model in spec.models.items():
        source = model.import_
        if source is None:
            continue
        path = f"models.{name}.import"
        if source.hub is not None:
            data = files.of_hub(source.hub, source.revision, "config.json", f"{path}.hub")
        else:
            data = files.of_upload(source.upload or "", "config.json", f"{path}.upload")
        try:
            config = read_config(data) if data is not None else None
        except ValueError as error:
            raise SpecError(path, f"its config.json {error}") from None
        if config is not None:
            imported[name] = config
    return imported


def _vocabulary(spec: Spec, files: _Files) -> int | None:
    """The tokenizer's number of tokens: read from its file, else as the spec declares it."""
    tokenizer = spec.tokenizer
    if tokenizer.train is not None:
        return tokenizer.train.vocab_size
    if tokenizer.pretrained is not None:
        path = "tokenizer.pretrained"
        data = files.of_hub(tokenizer.pretrained, tokenizer.revision, "tokenizer.json", path)
    else:
        path = "tokenizer.upload"
        data = files.of_upload(tokenizer.upload or "", "tokenizer.json", path)
    try:
        size = vocabulary_size(data) if data is not None else None
    except ValueError as error:
        raise SpecError(path, f"its tokenizer.json {error}") from None
    if size is not None and tokenizer.vocab_size not in (None, size):
        raise SpecError(
            "tokenizer.vocab_size", f"the tokenizer has {size} tokens, not {tokenizer.vocab_size}"
        )
    return size or tokenizer.vocab_size


def _misfits(resolved: ResolvedSpec) -> Iterator[SpecError]:
    """Errors of shapes and vocabularies that only the files of hub and uploads reveal."""
    spec, vocabulary = resolved.spec, resolved.vocab_size
    yield from check_shapes(
        spec, {name: model.architecture for name, model in resolved.imported.items()}
    )
    if vocabulary is None:
        return
    yield from check_vocabulary(spec, vocabulary)
    for name, model in resolved.imported.items():
        if model.vocab_size != vocabulary:
            yield SpecError(
                f"models.{name}.import",
                f"has a vocabulary of {model.vocab_size}, the tokenizer has {vocabulary}",
            )


@lru_cache(maxsize=1)
def _python_stdlib() -> BuiltinText:
    size = sum(path.stat().st_size for path in python_stdlib_files())
    return BuiltinText(digest=python_stdlib_digest(), bytes=size)


def _builtin(name: str) -> BuiltinText:
    digest = BUILTINS[name].digest
    return _python_stdlib() if digest is None else BuiltinText(digest=digest)
