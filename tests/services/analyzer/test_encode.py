"""Features of a model over a held-out stream, and the file that holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from services.analyzer import encode
from services.analyzer.codes.codes import CodesWriter, load_codes, load_documents
from services.analyzer.encode import document_numbers, run
from shared.data.token_stream import HeldOut, held_out
from shared.lm.dictionary import Dictionary, load_dictionary
from shared.lm.hooks import activations
from shared.lm.load import load_model
from shared.stages.stage import Input, Leave, StageError
from tests.support.dictionaries import CONTEXT, WIDTH, packed_tokens, tiny_model
from tests.support.planted import codes_of, dense_of, encode_artifact, firing
from tests.support.stages import make_stage, run_stage

FEATURES = 40
PARAMETERS = {"layer": 1, "tokens": 300, "context": CONTEXT}
Inputs = dict[str, tuple[Path, dict[str, Any]]]


def write_dictionary(directory: Path, width: int = WIDTH, bias: float = -0.02) -> Path:
    directory.mkdir()
    generator = torch.Generator().manual_seed(3)
    decoder = torch.randn(FEATURES, width, generator=generator)
    Dictionary(
        encoder_DF=decoder.T.clone(),
        encoder_bias_F=torch.full((FEATURES,), bias),
        decoder_FD=decoder,
        decoder_bias_D=torch.zeros(width),
        hook="mlp_post",
        layer=1,
    ).save(directory)
    return directory


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return {
        "model": (tiny_model(tmp_path / "model"), {}),
        "dictionary": (write_dictionary(tmp_path / "dictionary"), {}),
        "tokens/0": (packed_tokens(tmp_path / "first", seed=1), {"end_of_text": 5}),
        "tokens/1": (packed_tokens(tmp_path / "second", blocks=8, seed=2), {"end_of_text": 7}),
    }


def test_codes_are_the_dictionarys_features_of_the_clean_activations(
    inputs: Inputs, tmp_path: Path
) -> None:
    output, results = run_stage(run, PARAMETERS, inputs, tmp_path / "codes")
    stream = held_out([inputs["tokens/0"][0], inputs["tokens/1"][0]], 300, CONTEXT)
    x_BTD = activations(
        load_model(inputs["model"][0]), torch.from_numpy(stream.tokens_CT.astype("i8")), layer=1
    )
    expected = load_dictionary(inputs["dictionary"][0]).encode(x_BTD.flatten(0, 1)).numpy()
    codes = load_codes(Input("codes", output, results))
    np.testing.assert_allclose(dense_of(codes), expected, rtol=1e-5, atol=1e-6)
    assert 0 < results["l0"] < FEATURES
    assert results["l0"] == pytest.approx((expected > 0).sum(axis=1).mean(), rel=1e-3)
    assert results["tokens"] == stream.tokens == len(expected)
    assert results["features"] == FEATURES
    # The second corpus has less than its half of 300 tokens and gives all it has.
    assert results["corpora"] == [144, 64]


def test_the_file_is_safetensors_with_features_ascending_in_each_token(
    inputs: Inputs, tmp_path: Path
) -> None:
    output, results = run_stage(run, PARAMETERS, inputs, tmp_path / "codes")
    stored = load_file(output / "codes.safetensors")
    dtypes = {name: str(array.dtype) for name, array in stored.items()}
    assert dtypes == {"indptr": "int64", "features": "int32", "values": "float32"}
    assert stored["indptr"].shape == (results["tokens"] + 1,)
    assert stored["indptr"][-1] == len(stored["features"]) == len(stored["values"])
    within = np.ones(len(stored["features"]) - 1, bool)
    within[stored["indptr"][1:-1] - 1] = False
    assert (np.diff(stored["features"])[within] > 0).all()
    assert (stored["values"] > 0).all()


def test_documents_end_with_end_of_text_and_with_their_corpus(
    inputs: Inputs, tmp_path: Path
) -> None:
    stream = held_out([inputs["tokens/0"][0], inputs["tokens/1"][0]], 300, CONTEXT)
    tokens = stream.tokens_CT.reshape(-1).astype(np.int64)
    ends = [int(np.bincount(part).argmax()) for part in (tokens[:144], tokens[144:])]
    for number, end in enumerate(ends):
        inputs[f"tokens/{number}"] = (inputs[f"tokens/{number}"][0], {"end_of_text": end})
    output, results = run_stage(run, PARAMETERS, inputs, tmp_path / "codes")
    documents_T = load_documents(Input("codes", output, results))
    assert (documents_T.dtype, len(documents_T)) == (np.int32, results["tokens"])
    # Token by token: a new document after each end-of-text, and at the second corpus.
    expected: list[int] = []
    number = 0
    for place, token in enumerate(tokens.tolist()):
        number += place == 144 and expected[-1] == number
        expected.append(number)
        number += token == ends[place >= 144]
    assert documents_T.tolist() == expected
    assert results["documents"] == expected[-1] + 1 > 2


def test_an_end_of_text_at_the_end_of_a_corpus_ends_one_document_only() -> None:
    tokens_CT = np.array([[1, 0, 3], [4, 5, 0], [2, 0, 2]])
    stream = HeldOut(tokens_CT, np.array([0, 0, 1]))
    assert document_numbers(stream, [0, 2]).tolist() == [0, 0, 1, 1, 1, 1, 2, 3, 3]


def test_smaller_chunks_give_the_same_codes(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, results = run_stage(run, PARAMETERS, inputs, tmp_path / "whole")
    monkeypatch.setattr(encode, "BATCH_TOKENS", 3 * CONTEXT)
    monkeypatch.setattr(encode, "CHUNK_VALUES", 7 * FEATURES)
    parts, _ = run_stage(run, PARAMETERS, inputs, tmp_path / "parts")
    dense = [dense_of(load_codes(Input("codes", path, results))) for path in (whole, parts)]
    np.testing.assert_allclose(dense[0], dense[1], rtol=1e-5, atol=1e-6)


def test_the_same_inputs_give_the_same_bytes(inputs: Inputs, tmp_path: Path) -> None:
    files = [
        run_stage(run, PARAMETERS, inputs, tmp_path / name)[0] / "codes.safetensors"
        for name in ("a", "b")
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_dictionary_of_another_width_is_refused(inputs: Inputs, tmp_path: Path) -> None:
    inputs["dictionary"] = (write_dictionary(tmp_path / "other", width=WIDTH + 1), {})
    with pytest.raises(StageError, match=f"width {WIDTH + 1}.*width {WIDTH} at mlp_post"):
        run_stage(run, PARAMETERS, inputs, tmp_path / "codes")


def test_a_layer_that_the_model_lacks_is_refused(inputs: Inputs, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="layer 7 is out of range"):
        run_stage(run, {**PARAMETERS, "layer": 7}, inputs, tmp_path / "codes")


def test_a_context_longer_than_the_held_out_text_is_refused(inputs: Inputs, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no whole context of 100000 tokens"):
        run_stage(run, {**PARAMETERS, "context": 100_000}, inputs, tmp_path / "codes")


def test_activations_that_are_not_finite_are_refused(inputs: Inputs, tmp_path: Path) -> None:
    inputs["dictionary"] = (write_dictionary(tmp_path / "broken", bias=float("nan")), {})
    with pytest.raises(StageError, match="not finite"):
        run_stage(run, PARAMETERS, inputs, tmp_path / "codes")


def test_a_stage_that_is_asked_to_stop_leaves(inputs: Inputs, tmp_path: Path) -> None:
    stage = make_stage(PARAMETERS, inputs, tmp_path / "codes")
    stage._stop.set()
    with pytest.raises(Leave):
        run(stage)


def test_codes_survive_being_written_in_parts(tmp_path: Path) -> None:
    dense = firing(np.random.default_rng(0), 30, 6, 0.3)
    writer = CodesWriter(tmp_path)
    for part in (dense[:7], dense[7:8], dense[8:]):
        codes = codes_of(part)
        writer.append(np.diff(codes.starts_T), codes.features_Z, codes.values_Z.astype("f4"))
    assert writer.finish(tmp_path) == np.count_nonzero(dense)
    read = load_codes(Input("codes", tmp_path, {"features": 6}))
    np.testing.assert_array_equal(dense_of(read), dense)


def test_codes_without_any_firing_can_be_read_again(tmp_path: Path) -> None:
    path, results = encode_artifact(codes_of(np.zeros((4, 3))), tmp_path / "codes")
    codes = load_codes(Input("codes", path, results))
    assert (codes.tokens, codes.entries, codes.width) == (4, 0, 3)
    assert codes.firings.tolist() == [0, 0, 0]
