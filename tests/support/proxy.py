"""A proxy that fails on purpose, between a client and a server that speaks HTTP."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Literal, Self

PIECE = 64 << 10  # bytes forwarded at once
IDLE = 60.0  # seconds without a byte after which a connection is given up
Mode = Literal["pass", "refuse", "error", "lose-answers", "cut", "corrupt", "slow"]
_UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class FaultyProxy:
    """Forwards to a port of this machine from a thread of its own; one request a connection.

    `mode` is what happens to requests from now on, and may change at any moment:
    pass; refuse (closed before a byte is read); error (503, the server sees nothing);
    lose-answers (the server does it, the client never hears); cut (half of an answer's body, then
    the connection ends); corrupt (the first byte of a body is another); slow (the answer comes
    `delay` seconds late). `fail_next` changes the mode for some requests only. `strip` names
    headers that never arrive. `seen` has the last request lines.
    """

    def __init__(
        self, listen_port: int, target_port: int, *, strip: tuple[str, ...] = (), delay: float = 0.5
    ) -> None:
        self.mode: Mode = "pass"
        self.delay = delay
        self.seen: deque[str] = deque(maxlen=1000)
        self._target_port = target_port
        self._strip = {f"{name.lower()}:".encode() for name in strip}
        self._lock = threading.Lock()
        self._next: tuple[Mode, int, re.Pattern[str]] = ("pass", 0, re.compile(""))
        self._listener = socket.create_server(("127.0.0.1", listen_port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def fail_next(self, mode: Mode, requests: int = 1, like: str = "") -> None:
        """Treat the next requests in this way (those whose first line has that pattern), then go
        back to `mode`.
        """
        with self._lock:
            self._next = (mode, requests, re.compile(like))

    def close(self) -> None:
        """Listen no more; what is under way ends by itself."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.settimeout(IDLE)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if self.mode == "refuse":
                return
            line, headers, rest = _read_head(client)
            if not line:
                return
            self.seen.append(line.decode("latin-1"))
            mode = self._mode_for(line.decode("latin-1"))
            if mode == "refuse":
                return
            body = _body(client, _length(headers) or 0, rest)
            if mode == "error":
                for _ in body:  # a client that still writes would not read the answer
                    pass
                client.sendall(_UNAVAILABLE)
                return
            self._forward(client, line, headers, body, mode)

    def _mode_for(self, line: str) -> Mode:
        with self._lock:
            mode, left, like = self._next
            if left > 0 and like.search(line):
                self._next = (mode, left - 1, like)
                return mode
        return self.mode

    def _forward(
        self,
        client: socket.socket,
        line: bytes,
        headers: list[bytes],
        body: Iterator[bytes],
        mode: Mode,
    ) -> None:
        kept = [header for header in headers if not self._stripped(header)]
        with socket.create_connection(("127.0.0.1", self._target_port), timeout=IDLE) as server:
            server.sendall(_head(line, kept))
            for piece in body:
                server.sendall(piece)
            status, answer_headers, rest = _read_head(server)
            if mode == "slow":
                time.sleep(self.delay)
            size = 0 if line.startswith(b"HEAD ") else _length(answer_headers)
            answer = _body(server, size, rest)
            if mode == "lose-answers" or not status:
                for _ in answer:
                    pass
                return
            client.sendall(_head(status, answer_headers))
            for piece in _spoiled(answer, size, mode):
                client.sendall(piece)

    def _stripped(self, header: bytes) -> bool:
        return any(header.lower().startswith(name) for name in self._strip)


def _read_head(peer: socket.socket) -> tuple[bytes, list[bytes], bytes]:
    """First line, headers, and what came after them already; an empty line if nothing came."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = peer.recv(PIECE)
        if not piece:
            return b"", [], b""
        data += piece
    head, rest = data.split(b"\r\n\r\n", 1)
    line, *headers = head.split(b"\r\n")
    return line, headers, rest


def _head(line: bytes, headers: list[bytes]) -> bytes:
    kept = [header for header in headers if not header.lower().startswith(b"connection:")]
    return b"\r\n".join([line, *kept, b"Connection: close"]) + b"\r\n\r\n"


def _length(headers: list[bytes]) -> int | None:
    """Bytes of the body; None when only the end of the connection tells."""
    for header in headers:
        if header.lower().startswith(b"content-length:"):
            return int(header.split(b":")[1])
    return None


def _body(peer: socket.socket, size: int | None, rest: bytes) -> Iterator[bytes]:
    passed = 0
    while size is None or passed < size:
        piece = rest or peer.recv(PIECE if size is None else min(PIECE, size - passed))
        rest = b""
        if not piece:
            return
        passed += len(piece)
        yield piece


def _spoiled(body: Iterator[bytes], size: int | None, mode: Mode) -> Iterator[bytes]:
    passed = 0
    end = (size or 0) // 2 if mode == "cut" else None
    for piece in body:
        if mode == "corrupt" and passed == 0:
            piece = bytes([piece[0] ^ 255]) + piece[1:]
        yield piece if end is None else piece[: max(end - passed, 0)]
        passed += len(piece)
        if end is not None and passed >= end:
            return
