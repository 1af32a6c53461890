"""Download one commit of a hub repository, for the stages that import models and dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import errors, snapshot_download

from shared.stages.stage import StageError


def download(
    name: str | None, revision: str | None, target: Path, patterns: Sequence[str], what: str
) -> None:
    """Download the files of a repository that match `patterns` into `target`, paths unchanged.

    Raises StageError when the hub has no such repository or commit; `what` names the thing in its
    message. Network errors pass through unchanged, and the stage is tried again.
    """
    if name is None or revision is None:
        raise StageError(f"the {what} to import is named neither by hub and revision nor by upload")
    try:
        snapshot_download(name, revision=revision, local_dir=target, allow_patterns=list(patterns))
    except (
        errors.RepositoryNotFoundError,
        errors.RevisionNotFoundError,
        errors.HFValidationError,
    ) as error:
        raise StageError(
            f"the hub has no {what} {name} at {revision} that can be read: {error}"
        ) from error
