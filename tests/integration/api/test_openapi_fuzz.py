"""The OpenAPI document is true: schemathesis asks a real server everything that it promises.

All checks are on but those that openapi_fuzz.toml switches off, each with its reason. For a longer
run of the same: `LINEAMENT_FUZZ_EXAMPLES=100 pytest tests/integration/api/test_openapi_fuzz.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
import yaml
from redis import Redis

from api.backend import Backend, open_backend
from api.experiments.planning import resolve_text
from shared.api_keys import key_hash, new_key
from shared.plan import make_plan
from shared.settings import Settings
from tests.support import fake_hub
from tests.support.api import lineage_world, rest
from tests.support.specs import UPLOADS

ROOT = Path(__file__).parents[3]
CONFIGURATION = Path(__file__).with_name("openapi_fuzz.toml")
EXAMPLES = os.environ.get("LINEAMENT_FUZZ_EXAMPLES", "20")  # of an operation, in a phase
KEY = new_key()
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}
PATIENCE = 60  # seconds; the first answer waits until the server has started
LEASE = 1.0
# Of this key's, not an admin's: what others own the fuzzer can neither delete nor replace.
KEYS = [{"name": "fuzzer", "sha256": key_hash(KEY), "scopes": ["submit"]}]
TURN = 0.5  # seconds after which a running attempt ends, so that following its log ends too
GAP = 1.2  # seconds until the next: a follower, who looks twice a second, must see the end


@contextmanager
def served(settings: Settings, hub: str, log: Path) -> Iterator[str]:
    """The API as a process of its own; its URL. It may upload 1 MB and has no limit of requests."""
    listener = socket.create_server(("127.0.0.1", 0))
    more = {
        "LINEAMENT_DATA": str(settings.data),
        "LINEAMENT_REDIS_URL": settings.redis_url,
        "LINEAMENT_API_KEYS": json.dumps(KEYS),
        "LINEAMENT_LEASE": str(settings.lease),
        "LINEAMENT_UPLOAD_LIMIT": "1000000",
        "LINEAMENT_RATE": "off",
        "HF_ENDPOINT": hub,
    }
    command = [sys.executable, "-m", "api.server", "--fd", str(listener.fileno())]
    with listener, log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **more},
            pass_fds=[listener.fileno()],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.terminate()
            process.wait()


def keep_uploads(backend: Backend, directory: Path) -> None:
    """The content is not what the digests say: nothing reads it here."""
    for info in UPLOADS.values():
        path = directory / info.name
        path.write_text('{"text": "a corpus"}\n')
        backend.uploads.keep(info, path)


def running_experiment(backend: Backend) -> str:
    resolved = resolve_text(yaml.safe_dump(rest.SPEC).encode(), backend.uploads, backend.settings)
    values = resolved.model_dump(mode="json")
    return backend.experiments.submit("small", values, make_plan(resolved)).id


@contextmanager
def working(world: rest.World, key: str) -> Iterator[None]:
    """A worker that makes attempts at a stage, none of which lives long."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            world.start(key, "a1", done=5, total=10, loss=3.2)
            stop.wait(TURN)
            world.end(key, "a1", "crashed", b"one\ntwo\n", reason="killed")
            stop.wait(GAP)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def submitted(url: str, name: str) -> str:
    """The id of an experiment of the fuzzer's own."""
    spec = rest.changed(name=name)
    answer = httpx.post(f"{url}/v1/experiments", json=spec, headers=AUTHORIZED, timeout=PATIENCE)
    found: str = answer.json()["id"]
    return found


def cursor(url: str, path: str) -> str:
    """The cursor of a second page."""
    page = httpx.get(url + path, params={"size": 1}, headers=AUTHORIZED, timeout=PATIENCE).json()
    found: str = page.get("matches", page)["next_page"]
    return unquote(found)


def configure(directory: Path, names: Mapping[str, Sequence[str]]) -> Path:
    """The configuration, with names of things that exist in libFuzzer's format of dictionaries."""
    for name, values in names.items():
        (directory / f"{name}.dict").write_text("".join(f'"{value}"\n' for value in values))
    return Path(shutil.copy(CONFIGURATION, directory))


def schemathesis(url: str, configuration: Path) -> subprocess.CompletedProcess[str]:
    command = ["-m", "schemathesis.cli", "--config-file", str(configuration), "run", "--no-color"]
    return subprocess.run(
        [sys.executable, *command, "--max-examples", EXAMPLES, f"{url}/openapi.json"],
        env={**os.environ, "FUZZ_KEY": KEY, "PYTHONPATH": str(ROOT)},
        cwd=configuration.parent,  # where it keeps what it found
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


@pytest.mark.slow
def test_every_answer_is_the_one_that_the_document_promises(
    redis_url: str, redis: Redis, tmp_path: Path
) -> None:
    done = lineage_world.World(tmp_path / "data", changes=lineage_world.EXPLAINED)
    settings = Settings(data=done.data, redis_url=redis_url, lease=LEASE)
    world = rest.World(open_backend(settings))
    keep_uploads(world.backend, tmp_path)
    number = running_experiment(world.backend)
    failed, running = world.keys(number)[:2]
    world.end(failed, "a1", "failed", b"log\n", reason="the loss is NaN")
    world.fail(failed, "a1", "the loss is NaN")
    report = done.experiment.plan.stages[-1]
    log = tmp_path / "server.log"

    with fake_hub.serve({}) as hub, served(settings, hub.url, log) as url, working(world, running):
        edge = f"/v1/experiments/{done.experiment.id}/edges/base/left"
        explained = f"/v1/experiments/{done.experiment.id}/explanations/base"
        names = {
            "numbers": [done.experiment.id, done.experiment.id, number],
            "own": [submitted(url, f"fuzzed-{place}") for place in (1, 2, 3)],
            "running": [number],
            "logs": [failed, running],
            "stages": [report.key, *done.roles().values(), failed, running],
            "attempts": ["a1", "1-test"],
            "artifacts": [report.key, *list(done.roles().values())[::4]],
            "files": ["results.json", "report.html", "model.safetensors"],
            "tables": ["edges", "sweeps"],
            "uploads": [*UPLOADS, "fuzzed-1", "fuzzed-2"],
            "pages_of_experiments": [cursor(url, "/v1/experiments")],
            "pages_of_uploads": [cursor(url, "/v1/corpora")],
            "pages_of_matches": [cursor(url, edge)],
            "pages_of_explanations": [cursor(url, explained)],
        }
        found = schemathesis(url, configure(tmp_path, names))

    assert found.returncode == 0, found.stdout
    assert "request failed" not in log.read_text()  # nothing that only the log tells
    print(found.stdout)
