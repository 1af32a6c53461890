"""The way in: compares this worker's settings with what the stage's key holds, then asks."""

from __future__ import annotations

from collections.abc import Sequence

from services.analyzer.explain.language_model.material import Examples, Held, Spent
from services.analyzer.explain.language_model.prompts import prompts_digest
from shared.resolve.explainer import endpoint_digest
from shared.settings import Settings
from shared.stages.explain import LanguageModel
from shared.stages.stage import Stage, StageError


def ask(stage: Stage, model: LanguageModel, material: Sequence[tuple[Examples, Held]]) -> Spent:
    """Ask the language model of this worker's settings about features, in the given order.

    Answers are kept in the stage's checkpoints as they arrive: what an earlier attempt was answered
    is not asked again, and counts towards the budget. Raises Leave when the stage was asked to
    stop, Hindered when the server stays away, StageError when it refuses or the settings are not
    those that the stage was planned with.
    """
    settings = Settings()
    check(settings, model)
    # A rule needs no client, which takes a second to load.
    from services.analyzer.explain.language_model.asking import Asking

    return Asking(stage, model, material, settings).run()


def check(settings: Settings, model: LanguageModel) -> None:
    """StageError when this worker would ask somebody else, or something else; names no value."""
    for name in ("url", "model"):
        if not getattr(settings, f"explain_{name}"):
            raise StageError(f"LINEAMENT_EXPLAIN_{name.upper()} is not set on this worker")
    if endpoint_digest(settings) != model.endpoint:
        raise StageError(
            "LINEAMENT_EXPLAIN_URL or LINEAMENT_EXPLAIN_MODEL on this worker is not what the "
            "server had that planned this experiment: set both alike, or submit it again"
        )
    if prompts_digest() != model.prompts:
        raise StageError(
            "the prompts of this worker are not those of the server that planned this experiment: "
            "run the same version everywhere, or submit it again"
        )
