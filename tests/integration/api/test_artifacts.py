"""Manifests and files over REST: ranges, conditions, redirects, archives."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.backend import Backend
from shared.records.artifacts import Manifest
from shared.settings import Settings
from tests.support.api.client import local_client

KEY = "a" * 64
CONTENT = bytes(range(256)) * 10_000  # more than one piece of the store
PAGE = b"<script>alert(1)</script>"
FILES = {
    "weights.safetensors": CONTENT,
    "page.html": PAGE,
    "csv/table.csv": b"a,b\n1,2\n",
    "empty.jsonl": b"",
    "picture.svg": b"<svg/>",
}
WEIGHTS = f"/v1/artifacts/{KEY}/files/weights.safetensors"
ETAG = f'"{hashlib.sha256(CONTENT).hexdigest()}"'


@dataclass
class Place:
    client: TestClient
    backend: Backend


@pytest.fixture(scope="module")
def place(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    data = tmp_path_factory.mktemp("artifacts")
    with local_client(Settings(data=data, redis_url=redis_url, rate="off")) as client:
        backend = cast(FastAPI, client.app).state.backend
        commit(backend, data / "made")
        yield Place(client, backend)


def commit(backend: Backend, directory: Path) -> None:
    for name, content in FILES.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    delivery = backend.artifacts.delivery(KEY, "1-test", directory)
    delivery.deliver()
    about: dict[str, Any] = {
        "key": KEY,
        "kind": "report",
        "version": 1,
        "parameters": {},
        "inputs": {},
        "results": {},
        "attempt": "1-test",
        "started": "2026-01-01T00:00:00.000+00:00",
        "finished": "2026-01-01T00:00:01.000+00:00",
        "seconds": 1.0,
        "cpu_seconds": 1.0,
        "peak_memory_bytes": 1,
        "host": "test",
        "hardware": {},
        "libraries": {},
        "log": "",
    }
    assert backend.artifacts.commit(Manifest(**about, files=delivery.files))


def test_a_manifest_names_its_files_with_size_and_content(place: Place) -> None:
    manifest = place.client.get(f"/v1/artifacts/{KEY}").json()
    assert set(manifest["files"]) == set(FILES)
    for name, content in FILES.items():
        assert manifest["files"][name]["bytes"] == len(content)
        assert manifest["files"][name]["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_file_comes_whole_with_its_etag(place: Place) -> None:
    answer = place.client.get(WEIGHTS)
    assert answer.status_code == 200
    assert answer.content == CONTENT
    assert answer.headers["etag"] == ETAG
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["content-disposition"] == 'attachment; filename="weights.safetensors"'


END = len(CONTENT)
RANGES = [
    ("bytes=0-0", 0, 1),
    ("bytes=0-99", 0, 100),
    (f"bytes={END - 1}-", END - 1, END),
    ("bytes=1048575-1048577", 1048575, 1048578),
    ("bytes=100-999999999", 100, END),
    ("bytes=-7", END - 7, END),
    (f"bytes=-{END + 5}", 0, END),
]


@pytest.mark.parametrize(("header", "start", "end"), RANGES)
def test_one_range_of_bytes_is_206(place: Place, header: str, start: int, end: int) -> None:
    answer = place.client.get(WEIGHTS, headers={"Range": header})
    assert answer.status_code == 206
    assert answer.content == CONTENT[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{END}"
    assert answer.headers["content-length"] == str(end - start)
    assert answer.headers["etag"] == ETAG


@pytest.mark.parametrize("header", [f"bytes={END}-", f"bytes={END + 5}-{END + 9}"])
def test_a_range_behind_the_end_is_416_with_the_size(place: Place, header: str) -> None:
    answer = place.client.get(WEIGHTS, headers={"Range": header})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{END}"
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "header", ["bytes=5-2", "bytes=a-b", "lines=1-2", "bytes", "bytes=0-1,5-6", "bytes=", ""]
)
def test_a_range_that_a_server_may_ignore_gives_the_whole_file(place: Place, header: str) -> None:
    answer = place.client.get(WEIGHTS, headers={"Range": header})
    assert answer.status_code == 200
    assert answer.content == CONTENT


def test_a_range_of_an_empty_file_is_416_and_the_file_itself_is_empty(place: Place) -> None:
    path = f"/v1/artifacts/{KEY}/files/empty.jsonl"
    assert place.client.get(path).content == b""
    assert place.client.get(path, headers={"Range": "bytes=0-"}).status_code == 416


def test_if_range_gives_the_range_only_of_the_same_content(place: Place) -> None:
    def status(condition: str) -> int:
        headers = {"Range": "bytes=0-9", "If-Range": condition}
        return place.client.get(WEIGHTS, headers=headers).status_code

    assert status(ETAG) == 206
    assert status('"other"') == 200
    assert status(f"W/{ETAG}") == 200
    assert status("Wed, 21 Oct 2015 07:28:00 GMT") == 200


@pytest.mark.parametrize("header", [ETAG, f"W/{ETAG}", f'"other", {ETAG}', "*"])
def test_what_the_client_has_already_is_304(place: Place, header: str) -> None:
    answer = place.client.get(WEIGHTS, headers={"If-None-Match": header, "Range": "bytes=0-1"})
    assert answer.status_code == 304
    assert answer.content == b""
    assert answer.headers["etag"] == ETAG


def test_another_etag_is_answered_in_full(place: Place) -> None:
    answer = place.client.get(WEIGHTS, headers={"If-None-Match": '"other"'})
    assert answer.status_code == 200


def test_head_has_the_headers_of_get_and_no_body(place: Place) -> None:
    for headers in ({}, {"Range": "bytes=5-9"}):
        got = place.client.get(WEIGHTS, headers=headers)
        head = place.client.head(WEIGHTS, headers=headers)
        assert head.status_code == got.status_code
        assert head.content == b""
        for name in ("content-length", "etag", "accept-ranges", "content-type", "content-range"):
            assert head.headers.get(name) == got.headers.get(name)


@pytest.mark.parametrize("name", ["page.html", "picture.svg"])
def test_what_could_run_a_script_is_only_saved(place: Place, name: str) -> None:
    answer = place.client.get(f"/v1/artifacts/{KEY}/files/{name}")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_a_table_may_be_shown(place: Place) -> None:
    answer = place.client.get(f"/v1/artifacts/{KEY}/files/csv/table.csv")
    assert answer.headers["content-disposition"] == 'inline; filename="table.csv"'
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/artifacts/{'b' * 64}",
        "/v1/artifacts/..%2F..",
        f"/v1/artifacts/{'b' * 64}/files/x",
        f"/v1/artifacts/{'b' * 64}/archive",
        f"/v1/artifacts/{KEY}/files/none",
        f"/v1/artifacts/{KEY}/files/../manifest.json",
        f"/v1/artifacts/{KEY}/files/%2e%2e/%2e%2e/manifest.json",
        f"/v1/artifacts/{KEY}/files/csv",
        f"/v1/artifacts/{KEY}/files//etc/passwd",
    ],
)
def test_what_is_not_there_is_404(place: Place, path: str) -> None:
    answer = place.client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_store_with_urls_is_redirected_to(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def presign(name: str, seconds: int) -> str:
        asked.append((name, seconds))
        return f"https://files.example/{name}?signed=1"

    monkeypatch.setattr(place.backend.store, "presign", presign)
    answer = place.client.get(WEIGHTS, params={"redirect": "true"}, follow_redirects=False)

    assert answer.status_code == 307
    name = f"stages/{KEY}/files/1-test/weights.safetensors"
    assert answer.headers["location"] == f"https://files.example/{name}?signed=1"
    assert answer.headers["cache-control"] == "no-store"
    assert [name for name, _ in asked] == [name]
    plain = place.client.get(WEIGHTS, follow_redirects=False)
    assert plain.status_code == 200
    has_it = place.client.get(WEIGHTS, params={"redirect": "true"}, headers={"If-None-Match": ETAG})
    assert has_it.status_code == 304


def test_a_store_without_urls_streams(place: Place) -> None:
    assert place.client.get(WEIGHTS, params={"redirect": "true"}).content == CONTENT


def test_redirects_can_be_the_rule(redis_url: str, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, redis_url=redis_url, redirect_downloads=True)
    with local_client(settings) as client:
        backend = cast(FastAPI, client.app).state.backend
        commit(backend, tmp_path / "made")
        backend.store.presign = lambda name, _: f"https://files.example/{name}"
        assert client.get(WEIGHTS, follow_redirects=False).status_code == 307
        streamed = client.get(WEIGHTS, params={"redirect": "false"}, follow_redirects=False)
        assert streamed.content == CONTENT


def test_an_archive_holds_every_file(place: Place) -> None:
    answer = place.client.get(f"/v1/artifacts/{KEY}/archive")
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["content-type"] == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        assert archive.getnames() == sorted(FILES)
        for name, content in FILES.items():
            member = archive.extractfile(name)
            assert member is not None
            assert member.read() == content
