"""Stage `import_dictionary`: a dictionary that was trained elsewhere.

It comes from the hub or from an uploaded archive, in the file format of SAELens.
"""

from __future__ import annotations

from dataclasses import replace
from glob import escape
from pathlib import Path, PurePosixPath

import torch

from services.sae.fit import check_width
from shared.data.download import download
from shared.data.unpack import unpack
from shared.lm import hooks
from shared.lm.dictionary import CONFIG, SCALER, WEIGHTS, Dictionary, load_dictionary
from shared.lm.load import load_skeleton
from shared.stages.sae import ImportDictionaryParameters
from shared.stages.stage import Stage, StageError


def run(stage: Stage) -> None:
    """Write cfg.json and sae_weights.safetensors; results features, width and variant.

    The weights are those of the file in float32, or plain ones that are equivalent to them.
    Raises StageError for files that cannot be read exactly, or a dictionary that was trained at
    another width, hook point or layer.
    """
    parameters = ImportDictionaryParameters.model_validate(stage.parameters)
    source = stage.scratch / "dictionary"
    source.mkdir()
    directory = fetch(stage, parameters, source)
    try:
        dictionary = load_dictionary(directory)
        model = load_skeleton(stage.input("model").path)
        check_width(dictionary, hooks.width(model, parameters.hook, parameters.layer))
    except ValueError as error:
        sentence = str(error).replace(str(directory), "the imported directory")
        raise StageError(f"the imported dictionary cannot be used: {sentence}") from error
    check_place(dictionary, parameters.hook, parameters.layer)
    check_finite(dictionary)
    replace(dictionary, hook=parameters.hook, layer=parameters.layer).save(stage.output)
    stage.results.update(
        features=dictionary.features, width=dictionary.width, variant=dictionary.variant
    )


def fetch(stage: Stage, parameters: ImportDictionaryParameters, target: Path) -> Path:
    """Put the dictionary's files below `target`; returns the directory that holds them."""
    if parameters.upload is not None:
        form = parameters.format or "zip"
        unpack(stage.uploads[parameters.upload], form, target, "dictionary", CONFIG)
        return target
    folder = PurePosixPath(parameters.path)
    if folder.is_absolute() or ".." in folder.parts:
        raise StageError(f"path: {parameters.path!r} leads out of the repository")
    files = [escape(str(folder / name)) for name in (CONFIG, WEIGHTS, SCALER)]
    download(parameters.hub, parameters.revision, target, files, "dictionary")
    if not (target / folder / WEIGHTS).exists():
        raise StageError(
            f"path: {parameters.hub} has no {folder / WEIGHTS}; other layouts are not read, and "
            "pickled weights never"
        )
    return target / folder


def check_place(dictionary: Dictionary, hook: str, layer: int) -> None:
    """Raise StageError when the files name another hook point or layer than the user does.

    A name that is not TransformerLens' could mean anything, so there the user's word counts.
    """
    standard = dictionary.hook in hooks.HOOKS
    if standard and (dictionary.hook, dictionary.layer) != (hook, layer):
        raise StageError(
            f"hook and layer: the dictionary was trained at {dictionary.hook} of layer "
            f"{dictionary.layer}, not at {hook} of layer {layer}"
        )
    if not standard and dictionary.hook.startswith("blocks."):
        raise StageError(
            f"hook: the dictionary was trained at {dictionary.hook}, which is none of "
            f"{', '.join(hooks.HOOKS)}"
        )


def check_finite(dictionary: Dictionary) -> None:
    """Raise StageError when a weight is infinite or not a number."""
    weights = (dictionary.encoder_DF, dictionary.encoder_bias_F, dictionary.decoder_FD,
               dictionary.decoder_bias_D)  # fmt: skip
    finite = all(bool(torch.isfinite(weight).all()) for weight in weights)
    # An infinite threshold is valid: the feature never fires.
    undefined = dictionary.threshold_F is not None and bool(dictionary.threshold_F.isnan().any())
    if not finite or undefined:
        raise StageError("the imported dictionary holds weights that are not finite")
