"""Trains dictionaries with another package, under the interpreter of that package's venv.

    python dictionaries.py {sae-lens | dictionary-learning}

Each line of standard input is a job, a JSON object, and is answered by one JSON line. The package
is imported, never copied, and keeps its own defaults but for what the job names. Jobs:
  activations  .npy [steps, batch, width], float32, scaled so that the mean of |x|^2 is the width
  variant, features, k | coefficient, learning_rate, warmup, decay, dead_after (in steps), seed
  out          .npz that gets encoder [D, F], encoder_bias, decoder [F, D], decoder_bias, all for
               such activations, and `k` or `threshold` [F] where the activation is not a ReLU
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import Any

os.environ["WANDB_MODE"] = "disabled"
os.environ["TQDM_DISABLE"] = "1"

import numpy as np
import torch

Values = dict[str, Any]


def main() -> None:
    """Answer the jobs until standard input ends."""
    train = {"sae-lens": sae_lens, "dictionary-learning": dictionary_learning}[sys.argv[1]]
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        job = json.loads(line)
        torch.manual_seed(job["seed"])
        steps = torch.from_numpy(np.load(job["activations"]))
        started = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):  # the packages print
            weights = train(job, steps)
        seconds = time.perf_counter() - started
        arrays = {name: value.detach().float().numpy() for name, value in weights.items()}
        np.savez(job["out"], **arrays)
        answers.write(json.dumps({"seconds": seconds}) + "\n")
        answers.flush()


def sae_lens(job: Values, steps: torch.Tensor) -> dict[str, torch.Tensor]:
    """Weights by SAELens' trainer; the activations have the scale of its own normalisation."""
    from sae_lens import saes

    width = steps.shape[-1]
    features = job["features"]
    common: Values = {"d_in": width, "d_sae": features, "device": "cpu"}
    warm = {"l1_warm_up_steps": job["warmup"], "l1_coefficient": job.get("coefficient")}
    widths = [features // part for part in (16, 8, 4, 2)] + [features]
    jump = {"l0_coefficient": job.get("coefficient"), "l0_warm_up_steps": job["warmup"]}
    own: dict[str, tuple[str, Values]] = {
        "relu-penalised": ("Standard", warm),
        "gated": ("Gated", warm),
        "jumprelu": ("JumpReLU", jump),
        "topk": ("TopK", {"k": job.get("k")}),
        "batchtopk": ("BatchTopK", {"k": job.get("k")}),
        "matryoshka": ("MatryoshkaBatchTopK", {"k": job.get("k"), "matryoshka_widths": widths}),
    }
    name, fields = own[job["variant"]]
    module = saes if hasattr(saes, f"{name}TrainingSAE") else sys.modules["sae_lens"]
    config = getattr(module, f"{name}TrainingSAEConfig")(**common, **fields)
    sae = getattr(module, f"{name}TrainingSAE")(config)
    _fit_sae_lens(job, sae, steps)
    return _sae_lens_weights(job, sae)


def _fit_sae_lens(job: Values, sae: Any, steps: torch.Tensor) -> None:
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    count, batch, _ = steps.shape
    trainer = SAETrainer(
        cfg=SAETrainerConfig(
            total_training_samples=count * batch,
            train_batch_size_samples=batch,
            lr=job["learning_rate"],
            lr_end=job["learning_rate"] / 10,
            lr_warm_up_steps=job["warmup"],
            lr_decay_steps=job["decay"],
            dead_feature_window=job["dead_after"],
            feature_sampling_window=2 * count,
            logger=LoggingConfig(log_to_wandb=False),
        ),
        sae=sae,
        data_provider=iter([*steps, *steps[:2]]),
    )
    trainer.fit()


def _sae_lens_weights(job: Values, sae: Any) -> dict[str, torch.Tensor]:
    state = dict(sae.state_dict())
    if hasattr(sae, "process_state_dict_for_saving_inference"):
        sae.process_state_dict_for_saving_inference(state)
    weights = {
        "encoder": state["W_enc"],
        "decoder": state["W_dec"],
        "decoder_bias": state["b_dec"],
        "encoder_bias": state.get("b_enc", torch.zeros(job["features"])),
    }
    if job["variant"] == "gated":
        return weights | gated(state["W_enc"], state["b_gate"], state["b_mag"], state["r_mag"])
    if "threshold" in state:
        weights["threshold"] = state["threshold"].expand(job["features"])
    if job["variant"] == "topk":
        weights["k"] = torch.tensor(job["k"])
    return weights


def dictionary_learning(job: Values, steps: torch.Tensor) -> dict[str, torch.Tensor]:
    """Weights by dictionary-learning's trainSAE, which expects a mean squared norm of one."""
    count, _, width = steps.shape
    scale = width**-0.5
    kind, fields = _trainer_of(job, count)  # its package before that of trainSAE
    from dictionary_learning.training import trainSAE

    made: list[Any] = []

    def trainer(**config: Any) -> Any:
        made.append(kind(**config))
        if hasattr(made[0], "dead_feature_threshold"):
            made[0].dead_feature_threshold = job["dead_after"] * steps.shape[1]
        return made[0]

    config = {
        "trainer": trainer,
        "steps": count,
        "activation_dim": width,
        "dict_size": job["features"],
        "layer": 0,
        "lm_name": "bench",
        "device": "cpu",
        "seed": job["seed"],
        "lr": job["learning_rate"],
        "warmup_steps": job["warmup"],
        "decay_start": count - job["decay"],
        **fields,
    }
    trainSAE(data=iter(steps * scale), trainer_configs=[config], steps=count, device="cpu")
    return unscaled(job["variant"], made[0].ae, scale)


def _trainer_of(job: Values, count: int) -> tuple[Any, Values]:
    """A variant's trainer in dictionary-learning, and its fields beside the common ones."""
    from dictionary_learning.trainers import (
        batch_top_k,
        gdm,
        jumprelu,
        matryoshka_batch_top_k,
        standard,
        top_k,
    )

    sparse = {"l1_penalty": job.get("coefficient"), "sparsity_warmup_steps": job["warmup"]}
    top = {"k": job.get("k"), "threshold_start_step": count // 2}
    groups = [1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2]
    own: dict[str, tuple[Any, Values]] = {
        "relu": (standard.StandardTrainer, sparse),
        "relu-penalised": (standard.StandardTrainerAprilUpdate, sparse),
        "gated": (gdm.GatedSAETrainer, sparse),
        "jumprelu": (
            jumprelu.JumpReluTrainer,
            {"target_l0": job.get("k"), "sparsity_warmup_steps": job["warmup"]},
        ),
        "topk": (top_k.TopKTrainer, top),
        "batchtopk": (batch_top_k.BatchTopKTrainer, top),
        "matryoshka": (
            matryoshka_batch_top_k.MatryoshkaBatchTopKTrainer,
            {**top, "group_fractions": groups},
        ),
    }
    return own[job["variant"]]


def unscaled(variant: str, ae: Any, scale: float) -> dict[str, torch.Tensor]:
    """The weights for x of a dictionary trained on x * scale: biases and thresholds are divided."""
    state = ae.state_dict()
    weights: dict[str, torch.Tensor]
    if variant in ("relu", "relu-penalised", "gated"):
        weights = {
            "encoder": state["encoder.weight"].T,
            "decoder": state["decoder.weight"].T,
            "decoder_bias": state.get("bias", state.get("decoder_bias")),
            "encoder_bias": state.get("encoder.bias", torch.zeros(ae.dict_size)),
        }
    elif "W_enc" in state:
        weights = {
            "encoder": state["W_enc"],
            "decoder": state["W_dec"],
            "decoder_bias": state["b_dec"],
            "encoder_bias": state["b_enc"],
        }
        if variant == "jumprelu":  # it does not subtract b_dec from its input
            weights["encoder_bias"] = state["b_enc"] + state["b_dec"] @ state["W_enc"]
    else:
        weights = {
            "encoder": state["encoder.weight"].T,
            "decoder": state["decoder.weight"].T,
            "decoder_bias": state["b_dec"],
            "encoder_bias": state["encoder.bias"],
        }
    if variant == "gated":
        parts = (state["encoder.weight"].T, state["gate_bias"], state["mag_bias"], state["r_mag"])
        weights |= gated(*parts)
    elif variant == "topk":
        weights["k"] = ae.k
    elif "threshold" in state:
        weights["threshold"] = state["threshold"].expand(ae.dict_size)
    return weights | {
        name: weights[name] / scale
        for name in ("decoder_bias", "encoder_bias", "threshold")
        if name in weights
    }


def gated(
    encoder_DF: torch.Tensor, gate_F: torch.Tensor, magnitude_F: torch.Tensor, r_F: torch.Tensor
) -> dict[str, torch.Tensor]:
    """The JumpReLU that equals a gated encoder: encoder [D, F], encoder_bias [F], threshold [F]."""
    factor_F = r_F.exp()
    threshold_F = (magnitude_F - factor_F * gate_F).clamp_min(0)
    return {
        "encoder": encoder_DF * factor_F,
        "encoder_bias": magnitude_F,
        "threshold": threshold_F,
    }


if __name__ == "__main__":
    main()
