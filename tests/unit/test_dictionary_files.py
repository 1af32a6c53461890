"""A dictionary on disk: SAELens' two files, read and written.

N: tokens, D: width, F: features.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from services.sae.weights import fold_scale
from shared.lm.dictionary import CONFIG, WEIGHTS, Dictionary, load_dictionary
from tests.dictionary_support import random_weights

D, F = 6, 10


def dictionary(layer: int = 3) -> Dictionary:
    return fold_scale(random_weights(F, D), 0.5, "mlp_post", layer)


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


def test_a_dictionary_of_another_kind_is_refused(tmp_path: Path) -> None:
    dictionary().save(tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps({**config, "architecture": "jumprelu"}))
    with pytest.raises(ValueError, match="architecture is 'jumprelu', only 'standard' is read"):
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
