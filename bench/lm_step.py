"""A training step of the language model: ours beside transformers' plain loop.

    python bench/lm_step.py [--shape paper|middle|demo|all] [--steps 5] [--compile] [--keep-memory]

Both sides take their steps in turn in one process on the same batches (clipping and optimiser
included), so whatever else the machine does hits both. Prints medians [min - max] in tokens/s, the
ratio of the medians, and the median CPU seconds of a step, which other programs disturb least.

The plain loop is `model(input_ids=x, labels=x).loss`, backward, clip_grad_norm_, AdamW with its
defaults; "medium" is torch.set_float32_matmul_precision. --keep-memory sets the allocator as the
train stage does (shared.lm.device.keep_memory), for all sides alike. --compile adds the same loop
over torch.compile(model), which needs a C++ compiler.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import MistralConfig, MistralForCausalLM

from services.trainer.train.optimiser import clip_gradients, make_optimiser
from shared.lm.attention import use_cpu_attention
from shared.lm.device import autocast, device, keep_memory, resolve
from shared.lm.loss import next_token_loss
from shared.stages.trainer import TrainParameters

# vocabulary, hidden, mlp, heads, kv_heads, batch, block
SHAPES = {
    "paper": (32000, 512, 1024, 16, 8, 8, 256),
    "middle": (4096, 256, 512, 8, 4, 16, 128),
    "demo": (2048, 128, 256, 4, 2, 32, 128),
}
RATE, DECAY, CLIP = 6e-4, 0.1, 1.0


@dataclass
class Side:
    """One program: its step, and what its steps took."""

    name: str
    step: Callable[[Tensor], float]
    products: str = "highest"  # torch.set_float32_matmul_precision; torch's default
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def run(self, tokens_BT: Tensor, count: bool) -> None:
        """One step on a batch; its time counts unless it is a warm-up."""
        torch.set_float32_matmul_precision(self.products)
        wall, cpu = time.perf_counter(), time.process_time()
        self.step(tokens_BT)
        if count:
            self.wall.append(time.perf_counter() - wall)
            self.cpu.append(time.process_time() - cpu)


def new_model(shape: str) -> Any:
    """A seeded model of the shape, in training mode."""
    vocabulary, hidden, mlp, heads, kv_heads, _, _ = SHAPES[shape]
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=mlp,
        num_hidden_layers=1,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=2048,
        sliding_window=None,
        use_cache=False,
    )
    return MistralForCausalLM(config).to(device()).train()


def ours(shape: str, precision: str) -> Side:
    """The step of services.trainer.train.stage."""
    model = new_model(shape)
    use_cpu_attention(model)
    parameters = TrainParameters(
        epochs=1, batch=1, block=1, learning_rate=RATE, schedule="constant", warmup_steps=0,
        weight_decay=DECAY, gradient_clip=CLIP, seed=0,
    )  # fmt: skip
    optimiser = make_optimiser(model, parameters)

    def step(tokens_BT: Tensor) -> float:
        loss = next_token_loss(model, tokens_BT, precision)
        loss.backward()
        clip_gradients(model, CLIP)
        optimiser.step()
        optimiser.zero_grad()
        return loss.item()

    return Side(f"ours {precision}", step, torch.get_float32_matmul_precision())


def plain(shape: str, precision: str, products: str = "highest", compiled: bool = False) -> Side:
    """The step of transformers' model in the loop that its examples show."""
    model = new_model(shape)
    forward = torch.compile(model) if compiled else model
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)

    def step(tokens_BT: Tensor) -> float:
        with autocast(precision, model.device):
            loss = forward(input_ids=tokens_BT, labels=tokens_BT).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
        optimiser.zero_grad()
        return float(loss.item())

    name = f"{'compiled' if compiled else 'plain'} {precision}"
    return Side(name if products == "highest" else f"{name} {products}", step, products)


def zipf(count: int, shape: str) -> Tensor:
    """Batches of tokens with word-like frequencies (Zipf's law) [count, B, T]."""
    vocabulary, *_, batch, block = SHAPES[shape]
    weights = 1.0 / torch.arange(1, vocabulary + 1)
    draw = torch.Generator().manual_seed(1)
    tokens = torch.multinomial(weights, count * batch * block, True, generator=draw)
    return tokens.view(count, batch, block).to(device())


def measure(shape: str, steps: int, warmup: int, compiled: bool) -> None:
    """Print the speeds of all sides at one shape."""
    sides = [make(shape, p) for p in ("float32", "bfloat16") for make in (ours, plain)]
    sides.append(plain(shape, "float32", "medium"))
    if compiled:
        sides += [plain(shape, p, compiled=True) for p in ("float32", "bfloat16")]
    for number, tokens_BT in enumerate(zipf(steps + warmup, shape)):
        for side in sides:
            side.run(tokens_BT, number >= warmup)
    *_, batch, block = SHAPES[shape]
    chosen = resolve("auto", device(), SHAPES[shape][1])
    print(f"{shape}: {SHAPES[shape]}, {torch.get_num_threads()} threads, auto is {chosen}")
    best = {side.name.split()[1]: side for side in sides if side.name.startswith("ours")}
    for side in sides:
        speeds = sorted(batch * block / wall for wall in side.wall)
        reference = best[side.name.split()[1]]
        ratio = statistics.median(side.wall) / statistics.median(reference.wall)
        ratio_cpu = statistics.median(side.cpu) / statistics.median(reference.cpu)
        print(
            f"  {side.name:22} {statistics.median(speeds):8.0f} tokens/s "
            f"[{speeds[0]:.0f} - {speeds[-1]:.0f}], {statistics.median(side.cpu):.3f} CPU s a step,"
            f" ours is {ratio:.2f}x as fast (CPU time: {ratio_cpu:.2f}x)",
            flush=True,
        )


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shape", choices=[*SHAPES, "all"], default="all")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--keep-memory", action="store_true", help="as the train stage does")
    arguments = parser.parse_args()
    device()
    if arguments.keep_memory:
        keep_memory()
    for shape in SHAPES if arguments.shape == "all" else [arguments.shape]:
        steps = arguments.steps if shape == "paper" else arguments.steps * 6
        measure(shape, steps, 1, arguments.compile)


if __name__ == "__main__":
    main()
