"""The documents of a corpus, read from its source: the hub, an upload, or this project itself.

Documents are read one at a time. Data that cannot be used raise a StageError of one sentence.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from services.trainer.corpus.builtin import documents as builtin_documents
from services.trainer.corpus.builtin.grammar import Document
from shared.data.inspect import UploadError, read_upload
from shared.data.readers import MAX_DOCUMENT, Skipped
from shared.resolve.standard_library import python_stdlib_digest
from shared.spec.builtins import BUILTINS
from shared.stages.stage import StageError
from shared.stages.trainer import BuiltinSource, CorpusParameters, HubSource, UploadSource

GENERATED_BYTES = 8_000_000  # of text in a generated corpus that max_bytes does not limit


def documents(
    parameters: CorpusParameters, uploads: Mapping[str, Path], skipped: Skipped
) -> Iterator[Document]:
    """The documents of a corpus, in the order of its source; `skipped` counts those left out.

    Raises StageError for data that cannot be used.
    """
    source = parameters.source
    if isinstance(source, HubSource):
        return _hub(source, skipped)
    if isinstance(source, UploadSource):
        return _upload(source, uploads[source.digest], skipped)
    return _builtin(source, parameters)


def describe(parameters: CorpusParameters) -> str:
    """The source in words, for messages."""
    source = parameters.source
    if isinstance(source, HubSource):
        return f"the data set {source.name} ({source.split})"
    if isinstance(source, UploadSource):
        return f"the upload {source.digest[:12]}"
    return f"the built-in corpus {source.name}"


def _upload(source: UploadSource, path: Path, skipped: Skipped) -> Iterator[Document]:
    try:
        for text in read_upload(path, source.format, source.text_column, skipped):
            yield Document(text)
    except UploadError as error:
        raise StageError(f"upload {source.digest[:12]} ({source.format}): {error}") from error


def _builtin(source: BuiltinSource, parameters: CorpusParameters) -> Iterator[Document]:
    generated = BUILTINS[source.name].generated
    here = BUILTINS[source.name].digest or python_stdlib_digest()
    if here != source.digest:
        what = "this version of Lineament" if generated else f"Python {platform.python_version()}"
        raise StageError(
            f"built-in corpus {source.name}: the plan names the text {source.digest[:12]}, but "
            f"{what} has {here[:12]}; plan and run with the same one"
        )
    size = 0
    for document in builtin_documents(source.name, parameters.seed):
        yield document
        size += len(document.text)
        if generated and parameters.max_bytes is None and size >= GENERATED_BYTES:
            return


def _hub(source: HubSource, skipped: Skipped) -> Iterator[Document]:
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    datasets.disable_progress_bars()
    try:
        rows = datasets.load_dataset(
            source.name,
            source.config,
            revision=source.revision,
            split=source.split,
            streaming=True,
        )
    except (DatasetNotFoundError, ValueError, FileNotFoundError) as error:
        reason = str(error).strip().splitlines()[0]
        raise StageError(f"data set {source.name} at {source.revision}: {reason}") from error
    for number, row in enumerate(_undamaged(rows, source), 1):
        if source.text_column not in row:
            columns = ", ".join(sorted(row))
            raise StageError(
                f"data set {source.name}: no column {source.text_column!r}, only {columns}"
            )
        text = row[source.text_column]
        if text is None:
            skipped["empty"] += 1
        elif not isinstance(text, str):
            raise StageError(
                f"data set {source.name}: column {source.text_column!r} of row {number} is not "
                f"text but {type(text).__name__}"
            )
        elif len(text) > MAX_DOCUMENT:
            skipped["too long"] += 1
        else:
            yield Document(text)


def _undamaged(rows: Iterable[dict[str, Any]], source: HubSource) -> Iterator[dict[str, Any]]:
    """The rows; StageError where a file of the data set cannot be decoded.

    pyarrow reports damaged pages by its own errors or by a bare OSError. An OSError with a number,
    or of a subclass, comes from the network, and another attempt may succeed.
    """
    number = 0
    try:
        for row in rows:
            number += 1
            yield row
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise StageError(
            f"data set {source.name} at {source.revision} is damaged after row {number}: {reason}"
        ) from error
