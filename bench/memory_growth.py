"""Peak memory of the corpus, tokens and train stages, on a corpus and on one ten times as large.

    python bench/memory_growth.py [--megabytes 2] [--factor 10] [--stages corpus,tokens,train]

Every stage runs in a process of its own. JSON lines: one for each run with its peak, and one for
each stage with the ratio of the two peaks and the floor, which is the peak of a process that only
imports the stage's module. A ratio of 1 is a stage whose memory does not depend on its corpus.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
WORDS = 30_000  # distinct words of the made-up language
DOCUMENT = 200  # words of a document
VOCABULARY = 1000
BLOCK = 128
ARCHITECTURE = {"hidden": 64, "mlp": 128, "heads": 4, "kv_heads": 2, "layers": 1, "context": BLOCK}
TRAINING = {
    "epochs": 1.0,
    "max_steps": 8,
    "batch": 8,
    "block": BLOCK,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "seed": 1,
}


def write_corpus(path: Path, size: int) -> None:
    """JSONL of made-up words whose frequencies fall like those of a language (Zipf)."""
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwyp"))
    words = np.array(["".join(rng.choice(letters, rng.integers(1, 9))) for _ in range(WORDS)])
    chances = 1 / np.arange(1, WORDS + 1)
    chances /= chances.sum()
    with path.open("w") as file:
        written = 0
        while written < size:
            text = " ".join(words[rng.choice(WORDS, DOCUMENT, p=chances)])
            written += file.write(json.dumps({"text": text}) + "\n")


def peak_bytes() -> int:
    """The largest resident size of this process so far.

    Not ru_maxrss on Linux: there it starts at the size of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def child(request: dict[str, Any]) -> None:
    """Run one stage (or only import it) and print its results and its peak."""
    sys.path.insert(0, str(ROOT))
    from shared.stages.entry import stage_function
    from tests.support.stages import run_stage

    function = stage_function("services", "trainer", request["stage"])
    results: dict[str, Any] = {}
    begin = time.monotonic()
    if not request.get("import_only"):
        inputs = {name: (Path(path), values) for name, (path, values) in request["inputs"].items()}
        uploads = {digest: Path(path) for digest, path in request.get("uploads", {}).items()}
        parameters, directory = request["parameters"], Path(request["directory"])
        _, results = run_stage(function, parameters, inputs, directory, uploads)
    seconds = round(time.monotonic() - begin, 2)
    print(json.dumps({"results": results, "peak_bytes": peak_bytes(), "seconds": seconds}))


def run(stage: str, **request: Any) -> dict[str, Any]:
    """Run a stage in a process of its own; returns its results, peak bytes and seconds."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps({"stage": stage, **request})],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{stage}: {done.stderr}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def chain(directory: Path, size: int, last: str) -> dict[str, dict[str, Any]]:
    """Run the stages up to `last` on a corpus of `size` bytes; returns their reports by stage."""
    directory.mkdir()
    text = directory / "text.jsonl"
    write_corpus(text, size)
    runs: dict[str, dict[str, Any]] = {}

    def step(stage: str, parameters: dict[str, Any], **inputs: str) -> None:
        sources = {name.replace("_", "/"): source for name, source in inputs.items()}
        runs[stage] = run(
            stage,
            parameters=parameters,
            directory=str(directory / stage),
            uploads={"0" * 64: str(text)},
            inputs={
                name: (str(directory / source / "output"), runs[source]["results"])
                for name, source in sources.items()
            },
        )

    source = {"source": "upload", "digest": "0" * 64, "format": "jsonl"}
    step("corpus", {"source": source})
    if last == "corpus":
        return runs
    training = {"how": "train", "vocab_size": VOCABULARY, "max_bytes": 500_000}
    step("tokenizer", {"tokenizer": training}, corpus_0="corpus")
    step("tokens", {"block": BLOCK}, corpus="corpus", tokenizer="tokenizer")
    if last == "train":
        step("initialise", {"architecture": ARCHITECTURE, "seed": 1}, tokenizer="tokenizer")
        step("train", TRAINING, model="initialise", tokens_0="tokens")
    return runs


def main() -> None:
    """Measure every stage on both corpora and print the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=2.0)
    parser.add_argument("--factor", type=int, default=10)
    parser.add_argument("--stages", default="corpus,tokens,train")
    parser.add_argument("--child")
    arguments = parser.parse_args()
    if arguments.child:
        child(json.loads(arguments.child))
        return
    stages = arguments.stages.split(",")
    last = [stage for stage in ("corpus", "tokens", "train") if stage in stages][-1]
    sizes = {
        name: int(arguments.megabytes * 1e6 * f)
        for name, f in (("small", 1), ("large", arguments.factor))
    }
    with tempfile.TemporaryDirectory() as directory:
        chains = {name: chain(Path(directory) / name, size, last) for name, size in sizes.items()}
    for name, runs in chains.items():
        for stage in stages:
            line = {"stage": stage, "corpus_bytes": sizes[name]}
            keys = ("peak_bytes", "seconds")
            print(json.dumps(line | {key: runs[stage][key] for key in keys}))
    for stage in stages:
        small, large = (chains[name][stage]["peak_bytes"] for name in ("small", "large"))
        print(
            json.dumps(
                {
                    "stage": stage,
                    "factor": arguments.factor,
                    "floor_bytes": run(stage, import_only=True)["peak_bytes"],
                    "peak_bytes_small": small,
                    "peak_bytes_large": large,
                    "ratio": round(large / small, 3),
                }
            )
        )


if __name__ == "__main__":
    main()
