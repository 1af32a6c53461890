"""A dictionary on disk: SAELens' two files, read and written.

N: tokens, D: width, F: features.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from services.sae.weights import fold_scale
from shared.lm.dictionary import CONFIG, SCALER, WEIGHTS, Dictionary, load_dictionary
from shared.lm.hooks import HOOKS
from tests.support.dictionaries import random_weights

D, F = 6, 10


def dictionary(layer: int = 3) -> Dictionary:
    return fold_scale(random_weights(F, D), 0.5, "mlp_post", layer)


def random_tensors(*names: str, seed: int = 0) -> dict[str, Tensor]:
    """Random weights under SAELens' names."""
    draw = torch.Generator().manual_seed(seed)
    shapes = {"W_enc": (D, F), "W_dec": (F, D), "b_dec": (D,)}
    return {name: torch.randn(*shapes.get(name, (F,)), generator=draw) for name in names}


def written(
    directory: Path, tensors: dict[str, Tensor], config: dict[str, Any], scale: float | None = None
) -> Dictionary:
    """The dictionary that is read from files with these contents."""
    save_file(tensors, directory / WEIGHTS)
    (directory / CONFIG).write_text(json.dumps(config))
    if scale is not None:
        (directory / SCALER).write_text(json.dumps({"scaling_factor": scale}))
    return load_dictionary(directory)


def rewrite(directory: Path, changes: dict[str, Any]) -> None:
    config = json.loads((directory / CONFIG).read_text())
    (directory / CONFIG).write_text(json.dumps({**config, **changes}))


def inputs(count: int = 50) -> Tensor:
    return torch.randn(count, D, generator=torch.Generator().manual_seed(7))


def variant(kind: str) -> Dictionary:
    threshold_F = torch.linspace(-1, 1, F) if kind == "jumprelu" else None
    return replace(dictionary(), threshold_F=threshold_F, k=3 if kind == "topk" else None)


def test_a_saved_dictionary_comes_back_bit_for_bit(tmp_path: Path) -> None:
    saved = dictionary()
    saved.save(tmp_path)
    loaded = load_dictionary(tmp_path)
    for name in ("encoder_DF", "encoder_bias_F", "decoder_FD", "decoder_bias_D"):
        assert torch.equal(getattr(saved, name), getattr(loaded, name))
    assert (loaded.hook, loaded.layer, loaded.width, loaded.features) == ("mlp_post", 3, D, F)


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        dictionary().save(tmp_path / name)
    for file in (CONFIG, WEIGHTS):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_the_files_are_those_of_a_standard_saelens_dictionary(tmp_path: Path) -> None:
    dictionary().save(tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    shapes = {name: tuple(tensor.shape) for name, tensor in load_file(tmp_path / WEIGHTS).items()}
    assert shapes == {"W_enc": (D, F), "b_enc": (F,), "W_dec": (F, D), "b_dec": (D,)}
    assert config["architecture"] == "standard"
    assert (config["d_in"], config["d_sae"], config["dtype"]) == (D, F, "float32")
    assert config["apply_b_dec_to_input"] is True
    assert config["normalize_activations"] == "none"
    assert config["metadata"]["hook_name"] == "blocks.3.mlp.hook_post"


def test_encoding_is_the_formula_whatever_the_leading_axes() -> None:
    coder, x_BTD = dictionary(), torch.randn(2, 3, D, generator=torch.Generator().manual_seed(0))
    f_BTF = coder.encode(x_BTD)
    centred_BTD = (x_BTD - coder.decoder_bias_D).double()
    expected_BTF = torch.relu(centred_BTD @ coder.encoder_DF.double() + coder.encoder_bias_F)
    torch.testing.assert_close(f_BTF.double(), expected_BTF, rtol=1e-5, atol=1e-6)
    expected_BTD = expected_BTF @ coder.decoder_FD.double() + coder.decoder_bias_D
    torch.testing.assert_close(coder.decode(f_BTF).double(), expected_BTD, rtol=1e-5, atol=1e-5)


def test_encoding_stays_in_float32_inside_autocast() -> None:
    coder, x_ND = dictionary(), torch.randn(5, D, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        f_NF = coder.encode(x_ND)
    assert torch.equal(f_NF, coder.encode(x_ND))


def test_activations_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="trained at width 6, the activations have width 7"):
        dictionary().encode(torch.zeros(2, 7))


def test_weights_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    dictionary().save(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    save_file({**tensors, "b_enc": torch.zeros(F + 1)}, tmp_path / WEIGHTS)
    with pytest.raises(ValueError, match=r"b_enc is \(11,\)"):
        load_dictionary(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"architecture": "transcoder"}, "architecture is 'transcoder', only standard, jumprelu"),
     ({"architecture": "jumprelu"}, "lacks threshold"),
     ({"architecture": "gated"}, "lacks b_gate, b_mag, r_mag"),
     ({"architecture": "topk"}, "k is None, a topk dictionary needs"),
     ({"architecture": "topk", "k": 0}, "k is 0, a topk"),
     ({"architecture": "topk", "k": F + 1}, "k is 11: it must be between 1 and the 10 features"),
     ({"normalize_activations": "layer_norm"}, "'layer_norm', which differs from token to token"),
     ({"normalize_activations": "constant_norm_rescale"}, "differs from token to token"),
     ({"normalize_activations": "expected_average_only_in"}, "no file holds its factor"),
     ({"reshape_activations": "hook_z"}, "reshape_activations is set")],
)  # fmt: skip
def test_what_cannot_be_read_exactly_is_refused_and_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    dictionary().save(tmp_path)
    rewrite(tmp_path, changes)
    with pytest.raises(ValueError, match=message):
        load_dictionary(tmp_path)


@pytest.mark.parametrize("file", [CONFIG, WEIGHTS])
def test_a_damaged_file_is_one_sentence_and_not_a_crash(tmp_path: Path, file: str) -> None:
    dictionary().save(tmp_path)
    (tmp_path / file).write_bytes(b"{ not it")
    with pytest.raises(ValueError, match="holds no dictionary"):
        load_dictionary(tmp_path)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    dictionary().save(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    del tensors["b_dec"]
    save_file(tensors, tmp_path / WEIGHTS)
    with pytest.raises(ValueError, match="lacks b_dec"):
        load_dictionary(tmp_path)


# --------------------------------------------------------------------------- every variant


def reference(coder: Dictionary, x_ND: Tensor) -> Tensor:
    """Features by the formulas, in float64."""
    pre_NF = (x_ND.double() - coder.decoder_bias_D) @ coder.encoder_DF.double()
    pre_NF = pre_NF + coder.encoder_bias_F
    f_NF = pre_NF.relu()
    if coder.threshold_F is not None:
        f_NF = f_NF * (pre_NF > coder.threshold_F)
    if coder.k is not None:
        smallest_N = f_NF.sort(dim=1, descending=True).values[:, coder.k - 1]
        f_NF = f_NF * (f_NF >= smallest_N[:, None])
    return f_NF


@pytest.mark.parametrize("kind", ["relu", "jumprelu", "topk"])
def test_every_variant_encodes_by_its_formula(kind: str) -> None:
    coder, x_ND = variant(kind), inputs()
    f_NF = coder.encode(x_ND)
    torch.testing.assert_close(f_NF.double(), reference(coder, x_ND), rtol=1e-5, atol=1e-6)
    assert coder.variant == kind
    fewer = 0 < int((f_NF > 0).sum()) < int((dictionary().encode(x_ND) > 0).sum())
    assert fewer == (kind != "relu")
    assert torch.equal(coder.encode(x_ND.reshape(5, 10, D)).flatten(0, 1), f_NF)


def test_a_feature_at_its_threshold_does_not_fire_and_none_is_ever_negative() -> None:
    coder = Dictionary(
        encoder_DF=torch.eye(2), encoder_bias_F=torch.zeros(2), decoder_FD=torch.eye(2),
        decoder_bias_D=torch.zeros(2), hook="resid_pre", layer=0,
        threshold_F=torch.tensor([1.0, -5.0]),
    )  # fmt: skip
    f_NF = coder.encode(torch.tensor([[1.0, -1.0], [1.5, 0.5], [0.5, 0.0]]))
    assert f_NF.tolist() == [[0, 0], [1.5, 0.5], [0, 0]]


def test_topk_keeps_fewer_than_k_where_fewer_are_above_zero() -> None:
    coder = replace(variant("topk"), encoder_bias_F=torch.full((F,), -3.0))
    counts_N = (coder.encode(inputs()) > 0).sum(1)
    assert int(counts_N.max()) <= 3
    assert int(counts_N.min()) < 3


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("kind", ["relu", "jumprelu", "topk"])
def test_every_variant_at_every_hook_comes_back_as_it_was(
    tmp_path: Path, kind: str, hook: str
) -> None:
    saved = replace(variant(kind), hook=hook, layer=12)
    saved.save(tmp_path)
    loaded = load_dictionary(tmp_path)
    torch.testing.assert_close(loaded.encode(inputs()), saved.encode(inputs()))
    assert (loaded.hook, loaded.layer, loaded.variant, loaded.k) == (hook, 12, kind, saved.k)
    if saved.threshold_F is not None:
        assert torch.equal(saved.threshold_F, loaded.threshold_F)
    rewrite(tmp_path, {"metadata": {  # without our own words beside theirs
        "hook_name": json.loads((tmp_path / CONFIG).read_text())["metadata"]["hook_name"]
    }})  # fmt: skip
    loaded = load_dictionary(tmp_path)
    assert (loaded.hook, loaded.layer) == (hook, 12)


def test_a_threshold_and_k_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="a threshold or k, not both"):
        replace(variant("topk"), threshold_F=torch.zeros(F))
    with pytest.raises(ValueError, match=r"threshold is \(9,\)"):
        replace(dictionary(), threshold_F=torch.zeros(F - 1))


def test_a_hook_without_a_name_there_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hook point 'hook_z' has no name"):
        replace(dictionary(), hook="hook_z").save(tmp_path)


# ------------------------------------------------------------------- what SAELens may save


def test_a_gated_dictionary_becomes_the_same_jumprelu(tmp_path: Path) -> None:
    w = random_tensors("W_enc", "b_mag", "b_gate", "r_mag", "W_dec", "b_dec")
    read = written(tmp_path, w, {"architecture": "gated"})
    exact = {name: tensor.double() for name, tensor in w.items()}
    centred_ND = inputs().double() - exact["b_dec"]
    gate_NF = centred_ND @ exact["W_enc"] + exact["b_gate"]
    magnitude_NF = centred_ND @ (exact["W_enc"] * exact["r_mag"].exp()) + exact["b_mag"]
    expected_NF = (gate_NF > 0) * magnitude_NF.relu()
    torch.testing.assert_close(read.encode(inputs()).double(), expected_NF, rtol=1e-4, atol=1e-5)
    assert read.variant == "jumprelu"


def test_a_bias_that_the_input_keeps_is_folded_into_the_encoders(tmp_path: Path) -> None:
    w = random_tensors("W_enc", "b_enc", "W_dec", "b_dec")
    read = written(tmp_path, w, {"architecture": "standard", "apply_b_dec_to_input": False})
    expected_NF = (inputs() @ w["W_enc"] + w["b_enc"]).relu()
    torch.testing.assert_close(read.encode(inputs()), expected_NF, rtol=1e-4, atol=1e-5)


def test_features_chosen_by_their_decoders_norm_are_in_its_units(tmp_path: Path) -> None:
    w = random_tensors("W_enc", "b_enc", "W_dec", "b_dec")
    config = {"architecture": "topk", "k": 3, "rescale_acts_by_decoder_norm": True}
    read = written(tmp_path, w, config)
    norm_F = w["W_dec"].norm(dim=1)
    pre_NF = ((inputs() - w["b_dec"]) @ w["W_enc"] + w["b_enc"]) * norm_F
    kept_NF = pre_NF * (pre_NF >= pre_NF.topk(3).values[:, -1:])
    f_NF = read.encode(inputs())
    torch.testing.assert_close(f_NF, kept_NF.relu(), rtol=1e-4, atol=1e-5)
    expected_ND = kept_NF.relu() / norm_F @ w["W_dec"] + w["b_dec"]
    torch.testing.assert_close(read.decode(f_NF), expected_ND, rtol=1e-4, atol=1e-5)


def test_a_saved_activation_scale_is_folded_into_the_weights(tmp_path: Path) -> None:
    w = random_tensors("W_enc", "b_enc", "W_dec", "b_dec", "threshold")
    config = {"architecture": "jumprelu", "normalize_activations": "expected_average_only_in"}
    read = written(tmp_path, w, config, scale=2.5)
    scaled = 2.5 * inputs() - w["b_dec"]
    pre_NF = scaled @ w["W_enc"] + w["b_enc"]
    expected_NF = pre_NF.relu() * (pre_NF > w["threshold"])
    f_NF = read.encode(inputs())
    torch.testing.assert_close(f_NF, expected_NF, rtol=1e-4, atol=1e-5)
    expected_ND = (expected_NF @ w["W_dec"] + w["b_dec"]) / 2.5
    torch.testing.assert_close(read.decode(f_NF), expected_ND, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_read_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    w = random_tensors("W_enc", "b_enc", "W_dec", "b_dec")
    short = {name: tensor.to(dtype) for name, tensor in w.items()}
    read = written(tmp_path, short, {"architecture": "standard"})
    assert read.encoder_DF.dtype == read.decoder_bias_D.dtype == torch.float32
    assert torch.equal(read.encoder_DF, short["W_enc"].float())


def test_the_flat_configuration_of_older_versions_is_read(tmp_path: Path) -> None:
    w = random_tensors("W_enc", "b_enc", "W_dec", "b_dec")
    old = {"hook_point": "blocks.7.hook_resid_pre", "activation_fn_str": "topk",
           "activation_fn_kwargs": {"k": 4}, "normalize_activations": False}  # fmt: skip
    read = written(tmp_path, {**w, "scaling_factor": torch.ones(F)}, old)
    assert (read.hook, read.layer, read.variant, read.k) == ("resid_pre", 7, "topk", 4)
    with pytest.raises(ValueError, match="no file holds its factor"):
        written(tmp_path, w, {**old, "normalize_activations": True})
    with pytest.raises(ValueError, match="scaling_factor is not 1"):
        written(tmp_path, {**w, "scaling_factor": torch.full((F,), 2.0)}, old)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [({}, ("", 0)), ({"hook_name": "blocks.2.hook_resid_mid"}, ("blocks.2.hook_resid_mid", 0)),
     ({"hook_name": "blocks.11.mlp.hook_post"}, ("mlp_post", 11)),
     ({"hook_name": "blocks.1.hook_mlp_out.x"}, ("blocks.1.hook_mlp_out.x", 0))],
)  # fmt: skip
def test_where_a_dictionary_belongs_is_said_only_when_the_file_says_it(
    tmp_path: Path, metadata: dict[str, Any], expected: tuple[str, int]
) -> None:
    w = random_tensors("W_enc", "b_enc", "W_dec", "b_dec")
    read = written(tmp_path, w, {"architecture": "standard", "metadata": metadata})
    assert (read.hook, read.layer) == expected
