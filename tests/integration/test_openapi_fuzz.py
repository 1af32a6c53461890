"""The OpenAPI document is true: schemathesis asks a real server everything that it promises.

All checks are on but those that openapi_fuzz.toml switches off, each with its reason. For a longer
run of the same: `LINEAMENT_FUZZ_EXAMPLES=200 pytest tests/integration/test_openapi_fuzz.py -s`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from urllib.parse import unquote

import httpx
import huggingface_hub.constants
import pytest
import yaml
from redis import Redis

from api.backend import Backend
from api.experiments.planning import resolve_text
from shared.keys import ApiKey, key_hash, new_key
from shared.plan import make_plan
from shared.resolved import UploadInfo
from shared.settings import Settings
from tests import fake_hub
from tests.integration import lineage_world, rest
from tests.unit.specs import UPLOADS

ROOT = Path(__file__).parents[2]
CONFIGURATION = Path(__file__).with_name("openapi_fuzz.toml")
EXAMPLES = os.environ.get("LINEAMENT_FUZZ_EXAMPLES", "6")  # of an operation, in a phase
KEY = new_key()
# Not an admin's: what others own the fuzzer can neither delete nor replace.
KEYS = (ApiKey(name="fuzzer", sha256=key_hash(KEY), scopes=frozenset({"submit"})),)
TURN = 0.5  # seconds after which a running attempt ends, so that following its log ends too


def keep_upload(backend: Backend, directory: Path, info: UploadInfo) -> None:
    """The content is not what the digest says: nothing reads it here."""
    path = directory / info.name
    path.write_text('{"text": "a corpus"}\n')
    backend.uploads.keep(info, path)


def running_experiment(backend: Backend) -> str:
    resolved = resolve_text(yaml.safe_dump(rest.SPEC).encode(), backend.uploads)
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

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def cursor(url: str, path: str) -> str:
    """The cursor of a second page."""
    headers = {"Authorization": f"Bearer {KEY}"}
    page = httpx.get(url + path, params={"size": 1}, headers=headers).json()
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


def test_every_answer_is_the_one_that_the_document_promises(
    redis_url: str,
    redis: Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = lineage_world.World(tmp_path / "data")
    settings = Settings(
        data=done.data,
        redis_url=redis_url,
        api_keys=KEYS,
        lease=1.0,
        rate="off",
        upload_limit=1_000_000,
    )
    with fake_hub.serve({}) as hub, rest.serving(settings) as (url, app):
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        backend = cast(Backend, app.state.backend)
        for info in UPLOADS.values():
            keep_upload(backend, tmp_path, info)
        world = rest.World(backend)
        number = running_experiment(backend)
        failed, running = world.keys(number)[:2]
        world.end(failed, "a1", "failed", b"log\n", reason="the loss is NaN")
        world.fail(failed, "a1", "the loss is NaN")
        report = done.experiment.plan.stages[-1]
        edge = f"/v1/experiments/{done.experiment.id}/edges/base/left"
        configuration = configure(
            tmp_path,
            {
                "numbers": [done.experiment.id, done.experiment.id, number],
                "stages": [report.key, *done.roles().values(), failed, running],
                "attempts": ["a1", "1-test"],
                "artifacts": [report.key, *list(done.roles().values())[::4]],
                "files": ["results.json", "report.html", "model.safetensors"],
                "tables": ["edges", "sweeps"],
                "uploads": [*UPLOADS, "mine", "other"],
                "pages_of_experiments": [cursor(url, "/v1/experiments")],
                "pages_of_uploads": [cursor(url, "/v1/corpora")],
                "pages_of_matches": [cursor(url, edge)],
            },
        )
        with working(world, running):
            found = schemathesis(url, configuration)

    assert found.returncode == 0, found.stdout
    assert "request failed" not in capsys.readouterr().out  # nothing that only the log tells
