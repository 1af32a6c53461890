"""Many experiments and many stages: how fast the API answers and the reconciler passes over them.

    python bench/api_load.py [--experiments 200] [--seeds 8] [--reads 200]

Starts a Valkey, an API and a store of its own, without workers, submits experiments by REST all at
once from several clients, then reads while everything is queued. JSON lines: milliseconds of each
kind of read (median, 95th percentile), seconds of a reconciler's pass (its first, and one after a
hint), and resident memory of both after each round of reads: it should not grow.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from redis import Redis

from api.embedded import valkey_binary
from shared.experiments.experiments import Experiments
from shared.experiments.reconciler import Reconciler
from shared.queue.broker import connect, make_app
from shared.queue.leases import Leases
from shared.settings import Settings

ROUNDS = 4  # of reads, with a look at the memory after each
CLIENTS = 8
MEBI = 1 << 20


def spec(number: int, seeds: int) -> dict[str, Any]:
    """An experiment of about 7 + 6 x seeds stages, none of which another `number` shares."""
    shape = {"hidden": 32, "mlp": 64, "heads": 2, "kv_heads": 1, "layers": 1, "context": 32}
    return {
        "version": 1,
        "name": f"load-{number:03}",
        "seed": number,
        "block": 32,
        "evaluate_tokens": 1_000,
        "tokenizer": {"train": {"vocab_size": 512, "corpora": ["stories"]}},
        "corpora": {"stories": {"builtin": "stories", "max_tokens": 20_000 + number}},
        "models": {
            "base": {"pretrain": {"corpora": ["stories"], "architecture": shape}},
            "more": {"finetune": {"parent": "base", "corpora": ["stories"]}},
        },
        "dictionaries": {
            "mlp": {
                "models": "all", "hook": "mlp_post", "layer": 0, "features": 64, "l1": 1e-3,
                "tokens": 10_000, "evaluate_tokens": 1_000, "context": 32,
                "seeds": list(range(seeds)),
            }
        },
        "tracking": {"main": {"dictionary": "mlp", "corpora": ["stories"], "tokens": 1_000}},
    }  # fmt: skip


@contextmanager
def servers(directory: Path) -> Iterator[tuple[Settings, str, psutil.Process]]:
    """A Valkey and an API over `directory`."""
    socket, url = directory / "valkey", "http://127.0.0.1:8731"
    valkey = [valkey_binary(), "--port", "0", "--unixsocket", str(socket), "--save", ""]
    settings = Settings(data=directory, redis_url=f"unix://{socket}", rate="off")
    environment = {
        **os.environ,
        "LINEAMENT_DATA": str(directory),
        "LINEAMENT_REDIS_URL": settings.redis_url,
        "LINEAMENT_RATE": "off",
    }
    api = [sys.executable, "-m", "api.server", "--port", "8731"]
    running = [
        subprocess.Popen(valkey, stdout=subprocess.DEVNULL, cwd=directory),
        subprocess.Popen(api, env=environment),
    ]
    try:
        for _ in range(600):
            try:
                httpx.get(f"{url}/readyz").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield settings, url, psutil.Process(running[1].pid)
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()


def submit_all(url: str, count: int, seeds: int) -> list[str]:
    """Submit all experiments at once; returns their ids."""

    def submit(number: int) -> str:
        answer = httpx.post(f"{url}/v1/experiments", json=spec(number, seeds), timeout=120)
        answer.raise_for_status()
        experiment: str = answer.json()["id"]
        return experiment

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(submit, range(count)))


def timed(action: Callable[[], object]) -> float:
    """Seconds that an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def print_line(what: str, **values: Any) -> None:
    """Print a measurement as a JSON line."""
    print(json.dumps({"what": what, **values}), flush=True)


def read_all(url: str, ids: list[str], reads: int) -> None:
    """Time each kind of read, `reads` times in a row by one client, and print a line for each."""
    paths = {
        "list": lambda _: "/v1/experiments?size=50",
        "list, running": lambda _: "/v1/experiments?state=running&size=50",
        "experiment": lambda number: f"/v1/experiments/{ids[number % len(ids)]}",
        "stages": lambda number: f"/v1/experiments/{ids[number % len(ids)]}/stages",
    }
    with httpx.Client(base_url=url, timeout=60) as client:
        for name, path in paths.items():
            seconds = []
            for number in range(reads):
                target = path(number)
                seconds.append(timed(lambda target=target: client.get(target).raise_for_status()))
            cuts = statistics.quantiles(seconds, n=20)
            print_line(name, median_ms=round(1e3 * cuts[9], 1), p95_ms=round(1e3 * cuts[18], 1))


def main() -> None:
    """Submit, read, reconcile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=8, help="dictionaries per model")
    parser.add_argument("--reads", type=int, default=200, help="of each kind, in each round")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="lineament-") as directory,
        servers(Path(directory)) as (settings, url, api),
    ):
        began = time.perf_counter()
        ids = submit_all(url, options.experiments, options.seeds)
        seconds = time.perf_counter() - began
        redis: Redis = connect(settings)
        experiments = Experiments(settings.open_store())
        stages = sum(len(experiments.card(number).outline.nodes) for number in ids)
        print_line("submitted", experiments=len(ids), stages=stages, seconds=round(seconds, 1))
        reconcile(settings, redis)
        for number in range(ROUNDS):
            read_all(url, ids, options.reads)
            print_line("API memory", round=number, mib=round(api.memory_info().rss / MEBI, 1))


def reconcile(settings: Settings, redis: Redis) -> None:
    """Time a reconciler's passes and measure its memory; prints a line."""
    leases = Leases(redis, settings.lease)
    store = settings.open_store()
    reconciler = Reconciler(store, leases, redis, make_app(settings), settings.poll)
    first = timed(reconciler.pass_once)
    own = psutil.Process()
    before = own.memory_info().rss
    hinted = [timed(lambda: reconciler.pass_once(["stage:x"])) for _ in range(20)]
    time.sleep(2 * settings.poll)  # until the next pass is a sweep over everything
    sweep = timed(reconciler.pass_once)
    for _ in range(200):
        reconciler.pass_once()
    print_line(
        "reconciler",
        first_pass_s=round(first, 3),
        pass_s=round(statistics.median(hinted), 4),
        sweep_s=round(sweep, 3),
        mib=round(own.memory_info().rss / MEBI, 1),
        grown_in_200_passes_mib=round((own.memory_info().rss - before) / MEBI, 1),
    )


if __name__ == "__main__":
    main()
