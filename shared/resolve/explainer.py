"""The language model that explains features, as stage keys contain it: digests, no names."""

from __future__ import annotations

import hashlib

from shared.settings import Settings

# sha256 over the prompt files in services/analyzer/explain/language_model; a test compares them. A
# changed prompt changes the keys of the stages that use it.
PROMPTS = "c33bf556aef9b5e562ea364c18cf6bc1987f0bd3c16c75ca7f33d3a04e7bad10"


def is_configured(settings: Settings) -> bool:
    """True when the settings name a language model."""
    return bool(settings.explain_url and settings.explain_model)


def endpoint_digest(settings: Settings) -> str:
    """The sha256 (hex) of the server's address and the language model's name."""
    return hashlib.sha256(f"{settings.explain_url}\n{settings.explain_model}".encode()).hexdigest()
