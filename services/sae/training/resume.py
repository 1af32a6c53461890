"""A dictionary in training, written to a directory and read back bit for bit.

The position in the data and all randomness follow from the step number, so the state is the
weights, the optimiser's moments, the silence counters, the tuned numbers, the step, the scale and
the curve so far.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from services.sae.training.loop import State
from services.sae.training.steer import Tuned
from services.sae.weights import Weights

STATE = "state.safetensors"
PLACE = "place.json"
CURVE = "curve.jsonl"


def save_state(directory: Path, state: State, scale: float, curve: list[str]) -> None:
    """Write the state into an empty directory."""
    parts = {
        "weights": state.weights,
        "first_moment": state.first_moment,
        "second_moment": state.second_moment,
    }
    tensors = {
        f"{part}.{name}": tensor.cpu().contiguous()
        for part, weights in parts.items()
        for name, tensor in weights.named().items()
    }
    save_file({**tensors, "silent": state.silent_F.cpu()}, directory / STATE)
    # json writes a float with as many digits as it takes to read the same float back.
    place = json.dumps({"step": state.step, "scale": scale, "tuned": asdict(state.tuned)})
    (directory / PLACE).write_text(place, encoding="utf-8")
    (directory / CURVE).write_text("".join(curve), encoding="utf-8")


def load_state(directory: Path, device: torch.device) -> tuple[State, float, list[str]]:
    """The state, the scale and the lines of the curve that `save_state` wrote."""
    tensors = load_file(directory / STATE, device=str(device))
    place = json.loads((directory / PLACE).read_text(encoding="utf-8"))
    names = list(Weights.__dataclass_fields__)

    def part(name: str) -> Weights:
        stored = {field: tensors.get(f"{name}.{field}") for field in names}
        return Weights(**{field: tensor for field, tensor in stored.items() if tensor is not None})

    state = State(
        weights=part("weights"),
        first_moment=part("first_moment"),
        second_moment=part("second_moment"),
        silent_F=tensors["silent"],
        tuned=Tuned(**place["tuned"]),
        step=int(place["step"]),
    )
    curve = (directory / CURVE).read_text(encoding="utf-8").splitlines(keepends=True)
    return state, float(place["scale"]), curve
