"""Digests of images, asked of a registry of our own."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from tests.containers.files import ROOT, images

DIGEST = "sha256:" + "ab" * 32


class Registry(BaseHTTPRequestHandler):
    """Knows one image, and wants the token that it gives to anybody."""

    def do_HEAD(self) -> None:
        if self.headers.get("Authorization") != "Bearer anybody":
            realm = f"http://{self.headers['Host']}/token"
            self.send_response(401)
            self.send_header("WWW-Authenticate", f'Bearer realm="{realm}",scope="pull"')
        elif self.path == "/v2/team/image/manifests/1.2.3" and "index" in self.headers["Accept"]:
            self.send_response(200)
            self.send_header("Docker-Content-Digest", DIGEST)
        else:
            self.send_response(404)
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/token?scope=pull" else 404)
        self.end_headers()
        self.wfile.write(b'{"token": "anybody"}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def pin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pin_images", ROOT / "compose" / "pin_images.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def registry() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_every_image_gets_the_digest_of_its_tag(
    pin: ModuleType, registry: str, tmp_path: Path
) -> None:
    source, target = tmp_path / "images.env", tmp_path / "pinned.env"
    source.write_text(f"# why\nLINEAMENT_TAG=0.1.0\n\nONE_IMAGE={registry}/team/image:1.2.3\n")

    assert pin.main(source, target) == 0

    one = f"ONE_IMAGE={registry}/team/image:1.2.3@{DIGEST}"
    assert target.read_text() == f"# why\nLINEAMENT_TAG=0.1.0\n\n{one}\n"


def test_nothing_is_written_when_a_tag_is_not_found(
    pin: ModuleType, registry: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "images.env", tmp_path / "pinned.env"
    source.write_text(f"ONE={registry}/team/image:1.2.3\nTWO={registry}/team/other:1.2.3\n")

    assert pin.main(source, target) == 1

    assert "team/other:1.2.3" in capsys.readouterr().err
    assert not target.exists()


def test_every_line_of_images_env_is_an_image_or_our_own_tag(
    pin: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(pin, "digest", lambda image: asked.append(image) or DIGEST)

    pin.pinned((ROOT / "images.env").read_text())

    assert asked == [image for name, image in images().items() if name != "LINEAMENT_TAG"]
