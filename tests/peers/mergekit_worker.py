"""mergekit's side: the SLERP of two batches of tensors.

Reads {"tensors": file, "t": t} from standard input; the file holds zero/NAME and one/NAME, and
theirs.safetensors beside it gets NAME.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from mergekit.merge_methods.slerp import slerp
from safetensors.torch import load_file, save_file


def main() -> None:
    """Interpolate every pair."""
    asked = json.load(sys.stdin)
    pairs = load_file(asked["tensors"])
    names = [name.removeprefix("zero/") for name in pairs if name.startswith("zero/")]
    t = torch.tensor([asked["t"]])
    # The first axis of theirs is a batch.
    found = {
        name: slerp(t, pairs[f"zero/{name}"][None], pairs[f"one/{name}"][None])[0].contiguous()
        for name in names
    }
    save_file(found, Path(asked["tensors"]).parent / "theirs.safetensors")
    print(json.dumps(names))


if __name__ == "__main__":
    main()
