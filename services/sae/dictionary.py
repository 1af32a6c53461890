"""Stage `dictionary`: train a dictionary on one model's activations and export it."""

from __future__ import annotations

from services.sae.training.together import Directories, train_all
from shared.stages.sae import DictionaryParameters
from shared.stages.stage import Stage


def run(stage: Stage) -> None:
    """Write cfg.json, sae_weights.safetensors and curve.jsonl; see DICTIONARY.

    Raises StageError for a layer that does not exist, fewer tokens than one step, parameters that
    do not fit the variant, activations that are zero or not finite, or a loss that is not finite.
    """
    parameters = DictionaryParameters.model_validate(stage.parameters)
    directories = Directories([stage.output], ".")
    stage.results.update(train_all(stage, [parameters], directories)[0])
