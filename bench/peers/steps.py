"""The peers' side of bench/dictionary_training.py: times the training steps of one peer.

    python steps.py '{"contender": .., "width": .., "features": .., "batch": ..,
        "l0": .., "k": .., "threads": .., "precision": "float32" | "medium" | "bfloat16"}'

Runs with the interpreter of the peer's own environment and imports nothing of ours. It prints one
JSON line when it is ready, and then for each line of standard input, a number of steps, one with
the seconds that they took. All contenders take the same batches and, where features fire by their
bias, start with about `l0` active features.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

L1, LEARNING_RATE = 3e-4, 1e-5
Step = Callable[[Tensor], object]


def batches(width: int, batch: int) -> list[Tensor]:
    """Four batches of random vectors [batch, width]."""
    generator = torch.Generator().manual_seed(1)
    return list(torch.randn(4 * batch, width, generator=generator).split(batch))


def start(width: int, features: int, l0: float, x_ND: Tensor) -> tuple[Tensor, Tensor]:
    """Random unit directions [F, D] and a bias [F] that lets about `l0` features fire."""
    generator = torch.Generator().manual_seed(0)
    directions_FD = torch.randn(features, width, generator=generator)
    directions_FD /= directions_FD.norm(dim=1, keepdim=True)
    pre = (x_ND[:512] @ directions_FD.T).flatten()
    bias = float(pre.topk(int(512 * l0)).values[-1])
    return directions_FD, torch.full((features,), -bias)


def dictionary_learning(name: str, job: dict[str, Any], x_ND: Tensor) -> Step:
    """StandardTrainer, TopKTrainer or BatchTopKTrainer."""
    from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
    from dictionary_learning.trainers.standard import StandardTrainer
    from dictionary_learning.trainers.top_k import TopKTrainer

    common: dict[str, Any] = {
        "steps": 10**6, "activation_dim": job["width"], "dict_size": job["features"],
        "layer": 0, "lm_name": "none", "lr": LEARNING_RATE, "warmup_steps": 10, "device": "cpu",
    }  # fmt: skip
    if name != "dl-relu":
        kind = TopKTrainer if name == "dl-topk" else BatchTopKTrainer
        trainer = kind(k=job["k"], **common)
        return lambda x_ND: trainer.update(1, x_ND)
    trainer = StandardTrainer(l1_penalty=L1, sparsity_warmup_steps=None, **common)
    directions_FD, bias_F = start(job["width"], job["features"], job["l0"], x_ND)
    with torch.no_grad():
        trainer.ae.encoder.weight.copy_(directions_FD)
        trainer.ae.encoder.bias.copy_(bias_F)
        trainer.ae.decoder.weight.copy_(directions_FD.T)
    return lambda x_ND: trainer.update(1, x_ND)


def sae_lens(name: str, job: dict[str, Any], x_ND: Tensor) -> Step:
    """SAETrainer with a standard, TopK or BatchTopK training SAE."""
    import sae_lens as package
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    sizes: dict[str, Any] = {
        "d_in": job["width"], "d_sae": job["features"], "device": "cpu"
    }  # fmt: skip
    if name == "sae-relu":
        settings = package.StandardTrainingSAEConfig(l1_coefficient=L1, **sizes)
        sae = package.StandardTrainingSAE(settings)
        directions_FD, bias_F = start(job["width"], job["features"], job["l0"], x_ND)
        with torch.no_grad():
            sae.W_enc.copy_(directions_FD.T)
            sae.b_enc.copy_(bias_F)
            sae.W_dec.copy_(directions_FD)
    elif name == "sae-batchtopk":
        sae = package.BatchTopKTrainingSAE(package.BatchTopKTrainingSAEConfig(k=job["k"], **sizes))
    else:  # with rescaling, its default, its sparse path has no backward pass on a CPU
        sae = package.TopKTrainingSAE(
            package.TopKTrainingSAEConfig(
                k=job["k"], use_sparse_activations=True,
                rescale_acts_by_decoder_norm=False, **sizes
            )
        )  # fmt: skip
    config = SAETrainerConfig(
        n_checkpoints=0,
        checkpoint_path=None,
        save_final_checkpoint=False,
        total_training_samples=10**9,
        device="cpu",
        autocast=job["precision"] == "bfloat16",
        lr=LEARNING_RATE,
        lr_end=LEARNING_RATE,
        lr_scheduler_name="constant",
        lr_warm_up_steps=0,
        adam_beta1=0.9,
        adam_beta2=0.9999,
        lr_decay_steps=0,
        n_restart_cycles=1,
        train_batch_size_samples=job["batch"],
        dead_feature_window=1000,
        feature_sampling_window=2000,
        logger=LoggingConfig(log_to_wandb=False),
    )

    return SAETrainer(cfg=config, sae=sae, data_provider=iter(())).step


def sparsify(_name: str, job: dict[str, Any], _x_ND: Tensor) -> Step:
    """SparseCoder, with the operations of its trainer's step in their order."""
    from sparsify import SparseCoder, SparseCoderConfig

    config = SparseCoderConfig(num_latents=job["features"], k=job["k"])
    coder = SparseCoder(job["width"], config, device="cpu")
    optimiser = torch.optim.Adam(coder.parameters(), lr=LEARNING_RATE)
    silent_F = torch.zeros(job["features"], dtype=torch.long)

    def step(x_ND: Tensor) -> None:
        coder.set_decoder_norm_to_unit_norm()
        with autocast(job["precision"]):
            out = coder(x_ND, dead_mask=silent_F > 10_000_000)
        silent_F.add_(len(x_ND))
        silent_F[out.latent_indices.flatten()] = 0
        (out.fvu + out.auxk_loss / 32).backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimiser.step()
        optimiser.zero_grad()

    return step


def autocast(precision: str) -> contextlib.AbstractContextManager[object]:
    """Autocast to bfloat16 for that precision, else nothing."""
    if precision == "bfloat16":
        return torch.autocast("cpu", torch.bfloat16)
    return contextlib.nullcontext()


FAMILIES = {"dl": dictionary_learning, "sae": sae_lens, "sparsify": sparsify}


def main() -> None:
    """Take the steps that standard input asks for, until it ends."""
    job = json.loads(sys.argv[1])
    answers, sys.stdout = sys.stdout, sys.stderr  # peers print, and answers must stay by themselves
    torch.manual_seed(0)
    torch.set_num_threads(job["threads"])
    if job["precision"] == "medium":
        torch.set_float32_matmul_precision("medium")
    data = batches(job["width"], job["batch"])
    name = job["contender"]
    step = FAMILIES[name.split("-")[0]](name, job, data[0])
    whole_step_in_bf16 = job["precision"] == "bfloat16" and name.startswith("dl")
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        for number in range(int(line)):
            # dictionary-learning applies autocast on CUDA only, so it is put around its step.
            with autocast("bfloat16" if whole_step_in_bf16 else "float32"):
                step(data[number % len(data)])
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main()
