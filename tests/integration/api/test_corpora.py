"""Uploads over REST: what is kept, what is refused, and that nothing is left of the refused."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import socket
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from redis import Redis

from shared.api_keys import ApiKey, key_hash, new_key
from shared.settings import Settings
from tests.support.api.client import local_client
from tests.support.api.rest import serving


@pytest.fixture
def client(redis_url: str, redis: Redis, tmp_path: Path) -> Iterator[TestClient]:
    with local_client(Settings(data=tmp_path, redis_url=redis_url)) as one:
        yield one


def jsonl(*texts: str) -> bytes:
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def linked_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("evil")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    return buffer.getvalue()


def tarred(entry: tarfile.TarInfo, content: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def linked_tar() -> bytes:
    entry = tarfile.TarInfo("evil")
    entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return tarred(entry)


def tar_bomb() -> bytes:
    return gzip.compress(tarred(tarfile.TarInfo("a"), b"a" * 40_000_000))


def truncated_parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": ["some text"] * 1000}), buffer)
    return buffer.getvalue()[:-20]


GOOD = jsonl("one", "two")
DIGEST = hashlib.sha256(GOOD).hexdigest()
STRUCTURED = base64.b64encode(hashlib.sha256(GOOD).digest()).decode()


def nothing_was_kept(client: TestClient, tmp_path: Path) -> bool:
    """No name, no bytes, no temporary file."""
    store = tmp_path / "store"
    kept = [path for folder in ("blobs", "uploads") for path in (store / folder).glob("**/*")]
    left = list((tmp_path / "incoming").glob("*")) + list((store / ".incoming").glob("*"))
    return client.get("/v1/corpora").json()["items"] == [] and kept == left == []


# ------------------------------------------------------------------------------------ kept


def test_an_upload_is_kept_under_its_name_and_its_digest(client: TestClient) -> None:
    answer = client.put("/v1/corpora/my-lua", content=GOOD)

    assert answer.status_code == 201
    info = answer.json()
    assert info.pop("replaced") is None
    assert info == {
        "name": "my-lua",
        "digest": DIGEST,
        "format": "jsonl",
        "bytes": len(GOOD),
        "rows": 2,
    }
    assert client.get("/v1/corpora/my-lua").json() == {**info, "used_by": []}
    assert client.get("/v1/corpora").json()["items"] == [info]


def test_another_file_under_the_name_replaces_it_and_says_so(
    client: TestClient, tmp_path: Path
) -> None:
    client.put("/v1/corpora/c", content=GOOD)
    same = client.put("/v1/corpora/c", content=GOOD)
    other = client.put("/v1/corpora/c", content=jsonl("three"))

    assert (same.status_code, same.json()["replaced"]) == (200, None)
    assert (other.status_code, other.json()["replaced"]) == (200, DIGEST)
    assert client.get("/v1/corpora/c").json()["rows"] == 1
    assert (tmp_path / "store" / "blobs" / DIGEST).read_bytes() == GOOD


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Digest": f"sha-256=:{STRUCTURED}:"},
        {"Content-Digest": f"sha-512=:AAAA:, sha-256=:{STRUCTURED}:"},
        {"X-Checksum-Sha256": DIGEST},
        {"X-Checksum-Sha256": DIGEST.upper(), "Content-Digest": f"sha-256=:{STRUCTURED}:"},
    ],
)
def test_the_right_checksum_is_accepted_in_every_form(
    client: TestClient, headers: dict[str, str]
) -> None:
    assert client.put("/v1/corpora/c", content=GOOD, headers=headers).status_code == 201
    assert client.put(f"/v1/corpora/d?sha256={DIGEST}", content=GOOD).status_code == 201


@pytest.mark.parametrize(
    ("kind", "content", "form"),
    [
        ("application/octet-stream", GOOD, "jsonl"),
        ("application/jsonl", GOOD, "jsonl"),
        ("application/x-ndjson; charset=utf-8", GOOD, "jsonl"),
        ("text/plain; charset=utf-8", b"A text.\n\nAnother.\n", "text"),
        ("Application/ZIP", zipped({"a.lua": b"x = 1\n"}), "zip"),
    ],
)
def test_content_types_are_understood(
    client: TestClient, kind: str, content: bytes, form: str
) -> None:
    answer = client.put("/v1/corpora/c", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 201
    assert answer.json()["format"] == form


def test_the_file_name_tells_text_from_jsonl(client: TestClient) -> None:
    lines = b'{"text": "kept as it is"}\n'
    named = {"Content-Disposition": 'attachment; filename="odd.txt"'}
    assert client.put("/v1/corpora/a", content=lines).json()["format"] == "jsonl"
    assert client.put("/v1/corpora/b", content=lines, headers=named).json()["format"] == "text"
    assert client.put("/v1/corpora/c?filename=x.txt", content=lines).json()["format"] == "text"


def test_uploads_are_listed_in_pages_by_name(client: TestClient) -> None:
    names = [f"corpus-{number:02}" for number in range(7)]
    for name in reversed(names):
        client.put(f"/v1/corpora/{name}", content=jsonl(name))

    found: list[str] = []
    query: dict[str, Any] = {"size": 3}
    sizes = []
    while True:
        page = client.get("/v1/corpora", params=query).json()
        found += [one["name"] for one in page["items"]]
        sizes.append(len(page["items"]))
        assert page["total"] == 7
        if page["next_page"] is None:
            break
        query["cursor"] = page["next_page"]
        client.put("/v1/corpora/aaa", content=GOOD) and client.delete("/v1/corpora/aaa")
    assert found == names
    assert sizes == [3, 3, 1]
    first = client.get("/v1/corpora", params={"size": 3, "cursor": page["previous_page"]}).json()
    assert [one["name"] for one in first["items"]] == names[3:6]


@pytest.mark.parametrize(
    "query", [{"cursor": "%%%"}, {"cursor": "/w=="}, {"size": 0}, {"size": 101}]
)
def test_a_page_that_cannot_be_is_refused(client: TestClient, query: dict[str, Any]) -> None:
    answer = client.get("/v1/corpora", params=query)
    assert answer.status_code == 422
    assert answer.json()["detail"]


# --------------------------------------------------------------------------------- refused

REFUSED = {
    "line": (GOOD + b"not json\n", "line 3"),
    "no column": (b'{"words": "x"}\n', "no field 'text', only words"),
    "0 bytes": (b"", "is empty (0 bytes)"),
    "parquet": (truncated_parquet(), "is not a whole Parquet file"),
    "utf-8": (b"\xff\xfe\xfa broken", "UTF-8"),
    "traversal": (zipped({"../../etc/x.lua": b"x = 1"}), "leads out of the archive"),
    "symlink zip": (linked_zip(), "which is a link"),
    "symlink tar": (linked_tar(), "which is a link"),
    "bomb": (zipped({"a": b"a" * 40_000_000}), "unpacks to more than"),
    "bomb tar": (tar_bomb(), "unpacks to more than"),
    "half a gzip": (gzip.compress(os.urandom(5000))[:2000], "not a whole tar"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_file_is_refused_in_a_sentence_and_keeps_nothing(
    client: TestClient, tmp_path: Path, case: str
) -> None:
    content, says = REFUSED[case]
    answer = client.put("/v1/corpora/bad", content=content)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith("bad: ")
    assert says in answer.json()["detail"]
    assert nothing_was_kept(client, tmp_path)


def test_a_bad_file_leaves_the_good_one_of_that_name(client: TestClient) -> None:
    client.put("/v1/corpora/c", content=GOOD)
    before = client.get("/v1/corpora/c").json()
    assert client.put("/v1/corpora/c", content=b"\xff").status_code == 422
    assert client.get("/v1/corpora/c").json() == before


OTHER = hashlib.sha256(b"other").hexdigest()


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"X-Checksum-Sha256": OTHER}, f"its sha256 is {DIGEST}, not {OTHER}"),
        ({"Content-Digest": f"sha-256=:{base64.b64encode(bytes(32)).decode()}:"}, "was damaged"),
        ({"X-Checksum-Sha256": "abc"}, "64 hexadecimal digits"),
        ({"Content-Digest": "sha-256=:AAAA:"}, "Content-Digest: needs a sha-256"),
        ({"Content-Digest": f"sha-256={STRUCTURED}"}, "Content-Digest: needs a sha-256"),
        ({"Content-Digest": "sha-512=:AAAA:"}, "Content-Digest: needs a sha-256"),
        ({"Content-Digest": ""}, "Content-Digest: needs a sha-256"),
        (
            {"X-Checksum-Sha256": OTHER, "Content-Digest": f"sha-256=:{STRUCTURED}:"},
            "is given twice",
        ),
    ],
)
def test_a_wrong_checksum_is_refused_and_nothing_kept(
    client: TestClient, tmp_path: Path, headers: dict[str, str], says: str
) -> None:
    answer = client.put("/v1/corpora/c", content=GOOD, headers=headers)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert nothing_was_kept(client, tmp_path)


@pytest.mark.parametrize(
    "kind", ["application/json", "image/png", "multipart/form-data; boundary=x", "x", "text/html"]
)
def test_another_content_type_is_415(client: TestClient, tmp_path: Path, kind: str) -> None:
    answer = client.put("/v1/corpora/c", content=GOOD, headers={"Content-Type": kind})
    assert answer.status_code == 415
    assert "application/jsonl" in answer.json()["detail"]
    assert nothing_was_kept(client, tmp_path)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("application/zip", "was sent as zip but its content is jsonl"),
        ("application/gzip", "was sent as tar but its content is jsonl"),
        ("application/vnd.apache.parquet", "was sent as parquet but its content is jsonl"),
    ],
)
def test_content_of_another_kind_than_it_was_sent_as_is_refused(
    client: TestClient, tmp_path: Path, kind: str, says: str
) -> None:
    answer = client.put("/v1/corpora/c", content=GOOD, headers={"Content-Type": kind})
    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert nothing_was_kept(client, tmp_path)


def test_a_body_shorter_than_it_said_is_refused(client: TestClient, tmp_path: Path) -> None:
    headers = {"Content-Length": str(len(GOOD) + 10)}
    answer = client.put("/v1/corpora/c", content=GOOD, headers=headers)
    assert answer.status_code == 422
    assert f"is cut off: {len(GOOD)} of {len(GOOD) + 10} bytes arrived" in answer.json()["detail"]
    assert nothing_was_kept(client, tmp_path)


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_over_the_limit_is_refused(
    redis_url: str, redis: Redis, tmp_path: Path, chunked: bool
) -> None:
    settings = Settings(data=tmp_path, redis_url=redis_url, upload_limit=len(GOOD) - 1)
    with local_client(settings) as client:
        body = iter([GOOD[:9], GOOD[9:]]) if chunked else GOOD
        assert client.put("/v1/corpora/c", content=body).status_code == 413
        assert nothing_was_kept(client, tmp_path)


@pytest.mark.parametrize("name", ["..", "a%2Fb", ".hidden", "x" * 101, "a b", "é"])
def test_a_name_that_is_none_is_refused(client: TestClient, tmp_path: Path, name: str) -> None:
    assert client.put(f"/v1/corpora/{name}", content=GOOD).status_code in (404, 405, 422)
    assert nothing_was_kept(client, tmp_path)


def test_a_full_disk_is_said_and_leaves_nothing(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("api.http.receive._append", full)
    assert client.put("/v1/corpora/c", content=GOOD).status_code == 503
    assert nothing_was_kept(client, tmp_path)


def test_a_client_that_goes_away_leaves_nothing(
    redis_url: str, redis: Redis, tmp_path: Path
) -> None:
    with serving(Settings(data=tmp_path, redis_url=redis_url)) as (url, _):
        host, port = url.removeprefix("http://").split(":")
        head = f"PUT /v1/corpora/c HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9000000\r\n\r\n"
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + GOOD * 100_000)
            wait_until(lambda: any((tmp_path / "incoming").glob("*")))
        wait_until(lambda: not any((tmp_path / "incoming").glob("*")))
        with httpx.Client(base_url=url) as client:
            assert client.get("/v1/corpora").json()["total"] == 0


def wait_until(happened: Callable[[], bool]) -> None:
    for _ in range(500):
        if happened():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def test_leftovers_of_a_killed_server_go_when_the_next_one_starts(
    redis_url: str, redis: Redis, tmp_path: Path
) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    old, young = incoming / "old", incoming / "young"
    for path, days in ((old, 2), (young, 0)):
        path.write_bytes(b"half a corpus")
        os.utime(path, (time.time() - days * 86_400,) * 2)
    with local_client(Settings(data=tmp_path, redis_url=redis_url)):
        assert not old.exists()
        assert young.exists()


# ------------------------------------------------------------------------ use and deleting


def spec_over(upload: str) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "small",
        "tokenizer": {"train": {"vocab_size": 512, "corpora": ["mine"]}},
        "corpora": {"mine": {"upload": upload}},
        "models": {
            "base": {
                "pretrain": {
                    "corpora": ["mine"],
                    "architecture": {
                        "hidden": 32,
                        "mlp": 64,
                        "heads": 2,
                        "kv_heads": 1,
                        "layers": 1,
                    },
                }
            }
        },
    }


def test_an_upload_in_use_is_not_deleted_until_its_experiments_are(client: TestClient) -> None:
    client.put("/v1/corpora/c", content=jsonl(*["some words " * 50] * 200))
    submitted = client.post("/v1/experiments", json=spec_over("c"))
    assert submitted.status_code == 201, submitted.text
    number = submitted.json()["id"]
    assert client.get("/v1/corpora/c").json()["used_by"] == [number]

    refused = client.delete("/v1/corpora/c")
    assert refused.status_code == 409
    assert refused.json()["detail"] == f"c is used by {number}"
    assert refused.json()["experiments"] == [number]

    client.post(f"/v1/experiments/{number}/cancel")
    client.delete(f"/v1/experiments/{number}")
    assert client.delete("/v1/corpora/c").status_code == 204
    assert client.get("/v1/corpora/c").status_code == 404


def test_an_upload_that_was_replaced_is_no_longer_used(client: TestClient) -> None:
    client.put("/v1/corpora/c", content=jsonl(*["some words " * 50] * 200))
    number = client.post("/v1/experiments", json=spec_over("c")).json()["id"]
    client.put("/v1/corpora/c", content=GOOD)

    assert client.get("/v1/corpora/c").json()["used_by"] == []
    assert client.delete("/v1/corpora/c").status_code == 204
    assert client.get(f"/v1/experiments/{number}").json()["state"] == "running"


def test_what_is_not_there_is_not_deleted(client: TestClient) -> None:
    assert client.delete("/v1/corpora/none").status_code == 404
    assert client.get("/v1/corpora/none").status_code == 404


def test_only_its_owner_or_an_admin_changes_an_upload(
    redis_url: str, redis: Redis, tmp_path: Path
) -> None:
    scopes: dict[str, Any] = {
        "ada": ["submit"],
        "bob": ["submit"],
        "eve": ["read"],
        "root": ["admin"],
    }
    keys = {name: new_key() for name in scopes}
    configured = tuple(
        ApiKey(name=name, sha256=key_hash(keys[name]), scopes=scopes[name]) for name in keys
    )
    settings = Settings(data=tmp_path, redis_url=redis_url, api_keys=configured)

    def header(name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {keys[name]}"}

    with local_client(settings) as client:
        path = "/v1/corpora/c"
        assert client.put(path, content=GOOD).status_code == 401
        assert client.put(path, content=GOOD, headers=header("eve")).status_code == 403
        assert client.put(path, content=GOOD, headers=header("ada")).status_code == 201
        assert client.get(path, headers=header("eve")).status_code == 200
        assert client.put(path, content=jsonl("mine"), headers=header("bob")).status_code == 403
        assert client.delete(path, headers=header("bob")).status_code == 403
        assert client.get(path, headers=header("bob")).json()["digest"] == DIGEST
        assert client.put(path, content=jsonl("x"), headers=header("ada")).status_code == 200
        assert client.delete(path, headers=header("root")).status_code == 204
