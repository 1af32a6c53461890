"""The data of dictionary_quality.py: a trained model, its held-out tokens, and its activations."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bench.support.quality import Judge
from services.sae.activations import Cut, ModelSource, Rounds
from services.sae.start import activation_scale
from shared.data.token_stream import TrainingStream
from shared.lm.load import load_model

ROOT = Path(__file__).resolve().parents[2]
CONTEXT, BATCH = 32, 16  # a step has BATCH contexts
SPEC: dict[str, Any] = {
    "version": 1,
    "name": "dictionary-quality",
    "block": 128,
    "evaluate_tokens": 20_000,
    "tokenizer": {"train": {"vocab_size": 2048, "corpora": ["baby", "python", "stories"]}},
    "corpora": {
        "baby": {"builtin": "baby", "max_tokens": 400_000, "validation": 0.1},
        "python": {"builtin": "python-stdlib", "max_tokens": 1_200_000, "validation": 0.1},
        "stories": {"builtin": "stories", "max_tokens": 400_000, "validation": 0.1},
    },
    "models": {
        "base": {
            "pretrain": {
                "corpora": ["baby", "python", "stories"],
                "architecture": {
                    "hidden": 128, "mlp": 256, "heads": 4, "kv_heads": 2, "layers": 1,
                    "context": 128,
                },
                "epochs": 2,
                "batch": 32,
                "learning_rate": 3e-3,
                "warmup_steps": 20,
            }
        }
    },
}  # fmt: skip


def prepare(data: Path, vectors: int) -> tuple[Judge, Path]:
    """A judge of dictionaries, and the path of the activations that they are trained on.

    The file holds float32 [steps, vectors of a step, width], scaled so that the mean of |x|^2 is
    the width. The model is trained first, unless `data` has one from an earlier run.
    """
    directories = artifacts(data / "lm")
    if not directories["train"]:
        train_model(data)
        directories = artifacts(data / "lm")
    model = load_model(directories["train"][0])
    tokens = sorted(directories["tokens"])
    cut = Cut(CONTEXT, BATCH, 256)
    steps = vectors // cut.vectors
    source = ModelSource(model, TrainingStream(tokens, CONTEXT, 0), BATCH, "mlp_post", 0)
    rounds = Rounds(source, cut, steps, [0])
    scale = activation_scale(rounds.round(0))
    out = data / f"steps-{steps}.npy"
    if not out.exists():
        np.save(out, np.stack([(rounds.step(n) * scale).numpy() for n in range(steps)]))
    return Judge(model, tokens, CONTEXT, scale), out


def train_model(data: Path) -> None:
    """Train the model by running SPEC with the command that users run."""
    data.mkdir(parents=True, exist_ok=True)
    spec = data / "spec.yaml"
    spec.write_text(yaml.safe_dump(SPEC), encoding="utf-8")
    run = [sys.executable, "-c", "from api.cli.main import main; main()", "run", str(spec)]
    command = [*run, "--data", str(data / "lm"), "--report", str(data / "report")]
    subprocess.run(command, check=True, cwd=ROOT, stdout=sys.stderr)


def artifacts(installation: Path) -> dict[str, list[Path]]:
    """Directories of the models ("train") and packed tokens ("tokens") in an installation."""
    directories: dict[str, list[Path]] = {"train": [], "tokens": []}
    for path in (installation / "store" / "stages").glob("*/manifest.json"):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["kind"] in directories:
            directories[manifest["kind"]].append(path.parent / "files" / manifest["attempt"])
    return directories
