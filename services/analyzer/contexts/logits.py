"""logits.parquet: the tokens whose logits each feature raises or lowers most.

F: features of a chunk, D: width at the hook point, V: vocabulary, K: tokens shown of each kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from shared.arrays import FloatArray, IntArray
from shared.lm.dictionary import load_dictionary
from shared.lm.load import load_model
from shared.lm.loss import output_weight
from shared.lm.unembed import direct_effect
from shared.stages.stage import Leave, Stage, StageError
from shared.stages.tracking import ContextsParameters

CHUNK_VALUES = 1 << 24  # effects held at a time, features times vocabulary: 64 MiB of float32
KINDS = ("raised", "lowered")


def effects_table(
    stage: Stage, parameters: ContextsParameters, texts: Sequence[str], features: int
) -> pa.Table:
    """The `logits` highest and lowest direct effects of every feature (see CONTEXTS).

    texts: the tokens' texts, by id; ids that the model has and the tokenizer has not are left out.
    Effects: `shared.lm.unembed.direct_effect`. Of equal effects the lower id comes first.
    Raises StageError when the dictionary does not belong to the codes or to the model's hook point.
    """
    try:
        model = load_model(stage.input("model").path)
        dictionary = load_dictionary(stage.input("dictionary").path, model.device)
        if dictionary.features != features:
            raise ValueError(
                f"the dictionary has {dictionary.features} features, the codes have {features}"
            )
        parts = list(_chunks(stage, model, parameters, dictionary.decoder_FD, texts))
    except ValueError as error:
        raise StageError(f"effects on the logits cannot be computed: {error}") from error
    ids, effects = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _table(ids, effects, texts)


def _chunks(
    stage: Stage,
    model: Any,
    parameters: ContextsParameters,
    directions_FD: Tensor,
    texts: Sequence[str],
) -> Iterator[tuple[IntArray, FloatArray]]:
    """Token ids and effects [F, 2, K] for some features at a time: raised, then lowered tokens."""
    features, vocabulary = len(directions_FD), len(output_weight(model))
    size = max(1, CHUNK_VALUES // vocabulary)
    unknown_V = torch.tensor([not text for text in texts[:vocabulary]], device=model.device)
    count = min(parameters.logits, int((~unknown_V).sum()))
    for start in range(0, features, size):
        if stage.stopping:
            raise Leave
        effect_FV = direct_effect(
            model, parameters.hook, parameters.layer, directions_FD[start : start + size]
        )[:, : len(unknown_V)]
        extremes = [
            _extreme(effect_FV.masked_fill_(unknown_V, -sign * torch.inf), count, sign)
            for sign in (1, -1)
        ]
        ids, effects = (np.stack(part, axis=1) for part in zip(*extremes, strict=True))
        yield ids, effects
        stage.progress(start + len(ids), features, "directions")


def _extreme(effect_FV: Tensor, count: int, sign: int) -> tuple[IntArray, FloatArray]:
    """Ids and values [F, K] of the highest (sign 1) or lowest (-1) effects, the extreme first."""
    effect_FK, id_FK = effect_FV.topk(count, dim=1, largest=sign > 0)
    ids, effects = id_FK.cpu().numpy(), effect_FK.double().cpu().numpy()
    order = np.lexsort((ids, -sign * effects), axis=1)
    return np.take_along_axis(ids, order, 1), np.take_along_axis(effects, order, 1)


def _table(ids: IntArray, effects: FloatArray, texts: Sequence[str]) -> pa.Table:
    feature, kind, rank = np.indices(ids.shape).reshape(3, -1)
    flat = pa.array(ids.reshape(-1))
    return pa.table(
        {
            "feature": pa.array(feature, pa.int32()),
            "kind": pa.array(KINDS, pa.string()).take(pa.array(kind)),
            "rank": pa.array(rank, pa.int32()),
            "token": pa.array(texts, pa.string()).take(flat),
            "id": flat.cast(pa.int32()),
            "effect": pa.array(effects.reshape(-1), pa.float32()),
        }
    )
