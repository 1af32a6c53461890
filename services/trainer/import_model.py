"""Stage `import`: a model that was trained elsewhere, from the hub or from an uploaded archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (torch's own name for it)
from tokenizers import Tokenizer

from shared.data.download import download
from shared.data.unpack import unpack
from shared.lm.load import load_model
from shared.lm.loss import output_weight
from shared.lm.save import describe, save_model
from shared.stages.stage import Stage, StageError
from shared.stages.trainer import ImportParameters

HUB_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
)
PROBE_TOKENS = 8
PROBE_TOLERANCE = 1e-3  # of the largest logit: float32 sums in another order differ by 1e-5


def run(stage: Stage) -> None:
    """Write the model as float32, with the experiment's tokenizer; results as for `initialise`."""
    parameters = ImportParameters.model_validate(stage.parameters)
    source = stage.scratch / "model"
    source.mkdir()
    if parameters.upload is not None:
        unpack(stage.uploads[parameters.upload], parameters.format or "zip", source)
    else:
        download(parameters.hub, parameters.revision, source, HUB_FILES, "model")
    if not any(source.glob("*.safetensors")):
        raise StageError("the imported model has no *.safetensors: pickled weights are never read")
    tokenizer = stage.input("tokenizer").path
    check_vocabulary(source, tokenizer)
    try:
        model = load_model(source)
        _check_output_layer(model)
    except ValueError as error:
        raise StageError(f"the imported model cannot be used: {error}") from error
    _check_embeddings(model, tokenizer)
    save_model(model, tokenizer, stage.output)
    stage.results.update(describe(model))


def check_vocabulary(model: Path, tokenizer: Path) -> None:
    """Raise StageError unless both directories' tokenizers map the same tokens to the same ids."""
    theirs, ours = _vocabulary(model), _vocabulary(tokenizer)
    if theirs == ours:
        return
    token = min(theirs.items() ^ ours.items(), key=lambda item: (item[1], item[0]))[0]
    raise StageError(
        f"the imported model's tokenizer differs from the experiment's: token {token!r} has "
        f"id {theirs.get(token, 'none')} there and {ours.get(token, 'none')} here"
    )


def _vocabulary(directory: Path) -> dict[str, int]:
    path = directory / "tokenizer.json"
    if not path.exists():
        raise StageError("the imported model has no tokenizer.json to compare vocabularies with")
    try:
        ids: dict[str, int] = Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True)
    except Exception as error:  # tokenizers raises plain Exception
        raise StageError(f"the imported model's tokenizer.json is damaged: {error}") from error
    return ids


def _check_embeddings(model: Any, tokenizer: Path) -> None:
    highest = max(_vocabulary(tokenizer).values())
    rows = len(model.get_input_embeddings().weight)
    if rows <= highest:
        raise StageError(
            f"the imported model has {rows} embeddings, but the tokenizer's ids go up to {highest}"
        )


@torch.no_grad()
def _check_output_layer(model: Any) -> None:
    """Raise ValueError unless logits are hidden @ weight.T: some models scale or cap them."""
    tokens_BT = torch.arange(PROBE_TOKENS, device=model.device)[None]
    hidden_BTD = model.base_model(input_ids=tokens_BT, use_cache=False).last_hidden_state
    expected_BTV = model(input_ids=tokens_BT, use_cache=False).logits
    difference = (F.linear(hidden_BTD, output_weight(model)) - expected_BTV).abs().max()
    if not difference <= PROBE_TOLERANCE * expected_BTV.abs().max():
        raise ValueError(f"{type(model).__name__} scales or caps its logits")
