"""Quality of dictionaries at equal L0, ours and the peers', on the same activations.

    python bench/dictionary_quality.py --peers DIR [--data DIR] [--vectors 320000] [--variant topk]

A one-layer model (hidden 128, MLP 256) is trained on built-in text, its MLP activations are written
once, and every program trains every variant on them: same vectors, same order, same batches, same
number of features, warm-up over the first 5 % and decay over the last 20 % of the steps, float32.

Each program gets, in each cell, the best of three learning rates (--rate names others), by
explained variance. L0 is made equal on held-out tokens: variants with k take it as their k, and the
one threshold of a BatchTopK dictionary is set there; the weight of a penalty (ours: the requested
L0) is searched until L0 lies within 3 %. One program measures all of them on the same tokens:
explained variance, loss recovered (zero ablation), dead features. In relu-penalised, the L1 is
weighted by decoder norms; SAELens has only that form.

DIR holds the virtual environments `sae` (sae-lens) and `dl` (dictionary-learning); `make peers`
makes them. The result is printed as JSON lines and as a table.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.support.quality import Judge, ours
from bench.support.quality_data import prepare
from shared.lm.device import device

HERE = Path(__file__).resolve().parent
VARIANTS = ("relu", "relu-penalised", "gated", "jumprelu", "topk", "batchtopk", "matryoshka")
UNSUPPORTED = (("sae-lens", "relu"),)
TARGETS = (20, 50, 100)
FEATURES = 1024
RATES = (5e-3, 1e-2, 2e-2)
PENALISED = ("relu", "relu-penalised", "gated", "jumprelu")  # a penalty's weight decides their L0
FIRST = {  # weight of the penalty that a search starts with
    "sae-lens": {"relu-penalised": 1.3, "gated": 1.0, "jumprelu": 0.3},
    "dictionary-learning": {"relu": 0.075, "relu-penalised": 0.1, "gated": 0.05},
}
SEARCH = 7  # most runs of a search for one cell
CLOSE = 0.03  # to the target L0
DEAD_AFTER = 150  # steps
# Weight and L0 that the search for (program, variant, learning rate) ended with.
LAST: dict[tuple[str, str, float], tuple[float, float]] = {}


@dataclass(frozen=True)
class Job:
    """One training run."""

    variant: str
    target: int
    learning_rate: float
    coefficient: float | None = None
    requested_l0: float | None = None  # where it is not the target

    def values(self, activations: Path, steps: int, out: Path) -> dict[str, Any]:
        """The job as bench/peers/dictionaries.py reads it."""
        return {
            "activations": str(activations),
            "variant": self.variant,
            "features": FEATURES,
            "k": self.requested_l0 or self.target,
            "coefficient": self.coefficient,
            "learning_rate": self.learning_rate,
            "warmup": steps // 20,
            "decay": steps // 5,
            "dead_after": DEAD_AFTER,
            "seed": 0,
            "out": str(out),
        }


class Peer:
    """Another package, in a process of its own."""

    def __init__(self, name: str, python: Path, activations: Path, steps: int) -> None:
        self.name, self._activations, self._steps = name, activations, steps
        self._process = subprocess.Popen(
            [str(python), str(HERE / "peers" / "dictionaries.py"), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def train(self, job: Job) -> dict[str, np.ndarray[Any, Any]]:
        """The weights by name, for scaled activations: encoder [D, F], decoder [F, D], ..
        (bench/peers/dictionaries.py).
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with tempfile.TemporaryDirectory() as directory:
            out = Path(directory) / "weights.npz"
            stdin.write(json.dumps(job.values(self._activations, self._steps, out)) + "\n")
            stdin.flush()
            if not stdout.readline():
                raise SystemExit(f"{self.name} ended: run bench/peers/dictionaries.py by hand")
            with np.load(out) as arrays:
                return {name: np.asarray(arrays[name]) for name in arrays.files}


class Ours:
    """This project's own training loop, on the same steps."""

    name = "lineament"

    def __init__(self, activations: Path) -> None:
        self._steps = torch.from_numpy(np.load(activations))

    def train(self, job: Job) -> dict[str, np.ndarray[Any, Any]]:
        """The weights by name, for scaled activations: encoder [D, F], decoder [F, D], ..
        (bench/peers/dictionaries.py).
        """
        return ours(job.values(Path(), len(self._steps), Path()), self._steps)


def main() -> None:
    """Train and measure every dictionary; print the results."""
    arguments = parse()
    device()
    data = Path(arguments.data or tempfile.mkdtemp())
    judge, activations = prepare(data, arguments.vectors)
    steps = len(np.load(activations, mmap_mode="r"))
    programs: list[Any] = [Ours(activations)] if "lineament" in arguments.program else []
    for name, venv in (("sae-lens", "sae"), ("dictionary-learning", "dl")):
        if arguments.peers and name in arguments.program:
            python = Path(arguments.peers) / venv / "bin" / "python"
            programs.append(Peer(name, python, activations, steps))
    lines: list[dict[str, Any]] = []
    for path in arguments.before or ():
        lines += [json.loads(line) for line in Path(path).read_text().splitlines()
                  if line.startswith("{")]  # fmt: skip
    for variant in arguments.variant or VARIANTS:
        for program in programs:
            if (program.name, variant) in UNSUPPORTED:
                continue
            for target in TARGETS:
                jobs = [Job(variant, target, rate) for rate in arguments.rate or RATES]
                results = [cell(program, judge, job) for job in jobs]
                line = max(results, key=lambda result: result["explained_variance"])
                print(json.dumps(line), flush=True)
                lines.append(line)
    print(table(lines))


def cell(program: Any, judge: Judge, job: Job) -> dict[str, Any]:
    """One program's dictionary at one L0, measured."""
    first = FIRST.get(program.name, {}).get(job.variant)
    if job.variant in PENALISED and first is not None:
        return search(program, judge, replace(job, coefficient=first))
    result = measure(program, judge, job)
    for _ in range(2):
        if job.variant not in PENALISED or abs(math.log(result["l0"] / job.target)) <= CLOSE:
            break
        requested = job.requested_l0 or job.target
        job = replace(job, requested_l0=requested * job.target / result["l0"])
        result = measure(program, judge, job)
    return result


def search(program: Any, judge: Judge, job: Job) -> dict[str, Any]:
    """Search for the weight of the penalty, in logarithms, until L0 is close to the target."""
    last = LAST.get((program.name, job.variant, job.learning_rate))
    if last is not None:  # L0 falls about as fast as the weight rises
        job = replace(job, coefficient=last[0] * last[1] / job.target)
    tried: list[tuple[float, float]] = []  # log weight, log L0 / target
    best: dict[str, Any] = {}
    for _ in range(SEARCH):
        assert job.coefficient is not None
        result = measure(program, judge, job)
        off = math.log(max(result["l0"], 1e-3) / job.target)
        if not best or abs(off) < abs(best["off"]):
            best = {**result, "off": off}
        if abs(off) <= CLOSE:
            break
        tried.append((math.log(job.coefficient), off))
        job = replace(job, coefficient=math.exp(following(tried)))
    LAST[program.name, job.variant, job.learning_rate] = best["coefficient"], best["l0"]
    best.pop("off")
    return best


def following(tried: list[tuple[float, float]]) -> float:
    """The next logarithm of the weight to try: between the closest on both sides, else further out.

    `tried` has pairs of the logarithms of the weight and of L0 / target.
    """
    above = [pair for pair in tried if pair[1] > 0]  # L0 too high: the weight too low
    below = [pair for pair in tried if pair[1] <= 0]
    if above and below:
        (x0, y0), (x1, y1) = max(above), min(below)
        return x0 + (x1 - x0) * y0 / (y0 - y1)
    x, y = max(above) if above else min(below)
    return x + max(-2.5, min(2.5, 1.2 * y))


def measure(program: Any, judge: Judge, job: Job) -> dict[str, Any]:
    """Train a dictionary once and measure it."""
    weights = program.train(job)
    quality = judge.judge(weights, job.variant, job.target)
    print(job, quality, file=sys.stderr, flush=True)
    return {
        "program": program.name,
        "variant": job.variant,
        "target": job.target,
        "learning_rate": job.learning_rate,
        "coefficient": job.coefficient,
        **quality,
    }


def table(lines: list[dict[str, Any]]) -> str:
    """The lines as a Markdown table with a row for each variant and L0."""
    names = list(dict.fromkeys(line["program"] for line in lines))
    head = [f"{name}: {what}" for name in names for what in ("L0", "EV", "recovered", "dead")]
    chosen = {(line["program"], line["variant"], line["target"]): line for line in lines}
    rows = ["| variant | L0 | " + " | ".join(head) + " |", "|" + "---|" * (2 + len(head))]
    for variant in dict.fromkeys(line["variant"] for line in lines):
        for target in TARGETS:
            cells = []
            for name in names:
                line = chosen.get((name, variant, target))
                if line is None:
                    cells += ["–"] * 4
                    continue
                cells += [
                    f"{line['l0']:.1f}",
                    f"{line['explained_variance']:.4f}",
                    f"{line['loss_recovered']:.4f}",
                    f"{line['dead_share']:.1%}",
                ]
            rows.append(f"| {variant} | {target} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peers", help="directory of the peers' virtual environments")
    parser.add_argument("--data", help="directory that keeps model and activations")
    parser.add_argument("--vectors", type=int, default=320_000)
    parser.add_argument("--variant", action="append", choices=VARIANTS)
    parser.add_argument("--program", action="append", default=None)
    parser.add_argument("--rate", type=float, action="append")
    parser.add_argument("--before", action="append", help="lines of an earlier run, for the table")
    arguments = parser.parse_args()
    arguments.program = arguments.program or ["lineament", "sae-lens", "dictionary-learning"]
    return arguments


if __name__ == "__main__":
    main()
