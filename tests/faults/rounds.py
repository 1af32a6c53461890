"""One round: submit, let a fault happen, wait for the end, compare every bit."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx
import psutil
from redis.exceptions import RedisError

from shared.records.artifacts import Artifacts, Manifest
from shared.stages.kinds import SERVICES
from tests.faults.cluster import WORKERS, Cluster
from tests.faults.faults import Fault

SPEC = (Path(__file__).parent / "experiment.yaml").read_bytes()
ROUND_SECONDS = 240  # a round that takes longer has not recovered
CALM_SECONDS = 20  # until nothing is left of a finished round

Bits = dict[str, dict[str, str]]  # stage key -> file -> sha256; "results" stands for the results


@dataclass(frozen=True)
class Round:
    """How a round went: seconds in all, and until what was disturbed went on."""

    fault: str
    seconds: float
    delay: float


def submit(cluster: Cluster) -> str:
    """Submit the experiment by REST, however often the API is killed meanwhile."""
    answer = httpx.post(
        f"{cluster.url}/v1/experiments",
        content=SPEC,
        headers={"Content-Type": "application/yaml", "Idempotency-Key": cluster.mark},
        timeout=30,
    )
    answer.raise_for_status()
    number: str = answer.json()["id"]
    return number


def finished(cluster: Cluster) -> set[str]:
    """Keys with a manifest."""
    names = [info.name.split("/") for info in cluster.store().list("stages/")]
    return {parts[1] for parts in names if parts[2] == "manifest.json"}


def undisturbed(cluster: Cluster) -> tuple[Bits, float]:
    """The bits of a run without a fault, and the seconds it took."""
    began = time.monotonic()
    number = submit(cluster)
    wait_for_end(cluster, number)
    seconds = time.monotonic() - began
    check_calm(cluster)
    return bits(cluster, number), seconds


def disturbed(
    cluster: Cluster, fault: Fault, random: Random, reference: tuple[Bits, float]
) -> Round:
    """A run with a fault in it; AssertionError when anything is not as it must be afterwards."""
    expected, usual = reference
    cluster.wipe()
    if fault.point:
        (cluster.failpoints / fault.point).write_text(fault.action)
    began = time.monotonic()
    number = submit(cluster)
    if fault.point:
        cluster.until(lambda: _taken(cluster, fault), f"somebody to reach {fault.point}")
    else:
        time.sleep(random.uniform(0.05, 0.8) * usual)
    before = _work(cluster, number)
    hit = time.monotonic()
    fault.happen(cluster, random)
    over = time.monotonic()
    delay = _recovery(cluster, before, hit if fault.point or before else over)
    wait_for_end(cluster, number)
    seconds = time.monotonic() - began
    check_calm(cluster)
    found = bits(cluster, number)
    assert found.keys() == expected.keys(), "other stages than in the undisturbed run"
    for key in expected:
        assert found[key] == expected[key], f"stage {key} has other bits than undisturbed"
    if fault.name == "a clock a minute off":
        cluster.kill(*WORKERS)
        cluster.revive()
    return Round(fault.name, seconds, delay)


def _work(cluster: Cluster, number: str) -> dict[str, str]:
    """What is leased as soon as something is; nothing if the experiment is complete before."""
    while not (leases := _safe_leases(cluster)):
        if _complete(cluster, number):
            break
    return leases


def _complete(cluster: Cluster, number: str) -> bool:
    answer = httpx.get(f"{cluster.url}/v1/experiments/{number}", timeout=10)
    return answer.is_success and answer.json()["state"] == "complete"


def _taken(cluster: Cluster, fault: Fault) -> bool:
    return any(path.name.startswith(f"{fault.point}.") for path in cluster.failpoints.iterdir())


def _safe_leases(cluster: Cluster) -> dict[str, str]:
    with contextlib.suppress(Exception):
        return cluster.leases()
    return {}


def _recovery(cluster: Cluster, before: dict[str, str], since: float) -> float:
    """Seconds until every stage that was running has ended or is run by another attempt (or goes
    on with the same one, where the fault did not touch it).
    """
    changed = set[str]()

    def recovered() -> bool:
        cluster.revive()
        with contextlib.suppress(Exception):
            now = cluster.leases()
            changed.update(key for key in before if now.get(key, before[key]) != before[key])
            changed.update(finished(cluster) & before.keys())
        return changed >= before.keys()

    cluster.until(recovered, "what was disturbed to go on", ROUND_SECONDS)
    return time.monotonic() - since


def wait_for_end(cluster: Cluster, number: str) -> None:
    """Until the experiment is complete; AssertionError when it failed or takes too long."""
    end = time.monotonic() + ROUND_SECONDS
    state = "unknown"
    while time.monotonic() < end:
        cluster.revive()
        with contextlib.suppress(httpx.HTTPError, KeyError):
            state = httpx.get(f"{cluster.url}/v1/experiments/{number}", timeout=10).json()["state"]
        if state == "complete":
            return
        assert state in ("unknown", "running"), f"{number} is {state}: {reasons(cluster, number)}"
        time.sleep(0.1)
    raise AssertionError(f"{number} is still {state}: {reasons(cluster, number)}")


def reasons(cluster: Cluster, number: str) -> str:
    """What the stages that are not done say of themselves."""
    stages = httpx.get(f"{cluster.url}/v1/experiments/{number}/stages", timeout=10).json()
    rows = stages if isinstance(stages, list) else stages["items"]
    return "; ".join(
        f"{one['title']}: {one['state']} {one.get('reason') or ''}"
        for one in rows
        if one["state"] not in ("done", "waiting", "blocked")
    )


def check_calm(cluster: Cluster) -> None:
    """Nothing runs, nothing is leased or queued, and no process is left without its parent."""

    def calm() -> bool:
        try:
            queued = sum(cluster.redis.llen(service) for service in SERVICES)
            return not cluster.leases() and not queued and not _stage_processes(cluster)
        except (RedisError, OSError):  # it was down last of all, and is still starting
            return False

    cluster.until(calm, "nothing to be left running", CALM_SECONDS)
    known = {process.pid for name in cluster.programs for process in cluster.family(name)}
    strangers = [process for process in cluster.marked() if process.pid not in known]
    assert not strangers, f"orphans: {[' '.join(one.cmdline()) for one in strangers]}"


def _stage_processes(cluster: Cluster) -> list[psutil.Process]:
    found = []
    for process in cluster.marked():
        with contextlib.suppress(psutil.Error):
            parent = process.parent()
            if parent and "shared.worker.spawner" in parent.cmdline():
                found.append(process)
    return found


def bits(cluster: Cluster, number: str) -> Bits:
    """What every stage left, read back and hashed; every manifest is there once and whole."""
    store = cluster.store()
    names = [info.name for info in store.list("stages/")]
    manifests = Counter(name.split("/")[1] for name in names if name.endswith("/manifest.json"))
    stages = httpx.get(f"{cluster.url}/v1/experiments/{number}/stages?size=100", timeout=10).json()
    rows = stages if isinstance(stages, list) else stages["items"]
    keys = {one["key"] for one in rows}
    assert manifests == Counter(keys), "not exactly one manifest for each stage"
    artifacts = Artifacts(store)
    found: Bits = {}
    for key in keys:
        manifest = artifacts.manifest(key)
        assert manifest is not None
        found[key] = {"results": _digest(_lasting(manifest))}
        for file, stored in manifest.files.items():
            data = store.get(artifacts.object_name(manifest, file))
            assert hashlib.sha256(data).hexdigest() == stored.sha256, f"{key}/{file} is damaged"
            found[key][file] = stored.sha256
    return found


def _lasting(manifest: Manifest) -> bytes:
    """The results without what was measured on the way (seconds a million vectors took ..)."""
    lasting = {name: value for name, value in manifest.results.items() if "second" not in name}
    return repr(sorted(lasting.items())).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
