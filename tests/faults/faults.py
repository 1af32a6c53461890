"""The faults: what happens to a running installation, and how it is put right again.

A fault returns when it is over: whatever it stopped goes on, whatever it killed was started again.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

import psutil

from shared.queue.broker import make_app, ring
from shared.settings import Settings
from tests.faults.cluster import WORKERS, Cluster

RESTART_SECONDS = 0.5  # until something that died is started again
LEASE = Settings().lease
SKEW = Path(__file__).parent / "skew"


@dataclass(frozen=True)
class Fault:
    """A fault; `point` names the failpoint that starts it, otherwise it comes at a random moment.

    `store` says which kind of store it needs, `missing` why it cannot happen on this machine.
    """

    name: str
    happen: Callable[[Cluster, Random], None]
    point: str | None = None
    action: str = "kill"
    store: Literal["s3", "local"] = "s3"
    missing: Callable[[], str | None] = lambda: None


def _restart(cluster: Cluster, *names: str) -> None:
    cluster.kill(*names)
    time.sleep(RESTART_SECONDS)
    cluster.revive()


def _busy(cluster: Cluster, random: Random) -> str:
    """A worker that runs a stage, or any worker."""
    busy = [name for name in WORKERS if _stages(cluster, name)]
    return random.choice(busy or list(WORKERS))


def _stages(cluster: Cluster, worker: str) -> list[psutil.Process]:
    """Stage processes of a worker: children of its spawner, each in a session of its own."""
    found = []
    for process in cluster.family(worker):
        with contextlib.suppress(psutil.Error):
            parent = process.parent()
            if parent and "shared.worker.spawner" in parent.cmdline() and process.pid != parent.pid:
                found.append(process)
    return found


def _part(cluster: Cluster, worker: str, part: Literal["pool", "spawner", "stage"]) -> int | None:
    """The process id of a part of a worker, if it is there at this moment."""
    family = cluster.family(worker)
    with contextlib.suppress(psutil.Error):
        if part == "stage":
            stages = _stages(cluster, worker)
            return stages[0].pid if stages else None
        for process in family[1:]:
            spawner = "shared.worker.spawner" in process.cmdline()
            parent = process.ppid()
            if part == "pool" and parent == family[0].pid and not spawner:
                return process.pid
            if part == "spawner" and spawner and process not in _stages(cluster, worker):
                return process.pid
    return None


def _kill_part(part: Literal["pool", "spawner", "stage"]) -> Callable[[Cluster, Random], None]:
    def happen(cluster: Cluster, random: Random) -> None:
        for _ in range(200):
            pid = _part(cluster, _busy(cluster, random), part)
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                return
            time.sleep(0.02)

    return happen


def kill_worker(cluster: Cluster, random: Random) -> None:
    """The whole worker at once, while it runs something."""
    _restart(cluster, _busy(cluster, random))


def kill_api(cluster: Cluster, random: Random) -> None:
    """The API."""
    _restart(cluster, "api")


def kill_reconciler(cluster: Cluster, random: Random) -> None:
    """The reconciler."""
    _restart(cluster, "reconciler")


def power_cut(cluster: Cluster, random: Random) -> None:
    """Everything but the store."""
    _restart(cluster, *cluster.programs)


def zombie_worker(cluster: Cluster, random: Random) -> None:
    """A worker stops with all its processes until its lease is somebody else's, then goes on."""
    family = cluster.family(_busy(cluster, random))
    _to_all(family, signal.SIGSTOP)
    time.sleep(LEASE + random.uniform(0.5, 4))
    _to_all(family, signal.SIGCONT)


def _to_all(family: list[psutil.Process], number: signal.Signals) -> None:
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def wake_zombie(cluster: Cluster, random: Random) -> None:
    """Whoever stopped itself at a failpoint goes on after its lease is somebody else's."""
    time.sleep(LEASE + random.uniform(0.5, 3))
    for path in cluster.failpoints.iterdir():
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(path.suffix[1:]), signal.SIGCONT)


def flush_redis(cluster: Cluster, random: Random) -> None:
    """FLUSHALL, a few times."""
    for _ in range(random.randint(1, 3)):
        cluster.redis.flushall()
        time.sleep(random.uniform(0, 0.5))


def redis_down(cluster: Cluster, random: Random) -> None:
    """Redis is killed and comes back after a while."""
    cluster.kill("redis")
    time.sleep(random.uniform(1, 8))
    cluster.revive()


def redis_frozen(cluster: Cluster, random: Random) -> None:
    """Redis accepts connections and says nothing."""
    cluster.send("redis", signal.SIGSTOP)
    time.sleep(random.uniform(2, 14))
    cluster.send("redis", signal.SIGCONT)


def _store(mode: str, least: float, most: float) -> Callable[[Cluster, Random], None]:
    def happen(cluster: Cluster, random: Random) -> None:
        assert cluster.proxy is not None
        cluster.proxy.mode = mode  # type: ignore[assignment]
        time.sleep(random.uniform(least, most))
        cluster.proxy.mode = "pass"

    return happen


def drain(cluster: Cluster, random: Random) -> None:
    """SIGTERM, as a rolling update sends it: the worker leaves by itself, and in time."""
    name = _busy(cluster, random)
    process = cluster.programs[name].process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    process.wait(Settings().grace)
    cluster.revive()


def duplicate_messages(cluster: Cluster, random: Random) -> None:
    """Every stage is rung for several times, whether it is ready or not."""
    app = make_app(Settings(redis_url=f"redis://127.0.0.1:{cluster.redis_port}/0"))
    names = [info.name.split("/") for info in cluster.store().list("stages/")]
    for key in {parts[1] for parts in names}:
        for _ in range(3):
            ring(app, "sae", key)


def two_reconcilers(cluster: Cluster, random: Random) -> None:
    """A second reconciler for a while."""
    import subprocess

    program = cluster.programs["reconciler"]
    second = subprocess.Popen(program.command, env=dict(program.environment))
    time.sleep(random.uniform(3, 6))
    second.kill()
    second.wait()


def clock_skew(cluster: Cluster, random: Random) -> None:
    """A worker is started again with a clock that is a minute off; its peer's is right."""
    name = _busy(cluster, random)
    cluster.kill(name)
    offset = random.choice(["60", "-60"])
    cluster.run(name, PYTHONPATH=str(SKEW), LINEAMENT_TEST_SKEW=offset)


def _no_mounts() -> str | None:
    if os.geteuid() == 0 and ctypes.util.find_library("c"):
        return None
    return "only root may mount the small disk that fills up"


def disk_full(cluster: Cluster, random: Random) -> None:
    """The disk that holds the store and the work fills up, and is freed after a while."""
    assert cluster.local is not None
    ballast = cluster.local / "ballast"
    with ballast.open("wb") as handle, contextlib.suppress(OSError):
        while True:
            handle.write(b"\0" * (1 << 16))
            handle.flush()
    time.sleep(random.uniform(1, 6))
    ballast.unlink()


def nothing_more(cluster: Cluster, random: Random) -> None:
    """The failpoint was all; start again what died of it."""
    time.sleep(RESTART_SECONDS)
    cluster.revive()


FAULTS = (
    Fault("SIGKILL of a worker", kill_worker),
    Fault("SIGKILL of a worker's pool process", _kill_part("pool")),
    Fault("SIGKILL of the process that starts stages", _kill_part("spawner")),
    Fault("SIGKILL of a stage", _kill_part("stage")),
    Fault("SIGKILL of the API", kill_api),
    Fault("SIGKILL of the reconciler", kill_reconciler),
    Fault("SIGKILL of everything at once", power_cut),
    Fault("a worker stopped past its lease", zombie_worker),
    Fault("a zombie that still commits", wake_zombie, "before-manifest", "stop"),
    Fault(
        "a zombie that still saves a checkpoint", wake_zombie, "before-checkpoint-pointer", "stop"
    ),
    Fault("Redis FLUSHALL", flush_redis),
    Fault("Redis down", redis_down),
    Fault("Redis silent", redis_frozen),
    Fault("store down", _store("refuse", 2, 15)),
    Fault("store answers errors", _store("error", 2, 15)),
    Fault("store does it, the caller sees a time-out", _store("lose-answers", 1, 6)),
    Fault("store cuts answers off", _store("cut", 1, 6)),
    Fault("SIGTERM drain", drain),
    Fault("duplicate messages", duplicate_messages),
    Fault("two reconcilers", two_reconcilers),
    Fault("a clock a minute off", clock_skew),
    Fault("disk full", disk_full, store="local", missing=_no_mounts),
    Fault("killed after a shard", nothing_more, "after-shard"),
    Fault("killed inside a checkpoint", nothing_more, "inside-checkpoint"),
    Fault("killed before a checkpoint counts", nothing_more, "before-checkpoint-pointer"),
    Fault("killed before the manifest", nothing_more, "before-manifest"),
    Fault("killed after the manifest", nothing_more, "after-manifest"),
    Fault("killed with a fresh lease", nothing_more, "after-acquire"),
    Fault("no space for a checkpoint", nothing_more, "before-checkpoint-pointer", "full"),
)
