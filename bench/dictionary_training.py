"""Speed of a training step of dictionaries: ours and the peers', in turn in one run.

    python bench/dictionary_training.py [--shape paper] [--rounds 5] [--steps 2]
        [--contender topk --contender sparsify-topk/bfloat16 ..]
        [--peer-python sae=/path/python,dl=/path/python,sparsify=/path/python]

Ours are the variants of services/sae by name, and `relu-dense` (without sparse products);
`autograd` is a minimal ReLU + L1 loop (five products, fused Adam, unit-norm decoder). Peers run in
processes of their own (bench/peers/steps.py) and only for their turn: sae-relu,
sae-topk, sae-batchtopk (SAELens), dl-relu, dl-topk, dl-batchtopk (dictionary-learning) and
sparsify-topk, each with a precision after a slash: float32, medium (oneDNN, still float32 on
processors without AMX) or bfloat16 (autocast). All take float32 batches from memory; ReLU
dictionaries start with about `l0` active features, which is where training spends its time, the
others have k of them. Every round times each once. One JSON line per shape and contender: median
vectors a second, its range, and `ratio`, the median over rounds of our variant's speed over this
one's in the same round (relu against relu, topk against topk ..).

Measured at the paper's shape on two cores of Zen 5: relu is 5.9 (medium) and 3.5 (bfloat16) times
as fast as dl-relu, topk 1.8 and 1.3 times as fast as sparsify-topk.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.peers.steps import L1, LEARNING_RATE, batches, start
from services.sae.sparse.select import DENSE
from services.sae.training.loop import State, Trainer
from services.sae.variants import DECLARED, make_variant
from services.sae.weights import Weights
from shared.lm.device import device, keep_memory
from shared.stages.sae import DictionaryParameters

PEER = Path(__file__).parent / "peers" / "steps.py"
PEERS = {
    "sae": ("sae-relu", "sae-topk", "sae-batchtopk"),
    "dl": ("dl-relu", "dl-topk", "dl-batchtopk"),
    "sparsify": ("sparsify-topk",),
}
PRECISIONS = ("float32", "medium", "bfloat16")
Turn = Callable[[int], float]  # takes that many steps; returns the seconds that they took


@dataclass(frozen=True)
class Shape:
    """Sizes of one comparison."""

    width: int
    features: int
    batch: int
    l0: float
    k: int


SHAPES = {
    "paper": Shape(1024, 16_384, 3072, 50, 32),
    "demo": Shape(512, 1024, 2048, 30, 32),
}


def ours(name: str, shape: Shape) -> Turn:
    """This project's steps (services/sae/training/loop.py)."""
    variant = name.removesuffix("-dense")
    by_k = DECLARED[variant].with_k
    parameters = DictionaryParameters(
        layer=0, variant=variant, features=shape.features, tokens=10**9, context=1,
        l1=None if by_k else L1, k=shape.k if by_k else None,
        learning_rate=LEARNING_RATE, betas=(0.9, 0.9999), batch=shape.batch,
        revive=DECLARED[variant].revivals[0], dead_after_steps=1000, seed=0, replicate=0,
    )  # fmt: skip
    data = batches(shape.width, shape.batch)
    directions_FD, bias_F = start(shape.width, shape.features, shape.l0, data[0])
    weights = Weights(directions_FD.clone(), bias_F, directions_FD, torch.zeros(shape.width))
    trainer = Trainer(State.start(make_variant(parameters).complete(weights)), parameters, 10**6)
    if name.endswith("-dense"):
        trainer.variant = make_variant(parameters, sparse_up_to=DENSE)
    return timed(trainer.step, data)


def autograd(_: str, shape: Shape) -> Turn:
    """A minimal loop, as one would write it in a notebook."""
    data = batches(shape.width, shape.batch)
    directions_FD, bias_F = start(shape.width, shape.features, shape.l0, data[0])
    values = (directions_FD.clone(), bias_F, directions_FD, torch.zeros(shape.width))
    w_enc, b_enc, w_dec, b_dec = (torch.nn.Parameter(value) for value in values)
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

    return timed(step, data)


def timed(step: Callable[[Tensor], object], data: list[Tensor]) -> Turn:
    """A turn that takes steps on the batches, over and over."""

    def turn(steps: int) -> float:
        began = time.perf_counter()
        for number in range(steps):
            step(data[number % len(data)])
        return time.perf_counter() - began

    return turn


def peer(name: str, shape: Shape, python: str) -> Turn:
    """A peer in a process of its own, which waits on its standard input between its turns."""
    contender, _, precision = name.partition("/")
    job = {
        "contender": contender,
        "precision": precision or "medium",
        "threads": torch.get_num_threads(),
        **asdict(shape),
    }
    process = subprocess.Popen(
        [python, str(PEER), json.dumps(job)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    requests, answers = process.stdin, process.stdout
    answer(answers, name)

    def turn(steps: int) -> float:
        requests.write(f"{steps}\n")
        requests.flush()
        return float(answer(answers, name)["seconds"])

    return turn


def answer(lines: IO[str], name: str) -> dict[str, Any]:
    """The peer's next line."""
    line = lines.readline()
    if not line:
        raise SystemExit(f"{name} ended: see its messages above")
    result: dict[str, Any] = json.loads(line)
    return result


def contenders(shape: Shape, names: list[str], pythons: dict[str, str]) -> dict[str, Turn]:
    """The contenders of those names, ready to take their turns."""
    turns: dict[str, Turn] = {}
    for name in names:
        family = name.split("-")[0]
        if name == "autograd":
            turns[name] = autograd(name, shape)
        elif family in PEERS:
            turns[name] = peer(name, shape, pythons[family])
        else:
            turns[name] = ours(name, shape)
    return turns


def compare(name: str, rounds: int, steps: int, names: list[str], pythons: dict[str, str]) -> None:
    """Time all contenders at one shape and print a line for each."""
    shape = SHAPES[name]
    turns = contenders(shape, names, pythons)
    rates: dict[str, list[float]] = {contender: [] for contender in turns}
    for number in range(rounds + 1):  # the first round warms up
        for contender, turn in turns.items():
            seconds = turn(steps)
            if number:
                rates[contender].append(steps * shape.batch / seconds)
    for contender, values in rates.items():
        kind = contender.partition("/")[0].removesuffix("-dense").split("-")[-1]
        base = rates.get("relu" if kind == "autograd" else kind)
        line: dict[str, object] = {
            "shape": name,
            "contender": contender,
            "vectors_per_second": round(statistics.median(values)),
            "least": round(min(values)),
            "most": round(max(values)),
            "threads": torch.get_num_threads(),
        }
        if base:
            ratios = [ours / theirs for ours, theirs in zip(base, values, strict=True)]
            line["ratio"] = round(statistics.median(ratios), 2)
        print(json.dumps(line), flush=True)


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shape", action="append", choices=SHAPES)
    parser.add_argument("--contender", action="append")
    parser.add_argument("--peer-python", default="", help="sae=/path/python,dl=..,sparsify=..")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="steps of each contender in a round")
    arguments = parser.parse_args()
    pythons = dict(part.split("=", 1) for part in arguments.peer_python.split(",") if part)
    device()  # threads and the kind of float32 product, as a stage has them
    keep_memory()
    torch.manual_seed(0)
    peers = [f"{name}/{p}" for family in pythons for name in PEERS[family] for p in PRECISIONS]
    names = arguments.contender or [*DECLARED, "relu-dense", "autograd", *peers]
    for shape in arguments.shape or SHAPES:
        compare(shape, arguments.rounds, arguments.steps, names, pythons)


if __name__ == "__main__":
    main()
