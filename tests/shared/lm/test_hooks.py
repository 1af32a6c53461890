"""Hook points, devices and reading models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shared.lm import device as lm_device
from shared.lm.families import FAMILIES, block
from shared.lm.hooks import HOOKS, activations, point, replace, width
from shared.lm.load import load_model, load_skeleton
from shared.lm.loss import evaluate
from tests.support.language_models import (
    ARCHITECTURE,
    MLP,
    SHAPES,
    VOCABULARY,
    model_artifact,
    shaped_directory,
    shaped_model,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_artifact(tmp_path_factory.mktemp("lm"))[0]


@pytest.fixture(scope="module")
def model(directory: Path) -> Any:
    return load_model(directory, CPU)


@pytest.fixture(name="tokens_BT")
def make_tokens() -> Tensor:
    return torch.randint(0, VOCABULARY, (3, 10), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("layer", [0, 1])
def test_mlp_post_is_the_gated_product_that_down_proj_reads(
    model: Any, tokens_BT: Tensor, layer: int
) -> None:
    inputs: list[Tensor] = []
    mlp = model.model.layers[layer].mlp
    handle = mlp.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    with torch.no_grad():
        model(tokens_BT)
    handle.remove()
    expected = nn.functional.silu(mlp.gate_proj(inputs[0])) * mlp.up_proj(inputs[0])
    found = activations(model, tokens_BT, "mlp_post", layer)
    torch.testing.assert_close(found, expected)
    assert found.shape == (3, 10, width(model, "mlp_post", layer)) == (3, 10, ARCHITECTURE["mlp"])


def test_the_pass_ends_at_the_hook_point(model: Any, tokens_BT: Tensor) -> None:
    ran: list[str] = []
    later = {"second layer": model.model.layers[1], "norm": model.model.norm, "out": model.lm_head}
    handles = [
        module.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
        for name, module in later.items()
    ]
    activations(model, tokens_BT, "mlp_post", 0)
    for handle in handles:
        handle.remove()
    assert ran == []


def test_reading_leaves_no_hook_and_no_graph_behind(model: Any, tokens_BT: Tensor) -> None:
    with torch.no_grad():
        before = model(tokens_BT).logits
    found = activations(model, tokens_BT)
    with torch.no_grad():
        assert torch.equal(model(tokens_BT).logits, before)
    assert not found.requires_grad


def test_bfloat16_activations_come_as_float32_and_near(model: Any, tokens_BT: Tensor) -> None:
    exact = activations(model, tokens_BT)
    short = activations(model, tokens_BT, precision="bfloat16")
    assert short.dtype == torch.float32
    assert 0 < float((short - exact).abs().max()) < 0.05 * float(exact.abs().max())


def test_replacing_by_the_identity_changes_no_bit(model: Any, tokens_BT: Tensor) -> None:
    with torch.no_grad():
        expected = model(tokens_BT).logits
        with replace(model, "mlp_post", 0, lambda x_BTD: x_BTD):
            assert torch.equal(model(tokens_BT).logits, expected)


def test_replacing_by_zero_takes_the_mlp_out_while_the_context_is_open(
    model: Any, tokens_BT: Tensor
) -> None:
    outputs: list[Tensor] = []
    with torch.no_grad():
        expected = model(tokens_BT).logits
        handle = model.model.layers[1].mlp.register_forward_hook(
            lambda _, __, output: outputs.append(output)
        )
        with replace(model, "mlp_post", 1, torch.zeros_like):
            ablated = model(tokens_BT).logits
        handle.remove()
        assert torch.equal(model(tokens_BT).logits, expected)
    assert float(outputs[0].abs().max()) == 0
    assert not torch.equal(ablated, expected)


# ------------------------------------------------------------------------ every family


@pytest.fixture(scope="module", params=SHAPES)
def shaped(request: pytest.FixtureRequest) -> Any:
    return shaped_model(request.param)


def caught(module: nn.Module, model: Any, tokens_BT: Tensor) -> tuple[Any, Any]:
    """First input and (first) output of a module in a whole pass of the model."""
    seen: list[tuple[Any, Any]] = []

    def look(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        first = output[0] if isinstance(output, tuple) else output
        seen.append((inputs[0] if inputs else None, first))

    handle = module.register_forward_hook(look)
    with torch.no_grad():
        model(tokens_BT, use_cache=False)  # a cache may change the order of sums
    handle.remove()
    return seen[0]


def test_every_hook_point_of_every_family_has_its_width(shaped: Any, tokens_BT: Tensor) -> None:
    for hook in HOOKS:
        for layer in range(2):
            found = activations(shaped, tokens_BT, hook, layer)
            expected = MLP if hook == "mlp_post" else 32
            assert found.shape == (3, 10, expected) == (3, 10, width(shaped, hook, layer))
            assert found.dtype == torch.float32


def test_the_residual_stream_is_what_transformers_calls_hidden_states(
    shaped: Any, tokens_BT: Tensor
) -> None:
    with torch.no_grad():
        output = shaped(tokens_BT, output_hidden_states=True, use_cache=False)
    states = output.hidden_states
    for layer in range(2):
        assert torch.equal(activations(shaped, tokens_BT, "resid_pre", layer), states[layer])
    # The last of the hidden states is behind the last norm, so the last block is asked itself.
    assert torch.equal(activations(shaped, tokens_BT, "resid_post", 0), states[1])
    last = caught(block(shaped, 1), shaped, tokens_BT)[1]
    assert torch.equal(activations(shaped, tokens_BT, "resid_post", 1), last)


@pytest.mark.parametrize("layer", [0, 1])
def test_a_block_adds_its_attention_and_its_mlp_to_the_stream(
    shaped: Any, tokens_BT: Tensor, layer: int
) -> None:
    found = {hook: activations(shaped, tokens_BT, hook, layer) for hook in HOOKS}
    added = found["attn_out"] + found["mlp_out"]
    torch.testing.assert_close(
        found["resid_post"] - found["resid_pre"], added, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("shape", "mlp", "attention", "last"),
    [("llama", "mlp", "self_attn", "down_proj"), ("gpt2", "mlp", "attn", "c_proj"),
     ("gpt-neox", "mlp", "attention", "dense_4h_to_h"), ("gpt-neo", "mlp", "attn", "c_proj")],
)  # fmt: skip
def test_outputs_are_those_of_the_modules_and_mlp_post_is_what_the_last_map_reads(
    shape: str, mlp: str, attention: str, last: str, tokens_BT: Tensor
) -> None:
    model = shaped_model(shape)
    inside = block(model, 1)
    for hook, name in (("mlp_out", mlp), ("attn_out", attention)):
        expected = caught(getattr(inside, name), model, tokens_BT)[1]
        assert torch.equal(activations(model, tokens_BT, hook, 1), expected)
    projection = getattr(getattr(inside, mlp), last)
    with torch.no_grad():
        again = projection(activations(model, tokens_BT, "mlp_post", 1))
    torch.testing.assert_close(again, activations(model, tokens_BT, "mlp_out", 1))


@pytest.mark.parametrize(
    ("shape", "mlp_norm", "attention_norm"),
    [("gemma2", "post_feedforward_layernorm", "post_attention_layernorm"),
     ("glm4", "post_mlp_layernorm", "post_self_attn_layernorm")],
)  # fmt: skip
def test_where_a_norm_follows_the_part_its_output_is_the_hook_point(
    shape: str, mlp_norm: str, attention_norm: str, tokens_BT: Tensor
) -> None:
    model = shaped_model(shape)
    for hook, name in (("mlp_out", mlp_norm), ("attn_out", attention_norm)):
        expected = caught(getattr(block(model, 0), name), model, tokens_BT)[1]
        assert torch.equal(activations(model, tokens_BT, hook, 0), expected)


@pytest.mark.parametrize("hook", HOOKS)
def test_replacing_by_the_identity_changes_no_bit_and_by_zero_the_loss_in_every_family(
    shaped: Any, tokens_BT: Tensor, hook: str
) -> None:
    clean = evaluate(shaped, tokens_BT).loss
    for layer in range(2):
        with replace(shaped, hook, layer, lambda x_BTD: x_BTD):
            assert evaluate(shaped, tokens_BT).loss == clean
        with replace(shaped, hook, layer, torch.zeros_like):
            assert evaluate(shaped, tokens_BT).loss != clean
    assert evaluate(shaped, tokens_BT).loss == clean


def test_one_blocks_end_is_the_next_ones_beginning(shaped: Any, tokens_BT: Tensor) -> None:
    losses = []
    for hook, layer in (("resid_post", 0), ("resid_pre", 1)):
        with replace(shaped, hook, layer, lambda x_BTD: 0.5 * x_BTD):
            losses.append(evaluate(shaped, tokens_BT).loss)
    assert losses[0] == losses[1]


@pytest.mark.parametrize("hook", HOOKS)
def test_the_pass_ends_at_every_hook_point(shaped: Any, tokens_BT: Tensor, hook: str) -> None:
    ran: list[nn.Module] = []
    handle = block(shaped, 1).register_forward_pre_hook(lambda module, _: ran.append(module))
    activations(shaped, tokens_BT, hook, 0)
    handle.remove()
    assert ran == []


@pytest.mark.parametrize("shape", SHAPES)
def test_a_loaded_model_of_every_family_says_what_the_saved_one_said(
    shape: str, tmp_path: Path, tokens_BT: Tensor
) -> None:
    directory = shaped_directory(tmp_path, shape)
    loaded = load_model(directory, CPU)
    with torch.no_grad():
        expected = shaped_model(shape)(tokens_BT).logits
        torch.testing.assert_close(loaded(tokens_BT).logits, expected, rtol=1e-4, atol=1e-4)
    skeleton = load_skeleton(directory)
    assert next(skeleton.parameters()).device.type == "meta"
    for hook in HOOKS:
        assert width(skeleton, hook, 1) == width(loaded, hook, 1)


# -------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("hook", "layer", "message"),
    [("hook_z", 0, "hook point 'hook_z' is not known: there are mlp_post, mlp_out"),
     ("mlp_post", 2, "the model has 2 layers"), ("resid_pre", -1, "layer -1 is out of range")],
)  # fmt: skip
def test_an_unknown_hook_point_is_named(model: Any, hook: str, layer: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        point(model, hook, layer)


@pytest.mark.parametrize("parts", [nn.Linear(2, 2), nn.Identity()])
def test_an_unknown_architecture_is_named(parts: nn.Module) -> None:
    class Strange(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers, self.norm = nn.ModuleList([parts]), nn.Identity()

    with pytest.raises(ValueError, match=f"Strange is not built like .*{', '.join(FAMILIES)}"):
        width(Strange())
    with pytest.raises(ValueError, match="Linear is not built like a known family"):
        width(nn.Linear(2, 2))


def test_a_model_without_all_its_weights_is_refused(directory: Path, tmp_path: Path) -> None:
    for name in ("config.json", "generation_config.json"):
        (tmp_path / name).write_bytes((directory / name).read_bytes())
    weights = load_file(directory / "model.safetensors")
    weights.pop("model.norm.weight")
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lack 1 tensors, model\.norm\.weight"):
        load_model(tmp_path, CPU)


def test_pickled_weights_are_never_read(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((directory / "config.json").read_bytes())
    torch.save(load_file(directory / "model.safetensors"), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="no causal language model can be read"):
        load_model(tmp_path, CPU)


def test_code_of_a_directory_is_never_run(directory: Path, tmp_path: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    config["model_type"] = "strange"
    config["auto_map"] = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((directory / "model.safetensors").read_bytes())
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ValueError, match=r"(?i)trust_remote_code|strange"):
        load_model(tmp_path, CPU)
    assert not (tmp_path / "ran").exists()


def test_a_wrong_device_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEAMENT_DEVICE", "tpu")
    with pytest.raises(ValueError, match="LINEAMENT_DEVICE is 'tpu'"):
        lm_device.device()


def test_cuda_without_a_gpu_is_named_and_auto_takes_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("LINEAMENT_DEVICE", "cuda")
    with pytest.raises(ValueError, match="finds no CUDA device"):
        lm_device.device()
    monkeypatch.setenv("LINEAMENT_DEVICE", "auto")
    assert lm_device.device() == CPU


@pytest.mark.parametrize(
    ("precision", "native", "width", "expected"),
    [("auto", True, 512, "bfloat16"), ("auto", True, 63, "float32"), ("auto", True, 64, "bfloat16"),
     ("auto", False, 512, "float32"), ("float32", True, 512, "float32"),
     ("bfloat16", False, 16, "bfloat16")],
)  # fmt: skip
def test_the_precision_follows_from_the_processor_and_the_width_alone(
    monkeypatch: pytest.MonkeyPatch, precision: str, native: bool, width: int, expected: str
) -> None:
    monkeypatch.setattr(lm_device, "_native_bfloat16", lambda: native)
    assert lm_device.resolve(precision, CPU, width) == expected


def test_cuda_takes_bfloat16_for_every_width() -> None:
    assert lm_device.resolve("auto", torch.device("cuda"), 16) == "bfloat16"


def test_float32_products_keep_float32_accuracy() -> None:
    lm_device.set_threads()
    draw = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 512, 512, generator=draw)
    exact = one.double() @ other.double()
    assert float(((one @ other) - exact).abs().max() / exact.abs().max()) < 2e-6
