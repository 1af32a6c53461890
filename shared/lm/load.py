"""Read a language model from a Hugging Face directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

from shared.lm.attention import use_cpu_attention
from shared.lm.device import device as default_device


def load_model(path: Path, device: torch.device | None = None) -> Any:
    """The causal language model of the directory: float32 weights, eval mode, on `device`.

    Reads safetensors only, executes no code of the directory and never uses the network.
    Raises ValueError when the directory holds no such model or not all of its weights.
    """
    logging.disable_progress_bar()
    try:
        model, information = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(f"no causal language model can be read: {error}") from error
    missing = sorted(information["missing_keys"])
    if missing:  # transformers would go on with random numbers in their place
        raise ValueError(f"the weights lack {len(missing)} tensors, {missing[0]} among them")
    model = model.to(device if device is not None else default_device()).eval()
    use_cpu_attention(model)
    return model


def load_skeleton(path: Path) -> Any:
    """The model of the directory without its weights (on torch's device "meta"): shapes only.

    Raises ValueError when the directory describes no causal language model.
    """
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False, local_files_only=True)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"no causal language model can be read: {error}") from error
