"""SLERP of two checkpoints of the paper's shape (35 M float32 weights): ours beside others.

    python bench/merge.py [--size paper|1b] [--rounds 7]

In turn in one process, on the same files in the page cache: the merge stage of this project, a
minimal torch loop (whole tensors, float32, save_file), and mergekit's run_merge where it can be
imported (`pip install mergekit`, or PYTHONPATH to it). "bytes" reads both files and writes one as
large: nothing can be faster. Prints medians [min - max] in seconds and what each adds to the
process's memory at its peak, mapped files included. --size 1b takes a pair of 1.1 B bfloat16
weights (4.4 GB of disk).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer, models

from services.merger import merge
from shared.lm.device import set_threads
from shared.stages.stage import Input, Stage

T = 0.58
CONFIGS = {
    "paper": {
        "model_type": "mistral", "architectures": ["MistralForCausalLM"], "hidden_size": 512,
        "intermediate_size": 1024, "num_hidden_layers": 1, "num_attention_heads": 16,
        "num_key_value_heads": 8, "dtype": "float32",
    },
    "1b": {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 2048,
        "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32,
        "num_key_value_heads": 4, "dtype": "bfloat16",
    },
}  # fmt: skip
VOCABULARY = 32000


def write_parent(directory: Path, size: str, seed: int) -> None:
    """Write a model directory with random weights of that size."""
    directory.mkdir(parents=True)
    config = {**CONFIGS[size], "vocab_size": VOCABULARY, "tie_word_embeddings": False}
    (directory / "config.json").write_text(json.dumps(config))
    vocabulary = {f"t{number}": number for number in range(VOCABULARY)}
    Tokenizer(models.BPE(vocab=vocabulary, merges=[])).save(str(directory / "tokenizer.json"))
    draw = torch.Generator().manual_seed(seed)
    dtype = getattr(torch, str(config["dtype"]))
    weights = {
        name: torch.randn(shape, generator=draw).mul_(0.02).to(dtype)
        for name, shape in shapes(size)
    }
    save_file(weights, directory / "model.safetensors", {"format": "pt"})


def shapes(size: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a Llama-like model's tensors."""
    config = CONFIGS[size]
    hidden, mlp = int(str(config["hidden_size"])), int(str(config["intermediate_size"]))
    head = hidden // int(str(config["num_attention_heads"]))
    kv = head * int(str(config["num_key_value_heads"]))
    yield from (
        ("model.embed_tokens.weight", (VOCABULARY, hidden)),
        ("lm_head.weight", (VOCABULARY, hidden)),
        ("model.norm.weight", (hidden,)),
    )
    for layer in range(int(str(config["num_hidden_layers"]))):
        for name, shape in (
            ("self_attn.q_proj", (hidden, hidden)), ("self_attn.k_proj", (kv, hidden)),
            ("self_attn.v_proj", (kv, hidden)), ("self_attn.o_proj", (hidden, hidden)),
            ("mlp.gate_proj", (mlp, hidden)), ("mlp.up_proj", (mlp, hidden)),
            ("mlp.down_proj", (hidden, mlp)), ("input_layernorm", (hidden,)),
            ("post_attention_layernorm", (hidden,)),
        ):  # fmt: skip
            yield f"model.layers.{layer}.{name}.weight", shape


def ours(zero: Path, one: Path, output: Path) -> None:
    """Run the whole stage: comparing the parents, tensors.jsonl and copied files included."""
    stage = Stage(
        key="", kind="merge", parameters={"t": T},
        inputs={"at_zero": Input("", zero, {}), "at_one": Input("", one, {})},
        output=output, scratch=output, checkpoints=output, events=io.StringIO(),
    )  # fmt: skip
    merge.run(stage)


def minimal(zero: Path, one: Path, output: Path) -> None:
    """A minimal loop, as one would write it in a notebook."""
    merged = {}
    with (
        safe_open(zero / "model.safetensors", "pt") as a,
        safe_open(one / "model.safetensors", "pt") as b,
    ):
        for name in a.keys():  # noqa: SIM118  (safe_open is no dictionary)
            stored = a.get_tensor(name)
            u, v = stored.float(), b.get_tensor(name).float()
            angle = torch.arccos(torch.dot(u.flatten(), v.flatten()) / (u.norm() * v.norm()))
            weights = torch.sin(torch.tensor([1 - T, T]) * angle) / torch.sin(angle)
            merged[name] = (weights[0] * u + weights[1] * v).to(stored.dtype)
    save_file(merged, output / "model.safetensors")


def copy_bytes(zero: Path, one: Path, output: Path) -> None:
    """Read both files, write one of them."""
    buffer = bytearray(2**24)
    with (one / "model.safetensors").open("rb", buffering=0) as source:
        while source.readinto(buffer):
            pass
    with (
        (zero / "model.safetensors").open("rb", buffering=0) as source,
        (output / "model.safetensors").open("wb", buffering=0) as target,
    ):
        while count := source.readinto(buffer):
            target.write(memoryview(buffer)[:count])


def mergekit() -> Callable[[Path, Path, Path], None] | None:
    """mergekit in this process, or None where it is not installed."""
    try:
        from mergekit.config import MergeConfiguration
        from mergekit.merge import MergeOptions, run_merge
    except ImportError:
        return None
    logging.disable(logging.WARNING)

    def run(zero: Path, one: Path, output: Path) -> None:
        """As `mergekit-yaml` does, without starting a process."""
        configuration = MergeConfiguration.model_validate(
            {
                "models": [{"model": str(zero)}, {"model": str(one)}],
                "merge_method": "slerp",
                "base_model": str(zero),
                "parameters": {"t": [{"value": T}]},
                "dtype": json.loads((zero / "config.json").read_text())["dtype"],
            }
        )
        options = MergeOptions(copy_tokenizer=False, lazy_unpickle=True, quiet=True)
        with contextlib.redirect_stderr(io.StringIO()):
            run_merge(configuration, str(output), options=options)

    return run


@contextlib.contextmanager
def peak_memory() -> Iterator[list[float]]:
    """Yields a list of one number: the largest growth of the resident set so far, in MB, sampled
    every millisecond.
    """
    process, done, peak = psutil.Process(), threading.Event(), [0.0]
    start = process.memory_info().rss

    def watch() -> None:
        while not done.wait(0.001):
            peak[0] = max(peak[0], (process.memory_info().rss - start) / 1e6)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def main() -> None:
    """Write the parents, merge in turn, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=list(CONFIGS), default="paper")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    set_threads()
    programs = {"bytes": copy_bytes, "ours": ours, "minimal torch": minimal}
    if (theirs := mergekit()) is not None:
        programs["mergekit"] = theirs
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    memory: dict[str, float] = dict.fromkeys(programs, 0.0)
    with tempfile.TemporaryDirectory() as directory:
        zero, one, output = (Path(directory) / name for name in ("zero", "one", "output"))
        write_parent(zero, arguments.size, 1)
        write_parent(one, arguments.size, 2)
        for number in range(arguments.rounds + 1):
            for name, program in programs.items():
                output.mkdir()
                with contextlib.nullcontext([0.0]) if number else peak_memory() as peak:
                    start = time.perf_counter()
                    program(zero, one, output)
                    elapsed = time.perf_counter() - start
                shutil.rmtree(output)
                if number:  # the first round warms up and measures memory
                    seconds[name].append(elapsed)
                else:
                    memory[name] = peak[0]
    reference = statistics.median(seconds["ours"])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(
            f"{name:14} {median:7.3f} s [{min(values):.3f} - {max(values):.3f}], "
            f"{median / reference:5.2f} of ours, peak +{memory[name]:.0f} MB"
        )


if __name__ == "__main__":
    main()
