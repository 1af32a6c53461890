"""SAELens' side: load dictionaries and encode with them, or make and save some.

Reads {"encode": [directory ..], "make": [{directory, architecture, options, seed} ..], "inputs"}
from standard input; every directory gets theirs.safetensors with SAELens' features and
reconstructions of the inputs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import sae_lens
import torch
from safetensors.torch import load_file, save_file


def main() -> None:
    """Do all that is asked for."""
    asked = json.load(sys.stdin)
    x_ND = load_file(asked["inputs"])["x"]
    for wanted in asked.get("make", []):
        make(x_ND=x_ND, **wanted)
    hooks = []
    for name in asked.get("encode", []):
        sae = sae_lens.SAE.load_from_disk(name)
        hooks.append(sae.cfg.metadata.hook_name)
        answer(sae, x_ND, Path(name))
    print(json.dumps({"version": sae_lens.__version__, "hooks": hooks}))


def make(
    x_ND: torch.Tensor, directory: str, architecture: str, options: dict[str, Any], seed: int
) -> None:
    """Save a dictionary with random weights, as training with SAELens ends."""
    torch.manual_seed(seed)
    dtype = options.pop("dtype", "float32")
    training = architecture.startswith("training-")
    kind = architecture.removeprefix("training-")
    registry = sae_lens.registry
    find = registry.get_sae_training_class if training else registry.get_sae_class
    made, configuration = find(kind)
    metadata = sae_lens.saes.sae.SAEMetadata(hook_name="blocks.3.hook_resid_post")
    sae = made(configuration(d_in=x_ND.shape[1], d_sae=40, metadata=metadata, **options))
    for name, weight in sae.named_parameters():
        size = 0.3 if name in ("W_enc", "W_dec") else 0.4
        weight.data.copy_(size * torch.randn_like(weight))
    if hasattr(sae, "topk_threshold"):
        sae.topk_threshold.fill_(0.7)
    sae.to(getattr(torch, dtype))
    (sae.save_inference_model if training else sae.save_model)(directory)
    # Half-precision weights are read here as float32, so the comparison is in float32 as well.
    answer(sae_lens.SAE.load_from_disk(directory, dtype="float32"), x_ND, Path(directory))


def answer(sae: Any, x_ND: torch.Tensor, directory: Path) -> None:
    """Write features and reconstructions of the inputs."""
    with torch.no_grad():
        f_NF = sae.encode(x_ND)
        found = {"features": f_NF, "reconstructions": sae.decode(f_NF)}
    save_file(
        {name: tensor.contiguous() for name, tensor in found.items()},
        directory / "theirs.safetensors",
    )


if __name__ == "__main__":
    main()
