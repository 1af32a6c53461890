"""Correlation of all feature pairs of two models: ours beside scipy and torch, in turn.

    python bench/correlate.py                    # 16 384 x 16 384 features, 100 000 tokens, L0 50
    python bench/correlate.py --features 2048 --tokens 20000 --dense

Every program starts from the same codes (token-major, float32, as an encode artifact holds them),
runs in a process of its own so that peak memory is its own, and finds all pairs with r >= 0.8.

ours   services.analyzer.codes.correlate.search: float64 throughout, best partner of every feature
       and all pairs with r >= 0.2, on all processors
scipy  scipy.sparse's product of the whole matrices in their float32, then r of every non-zero
torch  dense z-scores and products in blocks of 2 048 features, float32 ("medium"); with --dense,
       for sizes that fit (tokens x features x 8 bytes)

The codes are synthetic: log-normal firing densities over decades, and 40 % of the child's features
are noisy copies of the parent's.

Z: entries of sparse codes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from services.analyzer.codes.codes import Codes

THRESHOLD, MATCHED, SIGMA = 0.8, 0.4, 1.7


def densities(rng: np.random.Generator, features: int, l0: float) -> Any:
    """Log-normal firing densities [features] whose sum is `l0`, at most one half each."""
    density = rng.lognormal(0.0, SIGMA, features)
    for _ in range(20):
        density = np.minimum(density * (l0 / density.sum()), 0.5)
    return density


def column(rng: np.random.Generator, tokens: int, density: float) -> tuple[Any, Any]:
    """The tokens on which one feature fires, and how strongly: two arrays [firings]."""
    count = rng.binomial(tokens, density)
    places = np.unique(rng.integers(0, tokens, int(count * (1 + 0.6 * density))))
    return places, rng.exponential(1.0, len(places)) + 0.05


def assemble(columns: list[tuple[Any, Any]], tokens: int) -> Codes:
    """Token-major codes of features given by `column`, one after another."""
    token_Z = np.concatenate([places for places, _ in columns])
    feature_Z = np.repeat(np.arange(len(columns)), [len(places) for places, _ in columns])
    order = np.lexsort((feature_Z, token_Z))
    values = np.concatenate([strengths for _, strengths in columns])[order]
    starts = np.searchsorted(token_Z[order], np.arange(tokens + 1))
    return Codes(starts, feature_Z[order].astype(np.int32), values.astype(np.float32), len(columns))


def synthetic(tokens: int, features: int, l0: float) -> tuple[Codes, Codes]:
    """A parent and a child that keeps a share of its features, noisily and in another order."""
    rng = np.random.default_rng(5)
    parent = [column(rng, tokens, density) for density in densities(rng, features, l0)]
    order, child = rng.permutation(features), []
    for number, density in enumerate(densities(rng, features, l0)):
        if number < MATCHED * features:
            places, strengths = parent[order[number]]
            keep = rng.random(len(places)) > 0.1
            noise = rng.lognormal(0.0, 0.3, int(keep.sum()))
            child.append((places[keep], strengths[keep] * noise))
        else:
            child.append(column(rng, tokens, density))
    return assemble(parent, tokens), assemble(child, tokens)


def ours(parent: Codes, child: Codes) -> int:
    """Pairs found by this project."""
    from services.analyzer.codes.correlate import search

    return int((search(parent, child, 0.2).pairs.r_Z >= THRESHOLD).sum())


def scipy_whole(parent: Codes, child: Codes) -> int:
    """Pairs found by one product of sparse matrices."""
    x, y = parent.matrix(), child.matrix()
    moments = []
    for codes in (parent, child):
        values = codes.values_Z.astype(np.float64)
        total = np.bincount(codes.features_Z, values, codes.width)
        square = np.bincount(codes.features_Z, values**2, codes.width)
        spread = np.sqrt(np.maximum(square - total**2 / codes.tokens, 0))
        moments.append((total / np.sqrt(codes.tokens), np.where(spread > 0, spread, np.inf)))
    (mean_x, sd_x), (mean_y, sd_y) = moments
    product, pairs = (x.T.tocsr() @ y).tocsr(), 0
    for start in range(0, parent.width, 2048):
        part = product[start : start + 2048]
        rows = np.repeat(np.arange(start, start + part.shape[0]), np.diff(part.indptr))
        r = (part.data - mean_x[rows] * mean_y[part.indices]) / (sd_x[rows] * sd_y[part.indices])
        pairs += int((r >= THRESHOLD).sum())
    return pairs


def torch_dense(parent: Codes, child: Codes) -> int:
    """Pairs found by dense products of z-scores."""
    import torch

    torch.set_float32_matmul_precision("medium")
    scores = []
    for codes in (parent, child):
        dense = torch.from_numpy(codes.matrix().T.toarray())
        deviation = dense.std(1, unbiased=False, keepdim=True)
        dense -= dense.mean(1, keepdim=True)
        dense /= torch.where(deviation == 0, 1.0, deviation)
        scores.append(dense)
    pairs = 0
    for start in range(0, parent.width, 2048):
        r = scores[0][start : start + 2048] @ scores[1].T / parent.tokens
        pairs += int((r >= THRESHOLD).sum())
    return pairs


PROGRAMS: dict[str, Callable[[Codes, Codes], int]] = {
    "ours": ours,
    "scipy": scipy_whole,
    "torch": torch_dense,
}


class Run(NamedTuple):
    """Seconds by the clock and of all processors, peak memory beside the codes in MB, pairs."""

    seconds: float
    cpu_seconds: float
    megabytes: float
    pairs: int


def measure(name: str, tokens: int, features: int, l0: float, results: Any) -> None:
    """Measure one run in this process and put it on the queue `results`."""
    parent, child = synthetic(tokens, features, l0)
    warm = synthetic(200, 50, 5)
    PROGRAMS[name](*warm)  # imports and thread pools are not what is compared
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    start, cpu = time.perf_counter(), time.process_time()
    pairs = PROGRAMS[name](parent, child)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    results.put(Run(seconds, cpu, resident("VmHWM") - before, pairs))


def resident(field: str) -> float:
    """Resident memory of this process in MB: now (VmRSS) or at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def main() -> None:
    """Run the programs in turn and print one JSON line each, with medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=16_384)
    parser.add_argument("--l0", type=float, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dense", action="store_true", help="compare with dense torch too")
    arguments = parser.parse_args()
    size = (arguments.tokens, arguments.features, arguments.l0)
    context = multiprocessing.get_context("spawn")
    runs: dict[str, list[Run]] = {}
    for _ in range(arguments.rounds):
        for name in ("ours", "scipy", *(["torch"] if arguments.dense else [])):
            results = context.SimpleQueue()
            process = context.Process(target=measure, args=(name, *size, results))
            process.start()
            runs.setdefault(name, []).append(results.get())
            process.join()
    for name, own in runs.items():
        seconds = [run.seconds for run in own]
        report = {
            "program": name,
            "tokens": size[0],
            "features": size[1],
            "l0": size[2],
            "seconds": round(statistics.median(seconds), 3),
            "fastest": round(min(seconds), 3),
            "slowest": round(max(seconds), 3),
            "cpu_seconds": round(statistics.median(run.cpu_seconds for run in own), 3),
            "megabytes": round(max(run.megabytes for run in own)),
            "pairs": own[0].pairs,
        }
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
