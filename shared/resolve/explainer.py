"""What a stage key may know of the language model that explains features: digests, no names."""

from __future__ import annotations

from shared.settings import Settings
from shared.stages.explainer_settings import ExplainerSettings

# sha256 over the files in services/analyzer/explain/language_model/templates; a test keeps it so.
# A changed prompt changes the keys of the stages that ask.
PROMPTS = "c33bf556aef9b5e562ea364c18cf6bc1987f0bd3c16c75ca7f33d3a04e7bad10"


def is_configured(settings: Settings) -> bool:
    """True when this process knows a language model that it could ask."""
    return bool(settings.explain_url and settings.explain_model)


def endpoint_digest(settings: Settings) -> str:
    """The sha256 (hex) of the server's address and the language model's name."""
    return explainer_settings(settings).endpoint


def explainer_settings(settings: Settings) -> ExplainerSettings:
    """What a stage is given of the settings, to ask the language model."""
    return ExplainerSettings(
        url=settings.explain_url,
        model=settings.explain_model,
        key=settings.explain_key,
        concurrency=settings.explain_concurrency,
        timeout=settings.explain_timeout,
        grace=settings.grace,
    )
