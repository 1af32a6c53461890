"""A hub on loopback: repositories of files at one commit, served as huggingface.co serves them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34


class Hub:
    """`repositories` maps "models/org/name" or "datasets/org/name" to {path: content}."""

    def __init__(self, repositories: Mapping[str, Mapping[str, bytes]]) -> None:
        self.repositories = repositories
        self.url = ""
        self.requests: list[str] = []

    def answer(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content for a request."""
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[0] == "api":
            name = "/".join(parts[1:4])
            files = self.repositories.get(name)
            if files is None:
                return 404, {"X-Error-Code": "RepoNotFound"}, b""
            return self._api(parts[2] + "/" + parts[3], files, parts[4:], body)
        kind = "datasets" if parts[0] == "datasets" else "models"
        owner, repository, _, revision, *rest = parts[1:] if kind == "datasets" else parts
        files = self.repositories.get(f"{kind}/{owner}/{repository}")
        if files is None:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        if revision not in (COMMIT, "main"):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        content = files.get("/".join(rest))
        if content is None:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
        etag = hashlib.sha256(content).hexdigest()
        return 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'}, content

    def _api(
        self, name: str, files: Mapping[str, bytes], rest: list[str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        entries: list[dict[str, Any]] = [
            {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
            for path, content in files.items()
        ]
        found: Any
        if rest and rest[0] == "revision" and rest[1] not in (COMMIT, "main"):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if not rest or rest[0] == "revision":
            found = {
                "id": name,
                "sha": COMMIT,
                "private": False,
                "tags": [],
                "downloads": 0,
                "siblings": [{"rfilename": path} for path in files],
            }
        elif rest[0] == "tree":
            found = _children(entries, "/".join(rest[2:]))
            if not found:
                return 404, {"X-Error-Code": "EntryNotFound"}, b""
        else:  # paths-info
            asked = (
                json.loads(body)["paths"] if body[:1] == b"{" else parse_qs(body.decode())["paths"]
            )
            found = [entry for entry in entries if entry["path"] in asked]
        return 200, {"Content-Type": "application/json"}, json.dumps(found).encode()


def _children(entries: list[dict[str, Any]], folder: str) -> list[dict[str, Any]]:
    """What lies directly in a folder, as the tree API lists it."""
    start = folder + "/" if folder else ""
    found = {}
    for entry in entries:
        if entry["path"].startswith(start):
            name, slash, _ = entry["path"][len(start) :].partition("/")
            folder_entry = {"type": "directory", "path": start + name, "size": 0, "oid": "0" * 40}
            found[name] = folder_entry if slash else entry
    return list(found.values())


@contextmanager
def serve(repositories: Mapping[str, Mapping[str, bytes]]) -> Iterator[Hub]:
    """Run a hub; its address is `url`."""
    hub = Hub(repositories)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _send(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.requests.append(f"{self.command} {self.path}")
            status, headers, content = hub.answer(urlsplit(self.path).path, body)
            place = self.headers.get("Range", "").removeprefix("bytes=").split("-")
            size = len(content)
            if status == 200 and len(place) == 2:
                first, last = int(place[0]), min(int(place[1] or size), size - 1)
                status, content = 206, content[first : last + 1]
                headers["Content-Range"] = f"bytes {first}-{last}/{size}"
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = _send

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
