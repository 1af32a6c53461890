"""A spec in which everything that could change is pinned to its content. Pure data, no I/O."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from shared.data.uploads import UploadInfo
from shared.spec.document import Spec
from shared.spec.models import Architecture

UNRESOLVED = "unresolved"


class BuiltinText(BaseModel):
    """A built-in corpus: the digest of its content, and its size in bytes where it is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    bytes: int | None = None


class ImportedModel(BaseModel):
    """The shape and the vocabulary size in the config.json of an imported model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Architecture
    vocab_size: int


class PinnedLanguageModel(BaseModel):
    """The server's language model as it was when the spec was submitted.

    `endpoint` is the sha256 (hex) of its address and name, `prompts` that of the project's prompts
    (see shared.stages.explain.LanguageModel); `label` is what its operator calls it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str
    label: str
    prompts: str


class ResolvedSpec(BaseModel):
    """A spec whose hub revisions are commits, with the content of its uploads and built-in texts.

    `uploads` are keyed by upload name, `builtins` by the name of the text, `imported` by model (a
    model whose configuration could not be read is missing). `vocab_size` is None where only the
    tokenizer itself can show it. `provisional` means that a revision is "unresolved".
    `language_model` is None unless the spec asks for one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: Spec
    uploads: dict[str, UploadInfo] = {}
    builtins: dict[str, BuiltinText] = {}
    imported: dict[str, ImportedModel] = {}
    vocab_size: int | None = None
    provisional: bool = False
    # Left out of a dump when there is none, so that experiments without it keep their ids.
    language_model: PinnedLanguageModel | None = Field(None, exclude_if=lambda value: value is None)
