"""Direct effects on the logits, beside derivatives of the model's own last steps.

F: directions, R: width of the residual stream, V: vocabulary.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shared.lm.families import base_model, block, family, part
from shared.lm.hooks import HOOKS, width
from shared.lm.unembed import direct_effect
from tests.support.language_models import MLP, SHAPES, VOCABULARY, shaped_model


@pytest.fixture(scope="module", params=SHAPES)
def model(request: pytest.FixtureRequest) -> Any:
    return shaped_model(request.param)


def directions(count: int, size: int, seed: int = 0) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def without_mean(effect_FV: Tensor) -> Tensor:
    return effect_FV - effect_FV.mean(1, keepdim=True)


def test_the_effect_is_the_derivative_of_the_logits_where_the_norms_division_stands_still(
    model: Any,
) -> None:
    """A step at right angles to the stream (and to its mean) leaves the division as it is."""
    norm, head = part(base_model(model), family(model).norm), model.get_output_embeddings()
    stream_R = directions(1, 32, seed=1)[0]
    stream_R = stream_R - stream_R.mean()
    step_R = directions(1, 32, seed=2)[0]
    step_R = step_R - step_R.mean()
    step_R = step_R - (step_R @ stream_R) / (stream_R @ stream_R) * stream_R
    _, slope_V = torch.func.jvp(lambda x_R: head(norm(x_R)), (stream_R,), (step_R,))
    scale = stream_R.square().mean().sqrt()
    found_FV = direct_effect(model, "resid_post", 1, step_R[None])
    torch.testing.assert_close(
        found_FV, without_mean((slope_V * scale)[None]), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("shape", ["llama", "gemma2", "gpt2", "gpt-neox"])
def test_the_effect_is_the_formula_written_out(shape: str) -> None:
    model = shaped_model(shape)
    norm = part(base_model(model), family(model).norm)
    d_FR = directions(5, 32).double()
    gain_R = norm.weight.double() + (1 if shape == "gemma2" else 0)
    if isinstance(norm, nn.LayerNorm):
        d_FR = d_FR - d_FR.mean(1, keepdim=True)
    expected_FV = without_mean(d_FR * gain_R @ model.get_output_embeddings().weight.double().T)
    for hook in ("resid_pre", "resid_post", "mlp_out", "attn_out"):
        found_FV = direct_effect(model, hook, 0, directions(5, 32))
        torch.testing.assert_close(found_FV.double(), expected_FV.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", ["llama", "gpt2", "gpt-neox", "gpt-neo", "starcoder2"])
def test_a_direction_inside_the_mlp_goes_through_its_last_map_first(shape: str) -> None:
    model = shaped_model(shape)
    inside_FD = directions(4, MLP)
    projection = part(block(model, 0), family(model).projection)
    with torch.no_grad():  # the map's bias is no part of a direction
        out_FR = projection(inside_FD) - projection(torch.zeros(1, MLP))
    torch.testing.assert_close(
        direct_effect(model, "mlp_post", 0, inside_FD),
        direct_effect(model, "mlp_out", 0, out_FR), rtol=1e-4, atol=1e-5,
    )  # fmt: skip


def test_a_norm_behind_the_mlp_is_passed_through_too() -> None:
    model = shaped_model("gemma2")
    inside, inside_FD = block(model, 0), directions(4, MLP)
    with torch.no_grad():
        out_FR = inside.mlp.down_proj(inside_FD) * (1 + inside.post_feedforward_layernorm.weight)
    torch.testing.assert_close(
        direct_effect(model, "mlp_post", 0, inside_FD),
        direct_effect(model, "mlp_out", 0, out_FR), rtol=1e-4, atol=1e-5,
    )  # fmt: skip


def test_effects_have_mean_zero_and_add_up(model: Any) -> None:
    for hook in HOOKS:
        d_FD = directions(6, width(model, hook, 0))
        effect_FV = direct_effect(model, hook, 0, d_FD)
        assert effect_FV.shape == (6, VOCABULARY)
        assert float(effect_FV.mean(1).abs().max()) < 1e-5 * float(effect_FV.abs().max())
        both_FV = direct_effect(model, hook, 0, d_FD[:1] + 2 * d_FD[1:2])
        torch.testing.assert_close(
            both_FV, effect_FV[:1] + 2 * effect_FV[1:2], rtol=1e-3, atol=1e-4
        )
        assert not effect_FV.requires_grad


def test_an_odd_width_is_read_from_the_norm_as_well() -> None:
    from shared.lm.unembed import _through_norm

    for size in (3, 7, 33):
        norm = nn.LayerNorm(size)
        norm.weight.data.copy_(directions(1, size)[0])
        norm.bias.data.copy_(directions(1, size, seed=5)[0])
        x_FR = directions(4, size, seed=6)
        with torch.no_grad():
            found_FR = _through_norm(norm, x_FR)
        expected_FR = (x_FR - x_FR.mean(1, keepdim=True)) * norm.weight
        torch.testing.assert_close(found_FR, expected_FR.detach(), rtol=1e-4, atol=1e-5)


def test_directions_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="directions have width 31, attn_out has 32"):
        direct_effect(shaped_model("llama"), "attn_out", 0, directions(2, 31))
