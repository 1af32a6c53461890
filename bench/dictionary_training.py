"""Speed of a training step of a ReLU + L1 dictionary, ours and others in turn.

    python bench/dictionary_training.py [--shape paper] [--shape demo] [--rounds 5] [--steps 2]

Contenders: `ours` (services/sae), `ours-dense` (the same without its sparse products), `autograd`
(a minimal torch loop: five products, fused Adam, unit-norm decoder), and, where they can be
imported, `dictionary-learning` (StandardTrainer) and `sae-lens` (SAETrainer, standard). All take
float32 batches from memory and the same random start with about `l0` active features, which is
where training spends its time; the others' speed does not depend on it. Every round times each of
them once. One JSON line per shape and contender: median vectors a second, its range, and the
median over rounds of its ratio to `autograd` in the same round.

Measured on two cores of Zen 5 that other programs were using too, so only the ratios count:

    shape                     ours    ours-dense   autograd   dictionary-learning   sae-lens
    paper, 2 threads          4.4     1.2          1          0.84                  0.76
    paper, 1 thread           6.1     1.5          1          0.90                  1.08
    demo, 2 threads           2.4     1.15         1          0.92                  0.80
    demo, 1 thread            3.5     1.3          1          0.91                  0.84
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from services.sae.relu import Relu
from services.sae.train import State, Trainer
from services.sae.weights import Weights
from shared.lm.device import device
from shared.parameters import DictionaryParameters

L1, LEARNING_RATE = 3e-4, 1e-5
Step = Callable[[Tensor], object]


@dataclass(frozen=True)
class Shape:
    """Sizes of one comparison."""

    width: int
    features: int
    batch: int
    l0: float


SHAPES = {"paper": Shape(1024, 16_384, 3072, 50), "demo": Shape(512, 1024, 2048, 30)}


def start(shape: Shape, x_ND: Tensor) -> Weights:
    """Random weights whose encoder bias lets about `l0` features fire."""
    generator = torch.Generator().manual_seed(0)
    decoder_FD = torch.randn(shape.features, shape.width, generator=generator)
    decoder_FD /= decoder_FD.norm(dim=1, keepdim=True)
    pre = (x_ND[:512] @ decoder_FD.T).flatten()
    bias = float(pre.topk(int(512 * shape.l0)).values[-1])
    return Weights(
        encoder_FD=decoder_FD.clone(),
        encoder_bias_F=torch.full((shape.features,), -bias),
        decoder_FD=decoder_FD,
        decoder_bias_D=torch.zeros(shape.width),
    )


def copy(weights: Weights) -> Weights:
    """The same values in other memory."""
    return Weights(*(tensor.clone() for tensor in weights.tensors()))


def ours(shape: Shape, weights: Weights, sparse_up_to: float | None = None) -> Step:
    """The step of services/sae/train.py."""
    parameters = DictionaryParameters(
        layer=0,
        features=shape.features,
        l1=L1,
        learning_rate=LEARNING_RATE,
        betas=(0.9, 0.9999),
        tokens=10**9,
        context=1,
        batch=shape.batch,
        revive="ghost",
        dead_after_steps=1000,
        seed=0,
        replicate=0,
    )
    trainer = Trainer(State.start(copy(weights)), parameters, 10**6)
    if sparse_up_to is not None:
        trainer._relu = Relu(trainer.state.weights, shape.batch, sparse_up_to)
    return trainer.step


def autograd(_: Shape, weights: Weights) -> Step:
    """What one writes in a notebook."""
    w_enc, b_enc, w_dec, b_dec = (torch.nn.Parameter(t.clone()) for t in weights.tensors())
    optimiser = torch.optim.Adam(
        [w_enc, b_enc, w_dec, b_dec], lr=LEARNING_RATE, betas=(0.9, 0.9999), fused=True
    )

    def step(x_ND: Tensor) -> None:
        f_NF = torch.relu(torch.nn.functional.linear(x_ND - b_dec, w_enc, b_enc))
        error = (f_NF @ w_dec + b_dec - x_ND).square().mean()
        (error + L1 * f_NF.sum(1).mean()).backward()
        optimiser.step()
        optimiser.zero_grad()
        with torch.no_grad():
            w_dec.div_(w_dec.norm(dim=1, keepdim=True))

    return step


def dictionary_learning(shape: Shape, weights: Weights) -> Step:
    """The StandardTrainer of dictionary-learning; ImportError where it is not installed."""
    from dictionary_learning.trainers.standard import StandardTrainer

    trainer = StandardTrainer(
        steps=10**6,
        activation_dim=shape.width,
        dict_size=shape.features,
        layer=0,
        lm_name="none",
        lr=LEARNING_RATE,
        l1_penalty=L1,
        warmup_steps=10,
        sparsity_warmup_steps=None,
        device="cpu",
    )
    with torch.no_grad():
        trainer.ae.encoder.weight.copy_(weights.encoder_FD)
        trainer.ae.encoder.bias.copy_(weights.encoder_bias_F)
        trainer.ae.decoder.weight.copy_(weights.decoder_FD.T)
    return lambda x_ND: trainer.update(1, x_ND)


def sae_lens(shape: Shape, weights: Weights) -> Step:
    """The SAETrainer of SAELens; ImportError where it is not installed."""
    from sae_lens import StandardTrainingSAE, StandardTrainingSAEConfig
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    config = StandardTrainingSAEConfig(
        d_in=shape.width, d_sae=shape.features, l1_coefficient=L1, device="cpu"
    )
    sae = StandardTrainingSAE(config)
    with torch.no_grad():
        sae.W_enc.copy_(weights.encoder_FD.T)
        sae.b_enc.copy_(weights.encoder_bias_F)
        sae.W_dec.copy_(weights.decoder_FD)
    settings = SAETrainerConfig(
        n_checkpoints=0,
        checkpoint_path=None,
        save_final_checkpoint=False,
        total_training_samples=10**9,
        device="cpu",
        autocast=False,
        lr=LEARNING_RATE,
        lr_end=LEARNING_RATE,
        lr_scheduler_name="constant",
        lr_warm_up_steps=0,
        adam_beta1=0.9,
        adam_beta2=0.9999,
        lr_decay_steps=0,
        n_restart_cycles=1,
        train_batch_size_samples=shape.batch,
        dead_feature_window=1000,
        feature_sampling_window=2000,
        logger=LoggingConfig(log_to_wandb=False),
    )
    return SAETrainer(cfg=settings, sae=sae, data_provider=iter(())).step


CONTENDERS: dict[str, Callable[[Shape, Weights], Step]] = {
    "ours": ours,
    "ours-dense": lambda shape, weights: ours(shape, weights, sparse_up_to=-1.0),
    "autograd": autograd,
    "dictionary-learning": dictionary_learning,
    "sae-lens": sae_lens,
}


def contenders(shape: Shape, weights: Weights, names: list[str]) -> dict[str, Step]:
    """Those that can be imported, ready to step."""
    found = {}
    for name in names:
        try:
            with redirect_stdout(sys.stderr):
                found[name] = CONTENDERS[name](shape, weights)
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return found


def compare(name: str, rounds: int, steps: int, names: list[str]) -> None:
    """Time all contenders at one shape and print a line for each."""
    shape = SHAPES[name]
    generator = torch.Generator().manual_seed(1)
    batches = torch.randn(4 * shape.batch, shape.width, generator=generator).split(shape.batch)
    steppers = contenders(shape, start(shape, batches[0]), names)
    rates: dict[str, list[float]] = {contender: [] for contender in steppers}
    for number in range(rounds + 1):  # the first round warms up
        for contender, step in steppers.items():
            began = time.perf_counter()
            for i in range(steps):
                step(batches[i % len(batches)])
            rate = steps * shape.batch / (time.perf_counter() - began)
            if number:
                rates[contender].append(rate)
    for contender, values in rates.items():
        print(json.dumps(summary(name, contender, values, rates.get("autograd"))))


def summary(
    shape: str, contender: str, rates: list[float], base: list[float] | None
) -> dict[str, object]:
    """One line of the result."""
    line: dict[str, object] = {
        "shape": shape,
        "contender": contender,
        "vectors_per_second": round(statistics.median(rates)),
        "least": round(min(rates)),
        "most": round(max(rates)),
        "threads": torch.get_num_threads(),
    }
    if base:
        ratios = [rate / other for rate, other in zip(rates, base, strict=True)]
        line["ratio_to_autograd"] = round(statistics.median(ratios), 2)
    return line


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shape", action="append", choices=SHAPES)
    parser.add_argument("--contender", action="append", choices=CONTENDERS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="steps of each contender in a round")
    arguments = parser.parse_args()
    device()  # threads and the kind of float32 product, as a stage has them
    torch.manual_seed(0)
    for shape in arguments.shape or SHAPES:
        compare(shape, arguments.rounds, arguments.steps, arguments.contender or list(CONTENDERS))


if __name__ == "__main__":
    main()
