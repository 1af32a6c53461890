"""Stage `encode`: the features of a model over a held-out token stream, from clean activations.

B: contexts of a batch, T: tokens of a context, D: width at the hook point, N: tokens of a chunk,
F: features, Z: non-zero activations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from services.analyzer.codes.codes import DOCUMENTS, CodesWriter
from shared.data.token_stream import HeldOut, held_out
from shared.lm.device import device
from shared.lm.dictionary import Dictionary, load_dictionary
from shared.lm.hooks import activations
from shared.lm.hooks import width as hook_width
from shared.lm.load import load_model
from shared.stages.analyzer import EncodeParameters
from shared.stages.stage import Leave, Stage, StageError

# Fixed sizes: another batch could round differently, and the same key must give the same bits.
BATCH_TOKENS = 4096  # of one forward pass
CHUNK_VALUES = 1 << 25  # tokens x features that are dense at a time: 128 MiB of float32


def run(stage: Stage) -> None:
    """Encode the stream of the inputs tokens/0.. (see ENCODE)."""
    parameters = EncodeParameters.model_validate(stage.parameters)
    stream = _stream(stage, parameters)
    on = device()
    model = load_model(stage.input("model").path, on)
    dictionary = load_dictionary(stage.input("dictionary").path, on)
    _check_fit(model, dictionary, parameters)
    batch = max(1, BATCH_TOKENS // parameters.context)
    writer = CodesWriter(stage.scratch)
    for start in range(0, len(stream.tokens_CT), batch):
        if stage.stopping:
            raise Leave
        tokens_BT = torch.from_numpy(stream.tokens_CT[start : start + batch].astype(np.int64))
        x_BTD = activations(model, tokens_BT, parameters.hook, parameters.layer)
        _append(writer, dictionary, x_BTD.flatten(0, 1))
        done = min(start + batch, len(stream.tokens_CT)) * parameters.context
        stage.progress(done, stream.tokens, "tokens")
    entries = writer.finish(stage.output)
    ends = [int(source.results["end_of_text"]) for source in stage.group("tokens")]
    documents_T = document_numbers(stream, ends)
    np.save(stage.output / DOCUMENTS, documents_T)
    stage.results.update(
        tokens=stream.tokens,
        features=dictionary.features,
        l0=entries / stream.tokens,
        corpora=_corpus_tokens(stream, len(stage.group("tokens"))),
        documents=int(documents_T[-1]) + 1,
    )


def _stream(stage: Stage, parameters: EncodeParameters) -> HeldOut:
    """The held-out stream; StageError when no corpus has a whole context of it."""
    corpora = [source.path for source in stage.group("tokens")]
    stream = held_out(corpora, parameters.tokens, parameters.context)
    if stream.tokens == 0:
        raise StageError(
            f"the validation splits hold no whole context of {parameters.context} tokens: "
            "choose a shorter context or a larger validation share"
        )
    return stream


def _check_fit(
    model: torch.nn.Module, dictionary: Dictionary, parameters: EncodeParameters
) -> None:
    try:
        width = hook_width(model, parameters.hook, parameters.layer)
    except ValueError as error:
        raise StageError(str(error)) from error
    if width != dictionary.width:
        raise StageError(
            f"the dictionary reads activations of width {dictionary.width}, but the model has "
            f"width {width} at {parameters.hook} of layer {parameters.layer}"
        )


def _append(writer: CodesWriter, dictionary: Dictionary, x_ND: torch.Tensor) -> None:
    """Encode the tokens, a chunk at a time, and write what is above zero."""
    rows = max(1, CHUNK_VALUES // dictionary.features)
    for start in range(0, len(x_ND), rows):
        f_NF = dictionary.encode(x_ND[start : start + rows])
        if not bool(torch.isfinite(f_NF.sum())):
            raise StageError("the activations of this model are not finite (NaN or infinity)")
        token_Z, feature_Z = f_NF.nonzero(as_tuple=True)
        writer.append(
            np.bincount(token_Z.cpu().numpy(), minlength=len(f_NF)),
            feature_Z.to(torch.int32).cpu().numpy(),
            f_NF[token_Z, feature_Z].cpu().numpy(),
        )


def document_numbers(stream: HeldOut, ends: Sequence[int]) -> npt.NDArray[np.int32]:
    """The document number of each token of the stream, ascending from 0: int32 [tokens].

    `ends` is the end-of-text id of each corpus. A document ends with that token, which belongs to
    it, or with its corpus; the stream may begin and end in the middle of one.
    """
    end_C = np.asarray(ends)[stream.corpus_C]
    last_T = (stream.tokens_CT == end_C[:, None]).reshape(-1)
    context = stream.tokens_CT.shape[1]
    last_T[np.flatnonzero(np.diff(stream.corpus_C)) * context + context - 1] = True
    return np.concatenate([[0], np.cumsum(last_T[:-1])]).astype(np.int32)


def _corpus_tokens(stream: HeldOut, corpora: int) -> list[int]:
    contexts: npt.NDArray[np.int64] = np.bincount(stream.corpus_C, minlength=corpora)
    return [int(count) * stream.tokens_CT.shape[1] for count in contexts]
