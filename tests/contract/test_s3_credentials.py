"""Requests are signed for the configured key: by botocore's account, and by a server that looks."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from shared.store import StoreError, prove_conditional_create
from shared.store.s3.s3 import S3Store
from tests.support.s3_servers import free_port, start_ministack, stop

KEYS = ("LINEAMENTKEY", "a/secret+key")


@pytest.fixture
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """A server that keeps the heads of requests and answers 204."""
    heads: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += client.recv(65536)
                heads.append(head)
                client.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield server.getsockname()[1], heads
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def keyed(another: Callable[..., S3Store], port: int, **changes: object) -> S3Store:
    return another(
        port, access_key=KEYS[0], secret_key=KEYS[1], region="eu-north-1", bucket="box", **changes
    )


def frozen(monkeypatch: pytest.MonkeyPatch, stamp: str) -> None:
    """Botocore signs for the moment that our client signed for."""
    moment = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: moment)


def test_requests_carry_the_signature_that_botocore_computes(
    another: Callable[..., S3Store],
    listener: tuple[int, list[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port, heads = listener
    keyed(another, port).delete("a/b+c")
    line, *rows = heads[0].decode().split("\r\n\r\n")[0].split("\r\n")
    headers = {name.lower(): value for name, value in (row.split(": ", 1) for row in rows)}
    signed = re.search(r"SignedHeaders=([^,]+)", headers["authorization"])
    assert signed is not None
    frozen(monkeypatch, headers["x-amz-date"])
    request = AWSRequest("DELETE", f"http://127.0.0.1:{port}{line.split()[1]}")
    for name in signed[1].split(";"):
        if name not in ("x-amz-date", "x-amz-content-sha256"):
            request.headers[name] = headers[name]
    S3SigV4Auth(Credentials(*KEYS), "s3", "eu-north-1").add_auth(request)
    assert headers["authorization"].replace(", ", ",") == request.headers["Authorization"].replace(
        ", ", ","
    )


def test_a_presigned_url_carries_the_signature_that_botocore_computes(
    another: Callable[..., S3Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = keyed(another, 9, public_endpoint="https://files.example.org")
    url = store.presign("a/b+c", 300)
    assert url is not None
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    assert (parts.scheme, parts.netloc) == ("https", "files.example.org")
    assert query["X-Amz-Expires"] == ["300"]
    frozen(monkeypatch, query["X-Amz-Date"][0])
    request = AWSRequest("GET", f"https://files.example.org{parts.path}")
    S3SigV4QueryAuth(Credentials(*KEYS), "s3", "eu-north-1", expires=300).add_auth(request)
    assert parse_qs(urlsplit(request.url).query) == query


def test_a_url_is_valid_for_a_week_at_most(another: Callable[..., S3Store]) -> None:
    for seconds in (0, 7 * 24 * 3600 + 1):
        with pytest.raises(ValueError, match="1 to 604800 seconds"):
            another(9).presign("a", seconds)


def test_a_presigned_url_reads_without_credentials(
    ministack_port: int, another: Callable[..., S3Store]
) -> None:
    store = another(ministack_port)
    store.ensure_bucket()
    store.put("a/b", b"content")
    url = store.presign("a/b", 60)
    assert url is not None
    assert httpx.get(url).content == b"content"
    assert httpx.get(url, headers={"Range": "bytes=2-4"}).content == b"nte"


@pytest.fixture(scope="module")
def strict_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """ministack as a server that looks at signatures."""
    port = free_port()
    server = start_ministack(
        tmp_path_factory.mktemp("strict"),
        port,
        AUTH="true",
        AWS_ACCESS_KEY_ID=KEYS[0],
        AWS_SECRET_ACCESS_KEY=KEYS[1],
    )
    yield port
    stop(server)


def test_a_server_that_looks_accepts_every_verb(
    strict_port: int, another: Callable[..., S3Store], tmp_path: Path
) -> None:
    store = another(strict_port, access_key=KEYS[0], secret_key=KEYS[1])
    store.ensure_bucket()
    prove_conditional_create(store)
    (tmp_path / "large").write_bytes(bytes(12 << 20))
    store.put_file("large", tmp_path / "large")
    store.download("large", tmp_path / "back")
    assert (tmp_path / "back").stat().st_size == 12 << 20
    assert [info.name for info in store.list("none/")] == []
    store.delete("large")
    assert store.stat("large") is None


def test_an_unknown_key_is_refused_by_a_sentence_that_names_the_settings(
    strict_port: int, another: Callable[..., S3Store]
) -> None:
    store = another(strict_port, access_key="SOMEBODY", secret_key="guess")
    verbs: list[Callable[[], object]] = [
        store.ensure_bucket,
        lambda: store.put("a", b""),
        lambda: store.create("a", b""),
        lambda: store.stat("a"),
        lambda: list(store.list("a/")),
    ]
    for verb in verbs:
        with pytest.raises(StoreError, match="LINEAMENT_S3_ACCESS_KEY and LINEAMENT_S3_SECRET_KEY"):
            verb()


def test_a_wrong_secret_is_refused_and_never_shown(
    strict_port: int, another: Callable[..., S3Store]
) -> None:
    # Of the root key, this server checks the signatures of presigned requests only.
    store = another(strict_port, access_key=KEYS[0], secret_key="guess")
    with pytest.raises(StoreError, match=r"SignatureDoesNotMatch.*LINEAMENT_S3_SECRET_KEY") as why:
        store.create("a", b"")
    assert "guess" not in str(why.value)
    assert httpx.get(store.presign("a", 60) or "").status_code == 403
