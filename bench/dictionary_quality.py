"""Quality of dictionaries at equal L0, ours and the peers', on the same activations.

    python bench/dictionary_quality.py --peers DIR [--data DIR] [--vectors 320000] [--variant topk]

A one-layer model (hidden 128, MLP 256) is trained on built-in text, its MLP activations are written
once, and every program trains every variant on them: same vectors, same order, same batches, same
number of features, warm-up over the first 5 % and decay over the last 20 % of the steps, float32.

Each program gets, in each cell, the best of three learning rates (--rate names others), by
explained variance. L0 is made equal on held-out tokens: variants with k are asked for it and the
one threshold of a BatchTopK dictionary is set there; the weight of a penalty (ours: the L0 asked
for) is searched until L0 lies within 3 %. One program measures all of them on the same tokens:
explained variance, loss recovered (zero ablation), dead features. relu-penalised: the L1 is
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
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.support.quality import Judge, ours
from services.sae.activations import Cut, ModelSource, Rounds
from services.sae.start import activation_scale
from shared.data.token_stream import TrainingStream
from shared.lm.device import device
from shared.lm.load import load_model

HERE = Path(__file__).resolve().parent
VARIANTS = ("relu", "relu-penalised", "gated", "jumprelu", "topk", "batchtopk", "matryoshka")
NOT_THERE = (("sae-lens", "relu"),)
TARGETS = (20, 50, 100)
FEATURES, CONTEXT, BATCH = 1024, 32, 16  # a step has BATCH contexts
RATES = (5e-3, 1e-2, 2e-2)
PENALISED = (
    "relu",
    "relu-penalised",
    "gated",
    "jumprelu",
)  # the weight of a penalty decides their L0
FIRST = {  # weight of the penalty that a search starts with
    "sae-lens": {"relu-penalised": 1.3, "gated": 1.0, "jumprelu": 0.3},
    "dictionary-learning": {"relu": 0.075, "relu-penalised": 0.1, "gated": 0.05},
}
SEARCH = 7  # runs at most, for one cell
CLOSE = 0.03  # to the target L0
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


@dataclass(frozen=True)
class Job:
    """One training run."""

    variant: str
    target: int
    learning_rate: float
    coefficient: float | None = None
    asked: float | None = None  # the L0 to ask for, where it is not the target

    def values(self, activations: Path, steps: int, out: Path) -> dict[str, Any]:
        """What a peer is told."""
        return {
            "activations": str(activations),
            "variant": self.variant,
            "features": FEATURES,
            "k": self.asked or self.target,
            "coefficient": self.coefficient,
            "learning_rate": self.learning_rate,
            "warmup": steps // 20,
            "decay": steps // 5,
            "dead_after": DEAD_AFTER,
            "seed": 0,
            "out": str(out),
        }


DEAD_AFTER = 150  # steps


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
        """The weights, for scaled activations."""
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
        """The weights, for scaled activations."""
        return ours(job.values(Path(), len(self._steps), Path()), self._steps)


def main() -> None:
    """Train, measure, print."""
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
            if (program.name, variant) in NOT_THERE:
                continue
            for target in TARGETS:
                jobs = [Job(variant, target, rate) for rate in arguments.rate or RATES]
                tried = [cell(program, judge, job) for job in jobs]
                line = max(tried, key=lambda one: one["explained_variance"])
                print(json.dumps(line), flush=True)
                lines.append(line)
    print(table(lines))


def cell(program: Any, judge: Judge, job: Job) -> dict[str, Any]:
    """One program's dictionary at one L0, measured."""
    first = FIRST.get(program.name, {}).get(job.variant)
    if job.variant in PENALISED and first is not None:
        return search(program, judge, replace(job, coefficient=first))
    found = measure(program, judge, job)
    for _ in range(2):
        if job.variant not in PENALISED or abs(math.log(found["l0"] / job.target)) <= CLOSE:
            break
        job = replace(job, asked=(job.asked or job.target) * job.target / found["l0"])
        found = measure(program, judge, job)
    return found


def search(program: Any, judge: Judge, job: Job) -> dict[str, Any]:
    """Searches the weight of the penalty, in logarithms, until L0 is close to the target."""
    known = LAST.get((program.name, job.variant, job.learning_rate))
    if known is not None:  # L0 falls about as fast as the weight rises
        job = replace(job, coefficient=known[0] * known[1] / job.target)
    tried: list[tuple[float, float]] = []  # log weight, log L0 / target
    best: dict[str, Any] = {}
    for _ in range(SEARCH):
        assert job.coefficient is not None
        found = measure(program, judge, job)
        off = math.log(max(found["l0"], 1e-3) / job.target)
        if not best or abs(off) < abs(best["off"]):
            best = {**found, "off": off}
        if abs(off) <= CLOSE:
            break
        tried.append((math.log(job.coefficient), off))
        job = replace(job, coefficient=math.exp(following(tried)))
    LAST[program.name, job.variant, job.learning_rate] = best["coefficient"], best["l0"]
    best.pop("off")
    return best


LAST: dict[tuple[str, str, float], tuple[float, float]] = {}  # weight and L0 of a search's end


def following(tried: list[tuple[float, float]]) -> float:
    """The next logarithm of the weight: between the closest on both sides, else further out."""
    above = [one for one in tried if one[1] > 0]  # L0 too high: the weight too low
    below = [one for one in tried if one[1] <= 0]
    if above and below:
        (x0, y0), (x1, y1) = max(above), min(below)
        return x0 + (x1 - x0) * y0 / (y0 - y1)
    x, y = max(above) if above else min(below)
    return x + max(-2.5, min(2.5, 1.2 * y))


def measure(program: Any, judge: Judge, job: Job) -> dict[str, Any]:
    """Train and judge once."""
    weights = program.train(job)
    found = judge.judge(weights, job.variant, job.target)
    print(job, found, file=sys.stderr, flush=True)
    return {
        "program": program.name,
        "variant": job.variant,
        "target": job.target,
        "learning_rate": job.learning_rate,
        "coefficient": job.coefficient,
        **found,
    }


def prepare(data: Path, vectors: int) -> tuple[Judge, Path]:
    """The model, its held-out losses, and steps.npy [steps, vectors of a step, width]."""
    found = artifacts(data / "lm")
    if not found["train"]:
        train_model(data)
        found = artifacts(data / "lm")
    model = load_model(found["train"][0])
    tokens = sorted(found["tokens"])
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
    """Run the spec, with the command that users run."""
    data.mkdir(parents=True, exist_ok=True)
    spec = data / "spec.yaml"
    spec.write_text(yaml.safe_dump(SPEC), encoding="utf-8")
    run = [sys.executable, "-c", "from api.cli.main import main; main()", "run", str(spec)]
    command = [*run, "--data", str(data / "lm"), "--report", str(data / "report")]
    subprocess.run(command, check=True, cwd=HERE.parent, stdout=sys.stderr)


def artifacts(installation: Path) -> dict[str, list[Path]]:
    """Directories of the models and packed tokens that were made."""
    found: dict[str, list[Path]] = {"train": [], "tokens": []}
    for path in (installation / "store" / "stages").glob("*/manifest.json"):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["kind"] in found:
            found[manifest["kind"]].append(path.parent / "files" / manifest["attempt"])
    return found


def table(lines: list[dict[str, Any]]) -> str:
    """Markdown: a row for each variant and L0."""
    names = list(dict.fromkeys(line["program"] for line in lines))
    head = [f"{name}: {what}" for name in names for what in ("L0", "EV", "recovered", "dead")]
    chosen = {(line["program"], line["variant"], line["target"]): line for line in lines}
    rows = ["| variant | L0 | " + " | ".join(head) + " |", "|" + "---|" * (2 + len(head))]
    for variant in dict.fromkeys(line["variant"] for line in lines):
        for target in TARGETS:
            cells = []
            for name in names:
                one = chosen.get((name, variant, target))
                if one is None:
                    cells += ["–"] * 4
                    continue
                cells += [
                    f"{one['l0']:.1f}",
                    f"{one['explained_variance']:.4f}",
                    f"{one['loss_recovered']:.4f}",
                    f"{one['dead_share']:.1%}",
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
