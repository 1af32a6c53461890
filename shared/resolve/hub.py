"""The Hugging Face hub as planning needs it: the commit that a name stands for, and small files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Protocol

from shared.resolve.resolved import UNRESOLVED
from shared.spec.errors import SpecError

RepositoryKind = Literal["dataset", "model"]
WORDS: dict[RepositoryKind, str] = {"dataset": "data set", "model": "model"}
COMMIT = re.compile(r"[0-9a-f]{40}")
TIMEOUT = 10.0  # seconds for one request to the hub
MAX_FILE = 64 << 20  # bytes; the largest tokenizer.json in use has 33 MB


class HubMissing(Exception):
    """The hub answered: there is no such repository, revision or file."""


class HubDown(Exception):
    """The hub did not answer."""


class HubUnreachable(SpecError):
    """A hub name could not be pinned because the hub did not answer."""


class HubResolver(Protocol):
    """What `resolve` needs of a hub."""

    def commit(self, kind: RepositoryKind, name: str, revision: str | None) -> str:
        """The commit (40 hexadecimal digits) of a revision, or of the newest state.

        Raises HubMissing or HubDown.
        """

    def file(self, name: str, commit: str, path: str) -> bytes | None:
        """A small file of a model repository; None when the hub cannot be asked.

        Raises HubMissing when the repository has no such file.
        """


class Hub:
    """The hub itself, or the mirror that `endpoint` or HF_ENDPOINT names, by huggingface_hub."""

    def __init__(self, endpoint: str | None = None) -> None:
        self._endpoint = endpoint

    def commit(self, kind: RepositoryKind, name: str, revision: str | None) -> str:
        """See HubResolver."""
        from huggingface_hub import HfApi, errors

        api = HfApi(endpoint=self._endpoint)
        ask = api.dataset_info if kind == "dataset" else api.model_info
        try:
            commit = ask(name, revision=revision, timeout=TIMEOUT).sha
        except errors.RevisionNotFoundError as error:
            raise HubMissing(f"{name} has no revision {revision}") from error
        except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
            raise HubMissing(f"there is no public {WORDS[kind]} {name} on the hub") from error
        except Exception as error:  # the client's transport errors change with its releases
            raise HubDown(f"{type(error).__name__}: {error}") from error
        if not commit:
            raise HubMissing(f"{name} has no commit")
        return commit

    def file(self, name: str, commit: str, path: str) -> bytes | None:
        """See HubResolver; the hub's local cache is tried first."""
        from huggingface_hub import errors, hf_hub_download

        try:
            cached = hf_hub_download(name, path, revision=commit, local_files_only=True)
            return _small(Path(cached))
        except (errors.LocalEntryNotFoundError, OSError):
            pass
        try:
            self.commit("model", name, commit)  # gives up soon; a download would try for long
            return self._download(name, commit, path)
        except errors.LocalEntryNotFoundError:
            return None
        except errors.EntryNotFoundError as error:
            raise HubMissing(f"{name} has no {path}") from error
        except HubMissing:
            raise
        except Exception:  # the stage that needs the file reports what is wrong with it
            return None

    def _download(self, name: str, commit: str, path: str) -> bytes | None:
        from huggingface_hub import hf_hub_download

        file = hf_hub_download(name, path, revision=commit, endpoint=self._endpoint)
        return _small(Path(file))


class ProvisionalHub:
    """Stands in for the hub when there is no network: nothing is pinned, yet any spec plans."""

    def commit(self, kind: RepositoryKind, name: str, revision: str | None) -> str:
        """Always "unresolved"."""
        del kind, name, revision
        return UNRESOLVED

    def file(self, name: str, commit: str, path: str) -> bytes | None:
        """Always None: the hub is not asked."""
        del name, commit, path
        return None


def _small(path: Path) -> bytes | None:
    return path.read_bytes() if path.stat().st_size <= MAX_FILE else None
