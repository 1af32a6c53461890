"""Where language models keep their parts: a table with one row for each family of models.

A part is found by its path of attributes, so no class of transformers is named, and a model that
is built like one of the rows is recognised whatever it is called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Family:
    """Paths of the parts: `blocks` and `norm` below the base model, the others below a block.

    blocks: the list of blocks. norm: the module that is applied to the last block's output.
    projection: the linear map back into the residual stream that ends the MLP; its input is
    mlp_post. mlp_out, attn_out: the modules whose outputs are added to the residual stream.
    """

    blocks: str
    norm: str
    projection: str
    mlp_out: str
    attn_out: str


# The first row whose parts a model has is its family, so the more specific ones come first:
# Llama's blocks also hold a post_attention_layernorm, but there it is what the MLP reads.
FAMILIES = {
    "Gemma 2": Family(
        blocks="layers", norm="norm", projection="mlp.down_proj",
        mlp_out="post_feedforward_layernorm", attn_out="post_attention_layernorm",
    ),
    "GLM 4": Family(
        blocks="layers", norm="norm", projection="mlp.down_proj",
        mlp_out="post_mlp_layernorm", attn_out="post_self_attn_layernorm",
    ),
    "Llama": Family(
        blocks="layers", norm="norm", projection="mlp.down_proj",
        mlp_out="mlp.down_proj", attn_out="self_attn.o_proj",
    ),
    "StarCoder 2": Family(
        blocks="layers", norm="norm", projection="mlp.c_proj",
        mlp_out="mlp.c_proj", attn_out="self_attn.o_proj",
    ),
    "GPT-NeoX": Family(
        blocks="layers", norm="final_layer_norm", projection="mlp.dense_4h_to_h",
        mlp_out="mlp.dense_4h_to_h", attn_out="attention.dense",
    ),
    "GPT-2": Family(
        blocks="h", norm="ln_f", projection="mlp.c_proj",
        mlp_out="mlp.c_proj", attn_out="attn.c_proj",
    ),
    "GPT-Neo": Family(
        blocks="h", norm="ln_f", projection="mlp.c_proj",
        mlp_out="mlp.c_proj", attn_out="attn.attention.out_proj",
    ),
}  # fmt: skip


def family(model: nn.Module) -> Family:
    """The family of a causal language model.

    Raises ValueError when it is built like none of FAMILIES.
    """
    base = base_model(model)
    for row in FAMILIES.values():
        blocks = part(base, row.blocks)
        inner = (row.projection, row.mlp_out, row.attn_out)
        if (
            isinstance(blocks, nn.ModuleList)
            and len(blocks) > 0
            and part(base, row.norm) is not None
            and all(part(blocks[0], path) is not None for path in inner)
        ):
            return row
    raise ValueError(
        f"{type(model).__name__} is not built like a known family of models "
        f"({', '.join(FAMILIES)}), so its hook points cannot be found"
    )


def base_model(model: nn.Module) -> Any:
    """The model without its output layer."""
    return getattr(model, "base_model", model)


def part(module: nn.Module, path: str) -> Any:
    """The attribute at `path` (names joined by dots), or None."""
    value: Any = module
    for name in path.split("."):
        value = getattr(value, name, None)
    return value


def block(model: nn.Module, layer: int) -> nn.Module:
    """The block of a layer; ValueError when the model has no such layer."""
    blocks = part(base_model(model), family(model).blocks)
    if not 0 <= layer < len(blocks):
        raise ValueError(f"layer {layer} is out of range: the model has {len(blocks)} layers")
    chosen: nn.Module = blocks[layer]
    return chosen


def projection_weight(module: nn.Module) -> Tensor:
    """The weight of a linear map as [inputs, outputs], for nn.Linear and GPT-2's Conv1D alike."""
    weight = module.weight
    assert isinstance(weight, Tensor), "a projection has a weight"
    return weight.T if isinstance(module, nn.Linear) else weight
