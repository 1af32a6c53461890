"""Everything a training run needs to resume with the same bits: safetensors and JSON only."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass
class State:
    """How far a run has got: steps done, rows of the curve, and the losses since the last row.

    The position in the data follows from the step.
    """

    step: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)


def save_state(
    directory: Path, model: nn.Module, optimiser: torch.optim.Optimizer, state: State
) -> None:
    """Write weights, moments, random state and `state` into an empty directory."""
    tensors: dict[str, Tensor] = {"rng.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    for name, weight in model.named_parameters():
        tensors[f"weight.{name}"] = weight.detach().contiguous()
        for moment in MOMENTS:
            tensors[f"{moment}.{name}"] = optimiser.state[weight][moment].contiguous()
    save_file(tensors, directory / "state.safetensors")
    values = {"step": state.step, "curve": state.curve, "recent": state.recent}
    (directory / "state.json").write_text(json.dumps(values))


def load_state(directory: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> State:
    """Put the saved weights, moments and random state back; returns how far the run had got."""
    values: dict[str, Any] = json.loads((directory / "state.json").read_text())
    state = State(values["step"], values["curve"], values["recent"])
    tensors = load_file(directory / "state.safetensors")
    for name, weight in model.named_parameters():
        with torch.no_grad():
            weight.copy_(tensors[f"weight.{name}"])
        optimiser.state[weight] = {
            moment: tensors[f"{moment}.{name}"].to(weight.device) for moment in MOMENTS
        }
        # A fused step counts on the device of the weight.
        count = torch.tensor(float(state.step), dtype=torch.float32, device=weight.device)
        optimiser.state[weight]["step"] = count
    torch.set_rng_state(tensors["rng.cpu"])
    if torch.cuda.is_available() and "rng.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["rng.cuda"])
    return state
