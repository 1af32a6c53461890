"""Would this worker ask whom, and what, the stage's key says?"""

from __future__ import annotations

from services.analyzer.explain.language_model.prompts import prompts_digest
from shared.stages.explain import LanguageModel
from shared.stages.explainer_settings import ExplainerSettings
from shared.stages.stage import StageError


def check(settings: ExplainerSettings, model: LanguageModel) -> None:
    """Raise StageError where this worker would ask another server, model or prompt.

    Its sentence holds none of the values.
    """
    for name in ("url", "model"):
        if not getattr(settings, name):
            raise StageError(f"LINEAMENT_EXPLAIN_{name.upper()} is not set on this worker")
    if settings.endpoint != model.endpoint:
        raise StageError(
            "LINEAMENT_EXPLAIN_URL or LINEAMENT_EXPLAIN_MODEL on this worker is not what the "
            "server had that planned this experiment: set both alike, or submit it again"
        )
    if prompts_digest() != model.prompts:
        raise StageError(
            "the prompts of this worker are not those of the server that planned this experiment: "
            "run the same version everywhere, or submit it again"
        )
